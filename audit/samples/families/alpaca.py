"""Alpaca: `instruction`, `output`, and perhaps `input`, `system` and `history`.

The prompt is the instruction, then a blank line and the input where there is one. The answers in `history` are
trained towards like `output`, so they are turns too.
"""

from __future__ import annotations

import json
from typing import Any

from audit.samples.family import Conversation, Family, Fields, UnreadableRecord, fold_case, is_given
from audit.samples.messages import read_instruction, read_system, read_text
from audit.samples.sample import Message
from audit.samples.text import kind_of
from audit.samples.tools import read_tools
from audit.samples.writing import plain_text, take_only, with_tools


def fits(record: Fields) -> bool:
    """Tell whether the record has an instruction and an output."""
    folded = fold_case(record)
    is_whole = "instruction" in folded and "output" in folded
    return is_whole and (folded["output"] is not None or (is_given(folded, "instruction") and not _is_answered(folded)))


def _is_answered(folded: Fields) -> bool:
    """Tell whether the answer stands elsewhere, and a null output is what a table of two shapes had to write."""
    return is_given(folded, "response") or is_given(folded, "answer")


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record."""
    record = fold_case(record)
    answer = Message("assistant", read_text(record["output"], "output"))
    messages = (*_read_history(record.get("history")), *read_instruction(record), answer)
    return (Conversation("response", read_system(record, messages), read_tools(record)),)


def _read_history(history: Any) -> tuple[Message, ...]:
    if isinstance(history, str):
        history = _parse_history(history)
    if not history:
        return ()
    if not isinstance(history, list):
        raise UnreadableRecord(f"bad_messages: 'history' is {kind_of(history)}, not a list")
    messages: list[Message] = []
    for position, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2:
            raise UnreadableRecord(f"bad_messages: entry {position} of 'history' is no pair of question and answer")
        messages.append(Message("user", read_text(pair[0], "history")))
        messages.append(Message("assistant", read_text(pair[1], "history")))
    return tuple(messages)


def _parse_history(text: str) -> Any:
    """Return what a cell of a table spells."""
    try:
        return json.loads(text) if text.strip() else None
    except (ValueError, RecursionError):
        return text


def write(conversations: tuple[Conversation, ...]) -> dict[str, Any]:
    """Return a record with the last question as instruction, and earlier ones with their answers as history."""
    conversation = take_only(conversations, "alpaca")
    systems = [message for message in conversation.messages[:1] if message.role in ("system", "developer")]
    turns = conversation.messages[len(systems) :]
    if len(turns) < 2 or [turn.role for turn in turns] != ["user", "assistant"] * (len(turns) // 2):
        raise UnreadableRecord("not_convertible: alpaca needs user and assistant in turn")
    texts = [plain_text(turn, "alpaca") for turn in turns]
    record: dict[str, Any] = {"instruction": texts[-2], "input": "", "output": texts[-1]}
    if systems:
        record["system"] = systems[0].content
    if len(texts) > 2:
        record["history"] = [texts[start : start + 2] for start in range(0, len(texts) - 2, 2)]
    return with_tools(record, conversation.tools)


FAMILY = Family(
    name="alpaca",
    says="Alpaca instructions",
    wants="'instruction' and 'output'",
    fits=fits,
    read=read,
    keys={"prompt": "instruction", "response": "output", "system": "system"},
    also="input, system, history [[question, answer]] (its answers are turns too), tools",
    example={"instruction": "Greet.", "input": "", "output": "Hello."},
    write=write,
)
