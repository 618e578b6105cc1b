"""What a dataset file turns into: samples with their assistant turns, or skipped samples with a reason.

Frozen values only. Knows neither files nor tokenizers.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as a chat template takes it.

    Attributes:
        role: `system`, `developer`, `user`, `assistant` or `tool`.
        content: its text, exactly as in the record, a `<think>` block included.
        reasoning: the text that the record keeps apart from the content (`thinking`, `reasoning_content`).
        tool_calls: JSON list of {type, id, function {name, arguments}}; empty where there is none.
        name, tool_call_id: of a tool's message; empty where there is none.
        untrained: why training leaves the message out, as `Turn.unscored` says it; empty: it does not.
    """

    role: str
    content: str
    reasoning: str = ""
    tool_calls: str = ""
    name: str = ""
    tool_call_id: str = ""
    # No part of what a template writes, so two messages that differ in it alone are the same prompt.
    untrained: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """One part of an assistant turn with the conversation before it.

    Attributes:
        side: `response`, or `chosen` / `rejected` in preference data.
        turn: index of the assistant message in its conversation, from 0.
        part: `answer`, or `reasoning` where the message has some.
        prompt: every message before the turn; may be empty.
        response: the text of the part, exactly as in the record.
        message: the whole assistant message.
        tools: JSON list of the tools that the conversation offers; empty where there is none.
        unscored: why the turn is not to be scored: a code, a colon, and the finding; None: it is.
    """

    side: str
    turn: int
    part: str
    prompt: tuple[Message, ...]
    response: str
    message: Message
    tools: str = ""
    unscored: str | None = None


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
