"""Preference: `chosen` and `rejected`, with the prompt beside them or inside both.

A side is a string, an hh-style string, a message or a list of messages. The prompt stands in `prompt`,
`conversations`, `messages`, `instruction` with `input`, or `question`; a side that already opens with it is whole.
Both sides are conversations of their own: turns that they share appear on both.
"""

from __future__ import annotations

from typing import Any

from audit.samples.family import Conversation, Family, Fields
from audit.samples.hh_text import opens_hh_turns, split_hh_turns
from audit.samples.messages import (
    join_response,
    read_instruction,
    read_messages,
    read_prompt,
    read_system,
    read_text,
)
from audit.samples.sample import Message

_PROMPT_KEYS = ("prompt", "conversations", "messages", "question")


def fits(record: Fields) -> bool:
    """Tell whether the record has a chosen and a rejected side."""
    values = [record.get("chosen"), record.get("rejected")]
    return "chosen" in record and "rejected" in record and values != [None, None]


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return both conversations of the record."""
    sides = {side: _read_side(record, record[side], side) for side in ("chosen", "rejected")}
    return tuple(Conversation(side, read_system(record, messages)) for side, messages in sides.items())


def _read_side(record: Fields, value: Any, side: str) -> tuple[Message, ...]:
    key = next((key for key in _PROMPT_KEYS if record.get(key) is not None), None)
    prompt = record[key] if key is not None else None
    if isinstance(value, dict) or _is_message_list(value):
        messages = read_messages(value if isinstance(value, list) else [value], side)
        opening = read_instruction(record) if key is None else read_prompt(prompt, key)
        return messages if _opens_with(messages, opening) else opening + messages
    response = read_text(value, side)
    if opens_hh_turns(response):
        return split_hh_turns(response)
    if key is None:
        return (*read_instruction(record), Message("assistant", response))
    return join_response(prompt, response, key)


def _is_message_list(value: Any) -> bool:
    return isinstance(value, list) and any(
        isinstance(item, dict) and ("role" in item or "from" in item) for item in value
    )


def _opens_with(messages: tuple[Message, ...], opening: tuple[Message, ...]) -> bool:
    has_own_system = bool(messages) and messages[0].role == "system" and bool(opening) and opening[0].role != "system"
    start = 1 if has_own_system else 0
    head = messages[start : start + len(opening)]
    return [(m.role, m.content.strip()) for m in head] == [(m.role, m.content.strip()) for m in opening]


FAMILY = Family("preference", "preference pairs", "'chosen' and 'rejected'", fits, read)
