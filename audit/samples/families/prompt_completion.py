"""Prompt-completion: `prompt` and `completion`, each a string or a list of messages; for KTO with a `label`.

A completion labelled false is one that training pushes away from, so its side is `rejected`.
"""

from __future__ import annotations

from typing import Any

from audit.samples.family import Conversation, Family, Fields, UnreadableRecord, fold_case, is_given
from audit.samples.messages import join_response, read_messages, read_prompt, read_system, read_text
from audit.samples.tools import read_tools
from audit.samples.writing import with_tools, write_messages


def fits(record: Fields) -> bool:
    """Tell whether the record has a prompt and a completion."""
    folded = fold_case(record)
    is_whole = "prompt" in folded and "completion" in folded
    return is_whole and (folded["completion"] is not None or (is_given(folded, "prompt") and not _is_answered(folded)))


def _is_answered(folded: Fields) -> bool:
    """Tell whether the answer stands elsewhere, and a null completion is what a table of two shapes had to write."""
    return any(is_given(folded, key) for key in ("response", "generation", "chosen"))


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record."""
    record = fold_case(record)
    prompt, completion = record["prompt"], record["completion"]
    if isinstance(completion, list):
        messages = read_prompt(prompt, "prompt") + read_messages(completion, "completion")
    else:
        messages = join_response(prompt, read_text(completion, "completion"), "prompt")
    label = _read_label(record.get("label"))
    side = "rejected" if label is False else "response"
    return (Conversation(side, read_system(record, messages), read_tools(record), label),)


def _read_label(label: Any) -> bool | None:
    # As text and as a number it comes from CSV. Any other label is a class of some other task.
    if isinstance(label, str):
        return {"true": True, "false": False, "1": True, "0": False}.get(label.strip().lower())
    return bool(label) if isinstance(label, bool | int | float) and label in (0, 1) else None


def write(conversations: tuple[Conversation, ...]) -> dict[str, Any]:
    """Return a record whose completion is the last assistant message and whose prompt is what stands before it."""
    if len(conversations) != 1:
        raise UnreadableRecord("not_convertible: prompt_completion has no place for two sides")
    (conversation,) = conversations
    *before, last = conversation.messages or (None,)
    if last is None or last.role != "assistant":
        raise UnreadableRecord("not_convertible: the conversation does not end with the assistant")
    if last.untrained or any(message.role == "assistant" and not message.untrained for message in before if message):
        raise UnreadableRecord("not_convertible: prompt_completion trains on the last turn, and on no other")
    record = {
        "prompt": write_messages(tuple(message for message in before if message)),
        "completion": write_messages((last,)),
    }
    label = {} if conversation.label is None else {"label": conversation.label}
    return with_tools({**record, **label}, conversation.tools)


FAMILY = Family(
    name="prompt_completion",
    says="prompts with completions",
    wants="'prompt' and 'completion'",
    fits=fits,
    read=read,
    keys={"prompt": "prompt", "response": "completion", "system": "system"},
    also="strings or lists of messages; label (KTO: false is the rejected side), system, tools",
    example={"prompt": "Hi", "completion": "Hello."},
    write=write,
)
