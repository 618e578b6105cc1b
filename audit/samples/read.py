"""Records turned into samples: the public way to read a surveyed source.

Knows that a record that cannot be scored is a value, and an error only when strictness was asked for.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from audit.errors import ConfigError, RecordError
from audit.samples.decode import Unreadable
from audit.samples.families import load_families
from audit.samples.family import Conversation, Family, Fields, UnreadableRecord, find_turns, rename_fields
from audit.samples.probe import describe_misfit
from audit.samples.records import read_fields_at, read_range
from audit.samples.sample import Place, Sample, SkippedSample
from audit.samples.source import Source
from audit.samples.text import clean_text

_REASON_CHARACTERS = 400
_LEAST_INT64, _MOST_INT64 = -(2**63), 2**63 - 1


def read_samples(
    source: Source,
    *,
    first_id: int = 0,
    start: int = 0,
    stop: int | None = None,
    turns: str = "all",
    keep_columns: tuple[str, ...] = (),
    strict: bool = False,
    only: Container[int] | None = None,
) -> Iterator[Sample | SkippedSample]:
    """Yield the records [start, stop) of a source, one value each; `sample_id` is `first_id` plus the index.

    Records before `start`, and those whose index is not in `only`, are passed over without being parsed. `turns` is
    `all` or `last` (of each side).

    Raises:
        ConfigError: `turns` is neither.
        DataError: the file breaks off or has changed; what comes before was yielded.
        RecordError: with `strict`, at the first record that would be skipped.
    """
    _check_turns(turns)
    end = source.n_records if stop is None else min(stop, source.n_records)
    for row in read_range(source, start, end, only):
        sample = _make_sample(source, row.fields, row.place, first_id + row.index, turns, keep_columns)
        if strict and isinstance(sample, SkippedSample):
            raise RecordError(f"{source.path}:{row.place.line}", sample.reason, "mend it, or scan without --strict")
        yield sample


def read_sample_at(
    source: Source,
    place: Place,
    *,
    sample_id: int,
    turns: str = "all",
    keep_columns: tuple[str, ...] = (),
) -> Sample | SkippedSample:
    """Return the sample at a place: by its bytes in texts, by its row number in tables.

    Raises:
        ConfigError: `turns` is neither `all` nor `last`.
        DataError: the file ends before the place.
    """
    _check_turns(turns)
    fields = read_fields_at(source, place)
    return _make_sample(source, fields, place, sample_id, turns, keep_columns)


def read_conversations(source: Source, fields: Fields | Unreadable) -> tuple[Conversation, ...] | str:
    """Return the conversations of a record, or the reason why it has none, as `SkippedSample` has it."""
    family = load_families()[source.format]
    fitting = _fit_fields(source, fields, family)
    return fitting if isinstance(fitting, str) else _read_fitting(fitting, family)


def _check_turns(turns: str) -> None:
    if turns not in ("all", "last"):
        raise ConfigError("--turns", f"{turns!r} is not known", "choose one of all, last")


def _make_sample(
    source: Source,
    fields: dict[str, Any] | Unreadable,
    place: Place,
    sample_id: int,
    turns: str,
    keep_columns: tuple[str, ...],
) -> Sample | SkippedSample:
    family = load_families()[source.format]
    kept = {column: _scalar(fields, column) for column in keep_columns}
    fitting = _fit_fields(source, fields, family)
    if isinstance(fitting, str):
        return SkippedSample(sample_id, place, None, fitting, kept)
    conversations = _read_fitting(fitting, family)
    if isinstance(conversations, str):
        return SkippedSample(sample_id, place, family.name, conversations, kept)
    found = find_turns(conversations, turns)
    if not found:
        n_messages = sum(len(conversation.messages) for conversation in conversations)
        reason = f"no_assistant_turn: none of {n_messages} messages is the assistant's"
        return SkippedSample(sample_id, place, family.name, reason, kept)
    return Sample(sample_id, place, family.name, found, kept)


def _fit_fields(source: Source, fields: Fields | Unreadable, family: Family) -> Fields | str:
    """Return the fields as the family reads them, or why it does not."""
    if isinstance(fields, Unreadable):
        return fields.reason
    renamed = rename_fields(fields, source.keys, family)
    return renamed if family.fits(renamed) else _shorten(f"no_shape: {describe_misfit(fields, source.keys, family)}")


def _read_fitting(fields: Fields, family: Family) -> tuple[Conversation, ...] | str:
    try:
        return family.read(fields)
    except UnreadableRecord as error:
        return _shorten(clean_text(str(error)))


def _shorten(reason: str) -> str:
    """Cut what a record's own words made too long for a table."""
    return reason if len(reason) <= _REASON_CHARACTERS else reason[: _REASON_CHARACTERS - 1] + "…"


def _scalar(fields: dict[str, Any] | Unreadable, column: str) -> str | int | float | bool | None:
    value = None if isinstance(fields, Unreadable) else fields.get(column)
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int) and not isinstance(value, bool) and not _LEAST_INT64 <= value <= _MOST_INT64:
        return str(value)
    return value if isinstance(value, (int, float, bool)) else None
