"""Preference: `chosen` and `rejected`, with the prompt beside them or inside both.

A side is a string, an hh-style string, a message or a list of messages. The prompt stands in `prompt`,
`conversations`, `messages`, `instruction` with `input`, or `question`; a side that already opens with it is whole.
Both sides are conversations of their own: turns that they share appear on both.
"""

from __future__ import annotations

from typing import Any

from audit.samples.family import Conversation, Family, Fields, UnreadableRecord, is_given
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
from audit.samples.tools import read_tools
from audit.samples.writing import with_tools, write_messages

PROMPT_KEYS = ("prompt", "conversations", "messages", "question")
PAIRS = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("preferred_completion", "non_preferred_completion"),
    ("chosen_response", "rejected_response"),
)
_SIDES = ("chosen", "rejected")


def fits(record: Fields) -> bool:
    """Tell whether the record has a chosen and a rejected side."""
    return _find_pair(record) is not None


def _find_pair(record: Fields) -> tuple[str, str] | None:
    for pair in PAIRS:
        if all(key in record for key in pair) and any(record[key] is not None for key in pair):
            return pair
    return None


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return both conversations of the record."""
    pair = _find_pair(record) or PAIRS[0]
    given = record.get("input")
    tools = read_tools(record)
    if isinstance(given, dict):
        # OpenAI: the prompt and its tools lie in an object of their own.
        tools = tools or read_tools(given)
        record = {**record, "messages": given.get("messages"), "input": None}
    sides = {side: _read_side(record, record[key], key) for side, key in zip(_SIDES, pair, strict=True)}
    for side, messages in sides.items():
        if not any(message.role == "assistant" for message in messages):
            raise UnreadableRecord(f"no_assistant_turn: the {side} side has no message of the assistant")
    return tuple(Conversation(side, read_system(record, messages), tools) for side, messages in sides.items())


def _read_side(record: Fields, value: Any, side: str) -> tuple[Message, ...]:
    key = next((key for key in PROMPT_KEYS if is_given(record, key)), None)
    prompt = record[key] if key is not None else None
    if isinstance(value, dict) or _is_message_list(value):
        messages = read_messages(value if isinstance(value, list) else [value], side)
        opening = read_instruction(record) if key is None else read_prompt(prompt, key)
        return _join(opening, messages)
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


def _join(opening: tuple[Message, ...], messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return a prompt and a side as one conversation; a side that repeats the prompt is whole."""
    system, asked = _split_system(opening)
    own_system, said = _split_system(messages)
    head = [(message.role, message.content.strip()) for message in said[: len(asked)]]
    if head == [(message.role, message.content.strip()) for message in asked]:
        return (*(own_system or system), *said)
    return opening + messages


def _split_system(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    n_system = 1 if messages and messages[0].role == "system" else 0
    return messages[:n_system], messages[n_system:]


def write(conversations: tuple[Conversation, ...]) -> dict[str, Any]:
    """Return a record with the messages that both sides share as prompt, and what each says after them."""
    if len(conversations) != len(_SIDES):
        raise UnreadableRecord("not_convertible: preference needs a chosen and a rejected side")
    chosen, rejected = (conversation.messages for conversation in conversations)
    n_shared = 0
    while n_shared < min(len(chosen), len(rejected)) - 1 and chosen[n_shared] == rejected[n_shared]:
        n_shared += 1
    record = {
        "prompt": write_messages(chosen[:n_shared]),
        "chosen": write_messages(chosen[n_shared:]),
        "rejected": write_messages(rejected[n_shared:]),
    }
    return with_tools(record, conversations[0].tools)


FAMILY = Family(
    name="preference",
    says="preference pairs",
    wants="'chosen' and 'rejected'",
    fits=fits,
    read=read,
    keys={"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "system": "system"},
    also="strings, hh strings, messages or lists of them; prompt in prompt, conversations, messages, question, or "
    "instruction with input; preferred_output / non_preferred_output with input {messages, tools} (OpenAI), "
    "preferred_completion / non_preferred_completion, chosen_response / rejected_response; both sides are scored",
    example={"prompt": "Hi", "chosen": "Hello.", "rejected": "What?"},
    write=write,
    others={
        "prompt": (*PROMPT_KEYS, "instruction", "input"),
        "chosen": tuple(chosen for chosen, _ in PAIRS),
        "rejected": tuple(rejected for _, rejected in PAIRS),
    },
)
