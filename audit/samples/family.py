"""What a reader of one record family is: a name, a test and a way to find the conversations in a record.

Knows no family. A family is one file in `families/` that holds a `FAMILY`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from audit.samples.sample import Message, Turn

Fields = Mapping[str, Any]
"""A record as JSON or a table row gives it."""


class UnreadableRecord(Exception):
    """A record fits its family but cannot be read; the message is a code, a colon, and the finding.

    Travels from a family to the reader, which turns it into a `SkippedSample`. Users never see it.
    """


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of one side of a record, in order."""

    side: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A record family.

    Attributes:
        name: one of `schema.FORMATS`.
        says: what it is called when it was detected.
        wants: the fields it needs, for messages.
        fits: tells from the fields, without reading them through, whether a record is of this family.
        read: finds the conversations of a record that fits. Raises UnreadableRecord.
    """

    name: str
    says: str
    wants: str
    fits: Callable[[Fields], bool]
    read: Callable[[Fields], tuple[Conversation, ...]]


def find_turns(conversations: tuple[Conversation, ...], which: str = "all") -> tuple[Turn, ...]:
    """Return the assistant turns of a record, each with the messages before it; with `last`, one a side."""
    turns: list[Turn] = []
    for conversation in conversations:
        positions = [i for i, message in enumerate(conversation.messages) if message.role == "assistant"]
        for position in positions if which == "all" else positions[-1:]:
            turns.append(
                Turn(
                    side=conversation.side,
                    turn=position,
                    part="answer",
                    prompt=conversation.messages[:position],
                    response=conversation.messages[position].content,
                )
            )
    return tuple(turns)
