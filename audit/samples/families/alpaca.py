"""Alpaca: `instruction`, `output`, and perhaps `input`, `system` and `history`.

The prompt is the instruction, then a blank line and the input where there is one. The answers in `history` are
trained towards like `output`, so they are turns too.
"""

from __future__ import annotations

from typing import Any

from audit.samples.family import Conversation, Family, Fields, UnreadableRecord
from audit.samples.messages import kind_of, read_instruction, read_system, read_text
from audit.samples.sample import Message


def fits(record: Fields) -> bool:
    """Tell whether the record has an instruction and an output."""
    values = [record.get("instruction"), record.get("output")]
    return "instruction" in record and "output" in record and values != [None, None]


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record."""
    answer = Message("assistant", read_text(record["output"], "output"))
    messages = (*_read_history(record.get("history")), *read_instruction(record), answer)
    return (Conversation("response", read_system(record, messages)),)


def _read_history(history: Any) -> tuple[Message, ...]:
    if history is None:
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


FAMILY = Family("alpaca", "Alpaca instructions", "'instruction' and 'output'", fits, read)
