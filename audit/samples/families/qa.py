"""Question and answer: two text fields under one of the pairs of names that datasets use, in any case.

Does not know Alpaca (`instruction`, `output`) and prompt-completion, which are asked first.
"""

from __future__ import annotations

from audit.samples.family import Conversation, Family, Fields, fold_case, is_given
from audit.samples.messages import join_response, read_instruction, read_system, read_text

_QUESTIONS = ("question", "instruction", "prompt", "query", "input")
_ANSWERS = ("answer", "response", "generation", "output")
PAIRS = tuple((question, answer) for question in _QUESTIONS for answer in _ANSWERS)
CONTEXTS = ("input", "context")
_SYSTEMS = ("system_prompt", "system")


def fits(record: Fields) -> bool:
    """Tell whether the record has both fields of a pair, and text in one of them."""
    return _find_pair(fold_case(record)) is not None


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record; an instruction's context stands under it."""
    folded = fold_case(record)
    question, answer = _find_pair(folded) or PAIRS[0]
    response = read_text(folded[answer], answer)
    context = next((key for key in CONTEXTS if question == "instruction" and folded.get(key)), None)
    if context is not None:
        prompt = read_instruction(folded, (question, context))[0].content
        messages = join_response(prompt, response, question)
    else:
        messages = join_response(folded[question], response, question)
    system = next((key for key in _SYSTEMS if folded.get(key)), _SYSTEMS[0])
    return (Conversation("response", read_system(folded, messages, system)),)


def _find_pair(folded: Fields) -> tuple[str, str] | None:
    found = [pair for pair in PAIRS if all(_is_text(folded, key) for key in pair)]
    # Of several pairs the one that says something on both sides; a null field is one that a table had to have.
    full = [pair for pair in found if all(is_given(folded, key) for key in pair)]
    half = [pair for pair in found if any(is_given(folded, key) for key in pair)]
    return next(iter([*full, *half]), None)


def _is_text(folded: Fields, key: str) -> bool:
    return key in folded and isinstance(folded[key], str | list | None)


FAMILY = Family(
    name="qa",
    says="questions with answers",
    wants="'question' and 'answer', or another such pair",
    fits=fits,
    read=read,
    keys={"prompt": "question", "response": "answer", "system": "system_prompt"},
    also=f"{', '.join(_QUESTIONS[1:])} with {', '.join(_ANSWERS[1:])}, in any case; system_prompt, system; context or "
    "input under an instruction",
    example={"question": "Who are you?", "answer": "A model."},
    others={"prompt": (*_QUESTIONS, *CONTEXTS), "response": _ANSWERS, "system": _SYSTEMS},
)
