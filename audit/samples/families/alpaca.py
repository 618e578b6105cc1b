"""Alpaca: `instruction`, `output`, and perhaps `input`, `system` and `history`.

The prompt is the instruction, then a blank line and the input where there is one. The answers in `history` are
trained towards like `output`, so they are turns too.
"""

from __future__ import annotations

from typing import Any

from audit.samples.family import Conversation, Family, Fields, UnreadableRecord
from audit.samples.messages import read_instruction, read_system, read_text
from audit.samples.sample import Message
from audit.samples.text import kind_of
from audit.samples.tools import read_tools
from audit.samples.writing import plain_text, take_only, with_tools


def fits(record: Fields) -> bool:
    """Tell whether the record has an instruction and an output."""
    values = [record.get("instruction"), record.get("output")]
    return "instruction" in record and "output" in record and values != [None, None]


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record."""
    answer = Message("assistant", read_text(record["output"], "output"))
    messages = (*_read_history(record.get("history")), *read_instruction(record), answer)
    return (Conversation("response", read_system(record, messages), read_tools(record)),)


def _read_history(history: Any) -> tuple[Message, ...]:
    if history in (None, ""):
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
