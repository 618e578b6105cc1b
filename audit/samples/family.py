"""What a reader of one record family is: a name, a test and a way to find the conversations in a record.

Knows no family. A family is one file in `families/` that holds a `FAMILY`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from audit.samples.reasoning import read_parts
from audit.samples.sample import Message, Turn

Fields = Mapping[str, Any]
"""A record as JSON or a table row gives it."""


class UnreadableRecord(Exception):
    """A record fits its family but cannot be read; the message is a code, a colon, and the finding.

    Travels from a family to the reader, which turns it into a `SkippedSample`. Users never see it.
    """


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of one side of a record, in order.

    Attributes:
        tools: JSON list of the tools that it offers; empty where there is none.
        label: whether the response is wanted, in data that says so for each response alone (KTO).
    """

    side: str
    messages: tuple[Message, ...]
    tools: str = ""
    label: bool | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """A record family.

    Attributes:
        name: one of `schema.FORMATS`.
        says: what it is called when it was detected.
        wants: the fields it needs, for messages.
        fits: tells from the fields, without reading them through, whether a record is of this family.
        read: finds the conversations of a record that fits. Raises UnreadableRecord.
        keys: role (`messages`, `prompt`, `response`, `chosen`, `rejected`, `system`, `text`) → the field that `read`
            finds it in; a field option of the user's puts another field there.
        others: role → further fields that `read` understands for it; a field option of the user's hides them.
        also: other fields and variants that are understood, for the table of formats.
        example: a record of the family.
        write: makes a record of conversations; None: nothing is converted to this family. Raises UnreadableRecord
            where the conversations say more than the family can.
        is_detected: whether rows may be taken for this family without being told.
    """

    name: str
    says: str
    wants: str
    fits: Callable[[Fields], bool]
    read: Callable[[Fields], tuple[Conversation, ...]]
    keys: Mapping[str, str]
    also: str
    example: Fields
    write: Callable[[tuple[Conversation, ...]], dict[str, Any]] | None = None
    is_detected: bool = True
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def rename_fields(record: Fields, keys: Mapping[str, str], family: Family) -> Fields:
    """Return the record as the family reads it: the fields that the user named stand under the family's own names."""
    if not keys:
        return record
    wanted = {family.keys[role]: key for role, key in keys.items()}
    hidden = {*wanted, *keys.values(), *(other for role in keys for other in family.others.get(role, ()))}
    left = {key: value for key, value in record.items() if key not in hidden and key.lower() not in hidden}
    return {**left, **{own: record[key] for own, key in wanted.items() if key in record}}


def fold_case(record: Fields) -> Fields:
    """Return the record with its fields under lower-case names, too; a name that is spelled so in it wins."""
    folded = {key.lower(): value for key, value in record.items()}
    return record if folded.keys() == record.keys() else {**folded, **record}


def is_given(record: Fields, key: str) -> bool:
    """Tell whether a field holds something: in a table, an absent field is null, and in CSV it is empty."""
    return record.get(key) not in (None, "", [])


def find_turns(conversations: tuple[Conversation, ...], which: str = "all") -> tuple[Turn, ...]:
    """Return the assistant turns of a record in parts, each with the messages before it; with `last`, one a side."""
    turns: list[Turn] = []
    for conversation in conversations:
        positions = [i for i, message in enumerate(conversation.messages) if message.role == "assistant"]
        for position in positions if which == "all" else positions[-1:]:
            turns += _find_parts(conversation, position)
    return tuple(turns)


def _find_parts(conversation: Conversation, position: int) -> Iterator[Turn]:
    message = conversation.messages[position]
    for part, text in read_parts(message).items():
        unscored = message.untrained or None
        if unscored is None and part == "answer" and not text.strip() and message.tool_calls:
            unscored = "tool_call: the turn calls a tool and says nothing"
        yield Turn(
            side=conversation.side,
            turn=position,
            part=part,
            prompt=conversation.messages[:position],
            response=text,
            message=message,
            tools=conversation.tools,
            unscored=unscored,
        )


def answer_turn(prompt: tuple[Message, ...], text: str, *, part: str = "answer", tools: str = "") -> Turn | None:
    """Return the part of a response that a model wrote as one text; None where it has no such part."""
    message = Message("assistant", text)
    response = read_parts(message).get(part)
    if response is None:
        return None
    return Turn("response", len(prompt), part, prompt, response, message, tools)
