"""The rows of a dataset file with what the check needs of each, in one pass where the container allows it.

Knows that JSON text can be read without being surveyed whole. Does not know facts or rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from audit.errors import DataError
from audit.samples import Source, read_records, survey_source
from audit.samples.decode import Unreadable, parse_record
from audit.samples.families import load_families
from audit.samples.family import rename_fields
from audit.samples.lines import RECORD_BYTES, too_long
from audit.samples.records import read_range

N_PROBED = 200
"""First rows that the family is chosen by."""

_UTF_8_MARKS = {"utf-8": b"", "utf-8-sig": b"\xef\xbb\xbf"}
"""Encodings in which a line can be cut where the file object cuts it."""

_JSON = ("jsonl", "json_array", "json_object")


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A file whose family is known.

    Attributes:
        source: as surveyed; of JSON text, only its first rows were counted.
        n_rows: how many there are; None where that is not known before they are read.
    """

    source: Source
    n_rows: int | None


def open_source(
    path: str,
    *,
    format: str | None = None,
    keys: Mapping[str, str] | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> OpenedSource:
    """Find out, or check, which family the rows of a file belong to; beyond a limit, nothing is read.

    Plain text, which trainers take as it is, is recognised where nothing else is.

    Raises:
        MissingDataError, DataError, ConfigError: as `survey_source`.
    """
    # Only what was given: the survey refuses options that do not go with a container.
    given: dict[str, Any] = {key: value for key, value in (("keys", keys), ("split", split)) if value}
    n_first = min(limit or N_PROBED, N_PROBED)
    try:
        source = survey_source(path, format=format, limit=n_first, **given)
    except DataError:
        if format is None and not keys:
            with suppress(DataError):
                survey_source(path, format="text", limit=n_first, **given)
                return open_source(path, format="text", split=split, limit=limit)
        if limit is not None and limit <= N_PROBED:
            raise
        # None of the first rows fits; a later one may.
        source = survey_source(path, format=format, limit=limit, **given)
        return OpenedSource(source, source.n_records)
    if source.container in _JSON:
        return OpenedSource(source, None)
    source = survey_source(path, format=format, limit=limit, **given)
    return OpenedSource(source, source.n_records)


def read_rows(opened: OpenedSource, limit: int | None) -> Iterator[tuple[int, int, bytes, dict[str, Any] | Unreadable]]:
    """Yield line, byte offset, raw bytes and fields of every row; no bytes in tables.

    Raises:
        DataError: the file breaks off; what comes before was yielded.
    """
    source = opened.source
    if source.container == "jsonl" and source.codec == "none" and source.encoding in _UTF_8_MARKS:
        yield from islice(_read_lines(source), limit)
        return
    if source.container in _JSON:
        encoding = source.encoding
        for record in islice(read_records(source), limit):
            yield record.line, record.byte_offset or 0, record.raw, parse_record(record.raw, encoding)
        return
    stop = source.n_records if limit is None else min(limit, source.n_records)
    for row in read_range(source, 0, stop):
        yield row.place.line, 0, b"", row.fields


def _read_lines(source: Source) -> Iterator[tuple[int, int, bytes, dict[str, Any] | Unreadable]]:
    """Yield the rows of plain JSON lines; as `read_records` cuts them, at a third of the cost."""
    with open(source.path, "rb") as file:
        offset = len(_UTF_8_MARKS[source.encoding])
        file.seek(offset)
        line = 0
        while raw := file.readline(RECORD_BYTES + 1):
            if len(raw) > RECORD_BYTES and not raw.endswith(b"\n"):
                broken = too_long("line")
                raise DataError(source.path, f"{broken.finding}; {line:,} lines come before", broken.cure)
            line += 1
            if not raw.isspace():
                yield line, offset, raw, parse_record(raw.rstrip(b"\r\n"), "utf-8")
            offset += len(raw)


def rename(fields: dict[str, Any], source: Source) -> dict[str, Any]:
    """Return the fields under the family's own names."""
    if not source.keys:
        return fields
    return dict(rename_fields(fields, source.keys, load_families()[source.format]))
