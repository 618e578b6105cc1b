"""Question and answer: two text fields under one of the pairs of names that datasets use, in any case.

Does not know Alpaca (`instruction`, `output`) and prompt-completion, which are asked first.
"""

from __future__ import annotations

from audit.samples.family import Conversation, Family, Fields
from audit.samples.messages import join_response, read_instruction, read_system, read_text

_PAIRS = (
    ("question", "answer"),
    ("instruction", "response"),
    ("question", "response"),
    ("prompt", "generation"),
    ("prompt", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("input", "output"),
)
_CONTEXTS = ("input", "context")
_SYSTEMS = ("system_prompt", "system")


def fits(record: Fields) -> bool:
    """Tell whether the record has both fields of a pair, and text in one of them."""
    return _find_pair(_fold(record)) is not None


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record; an instruction's context stands under it."""
    folded = _fold(record)
    question, answer = _find_pair(folded) or _PAIRS[0]
    response = read_text(folded[answer], answer)
    context = next((key for key in _CONTEXTS if question == "instruction" and folded.get(key)), None)
    if context is not None:
        prompt = read_instruction(folded, (question, context))[0].content
        messages = join_response(prompt, response, question)
    else:
        messages = join_response(folded[question], response, question)
    system = next((key for key in _SYSTEMS if folded.get(key)), _SYSTEMS[0])
    return (Conversation("response", read_system(folded, messages, system)),)


def _fold(record: Fields) -> Fields:
    return {**{key.lower(): value for key, value in record.items()}, **record}


def _find_pair(folded: Fields) -> tuple[str, str] | None:
    for pair in _PAIRS:
        values = [folded.get(key) for key in pair]
        if all(key in folded for key in pair) and any(isinstance(value, str | list) for value in values):
            return pair
    return None


FAMILY = Family(
    name="qa",
    says="questions with answers",
    wants="'question' and 'answer', or another such pair",
    fits=fits,
    read=read,
    keys={"prompt": "question", "response": "answer", "system": "system_prompt"},
    also=", ".join(f"{question} / {answer}" for question, answer in _PAIRS[1:])
    + " (in any case); system_prompt, system; context or input under an instruction",
    example={"question": "Who are you?", "answer": "A model."},
)
