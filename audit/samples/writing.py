"""Conversations written as records of another family, for exports that convert.

Knows what several families share; each family's own form is in its file. Nothing is dropped on the way: where a form
has no place for something, an `UnreadableRecord` says what.
"""

from __future__ import annotations

import json
from typing import Any

from audit.samples.family import Conversation, UnreadableRecord
from audit.samples.reasoning import join_parts
from audit.samples.sample import Message


def take_only(conversations: tuple[Conversation, ...], target: str) -> Conversation:
    """Return the only conversation of a record that is neither a pair nor labelled.

    Raises:
        UnreadableRecord: there are two sides, or a label.
    """
    if len(conversations) != 1:
        raise UnreadableRecord(f"not_convertible: {target} has no place for two sides")
    if conversations[0].label is not None:
        raise UnreadableRecord(f"not_convertible: {target} has no place for the label")
    return conversations[0]


def write_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Return messages as {role, content} objects, with reasoning, tool calls and weight 0 where they have them."""
    return [_write_message(message) for message in messages]


def _write_message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        written["reasoning_content"] = message.reasoning
    if message.tool_calls:
        written["tool_calls"] = json.loads(message.tool_calls)
    for key in ("name", "tool_call_id"):
        if value := getattr(message, key):
            written[key] = value
    if message.untrained:
        written["weight"] = 0
    return written


def with_tools(record: dict[str, Any], tools: str) -> dict[str, Any]:
    """Return the record with the tools of its conversation, if it has some."""
    return {**record, "tools": json.loads(tools)} if tools else record


def plain_text(message: Message, target: str) -> str:
    """Return a message as text alone, reasoning in a block before the answer.

    Raises:
        UnreadableRecord: it calls tools, or is kept out of training.
    """
    if message.tool_calls:
        raise UnreadableRecord(f"not_convertible: {target} has no place for tool calls")
    refuse_untrained(message, target)
    return join_parts(message)


def refuse_untrained(message: Message, target: str) -> None:
    """Refuse a message that is kept out of training, where the family would train on it.

    Raises:
        UnreadableRecord: it is.
    """
    if message.untrained:
        raise UnreadableRecord(f"not_convertible: {target} cannot keep a turn out of training ({message.untrained})")
