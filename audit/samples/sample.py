"""What a dataset file turns into: samples with their assistant turns, or skipped samples with a reason.

Frozen values only. Knows neither files nor tokenizers.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as a chat template takes it."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One assistant turn with the conversation before it.

    Attributes:
        side: `response`, or `chosen` / `rejected` in preference data.
        turn: index of the assistant message in its conversation, from 0.
        part: `answer` (or `reasoning`, where a record keeps it apart).
        prompt: every message before the turn; may be empty.
        response: the text of the turn, exactly as in the record.
    """

    side: str
    turn: int
    part: str
    prompt: tuple[Message, ...]
    response: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record lies: `line` from 1 (row or element number in tables and arrays).

    `byte_offset` and `byte_length` span the record's own bytes in the decompressed text, without the line ending;
    None in tables.
    """

    source: str
    line: int
    byte_offset: int | None
    byte_length: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A record in which at least one assistant turn was found.

    `kept` holds the scalar fields asked for with `keep_columns`.
    """

    sample_id: int
    place: Place
    format: str
    turns: tuple[Turn, ...]
    kept: dict[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkippedSample:
    """A record that cannot be scored; `reason` is a code, a colon, and the finding: `bad_json: …`."""

    sample_id: int
    place: Place
    format: str | None
    reason: str
    kept: dict[str, str | int | float | bool | None] = field(default_factory=dict)
