"""The records of a source in order, or the one at a place: where each lies and what it says.

Knows how containers are opened and that a stream can break. Does not know families.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

from audit.errors import DataError
from audit.samples.decode import Parser, Unreadable, make_parser, parse_header
from audit.samples.pieces import Piece, cut_pieces
from audit.samples.sample import Place
from audit.samples.source import Layout, Record, Source
from audit.samples.streams import BrokenStream, HashedFile, read_chunks
from audit.samples.tables import count_rows, read_rows
from audit.samples.text import clean_text


@dataclass(frozen=True, slots=True)
class Row:
    """A record with its position in the file from 0, its place, and its fields or why it has none."""

    index: int
    place: Place
    fields: dict[str, Any] | Unreadable


def read_pieces(path: str, layout: Layout, file: BinaryIO | HashedFile) -> Iterator[Piece]:
    """Yield the records of an opened text, and what lies between them.

    Raises:
        DataError: the stream breaks off; the message says after how many records. They were yielded before.
    """
    n_records = 0
    try:
        for piece in cut_pieces(read_chunks(file, layout.codec), layout):
            n_records += piece.is_record
            yield piece
    except BrokenStream as error:
        cure = f"{error.cure}, or take what comes before with --limit {n_records}" if n_records else error.cure
        before = {0: "", 1: "; 1 record comes before"}.get(n_records, f"; {n_records:,} records come before")
        raise DataError(path, error.finding + before, cure) from error


def open_parser(path: str, layout: Layout) -> Parser:
    """Return what reads the records of a text; of a CSV it needs the header, which is read for it.

    Raises:
        DataError: the header of a CSV cannot be read, or names two columns alike.
    """
    return make_parser(layout, read_header(path, layout) if layout.container == "csv" else ())


def read_header(path: str, layout: Layout) -> tuple[str, ...]:
    """Return the column names of a CSV.

    Raises:
        DataError: they cannot be read, or two are the same; several may be empty.
    """
    with open(path, "rb") as file:
        header = parse_header(next(read_pieces(path, layout, file)).raw, layout)
    if isinstance(header, Unreadable):
        raise DataError(path, f"the header cannot be read: {header.reason}", "the first line names the columns")
    twice = next((name for name, count in Counter(header).items() if name and count > 1), None)
    if twice is not None:
        raise DataError(path, f"two columns are named {clean_text(twice)!r}", "rename one of them")
    return header


def read_records(source: Source) -> Iterator[Record]:
    """Yield every record as it lies in the file, readable or not.

    Raises:
        DataError: as `read_pieces`.
    """
    if source.layout.is_table:
        for row in range(count_rows(source.read_files, source.container)):
            yield Record(row, row + 1, None, None, b"")
        return
    index = 0
    with open(source.path, "rb") as file:
        for piece in read_pieces(source.path, source.layout, file):
            if piece.is_record:
                yield Record(index, piece.line, piece.offset, len(piece.raw), piece.raw)
                index += 1


def read_range(source: Source, start: int, stop: int, only: Container[int] | None = None) -> Iterator[Row]:
    """Yield the records [start, stop) with their fields, or those among them that are in `only`.

    The others are not parsed, except in tables.

    Raises:
        DataError: as `read_pieces`; or the file has fewer records than were surveyed.
    """
    n_seen = start
    rows = _read_table if source.layout.is_table else _read_text
    for row in rows(source, start, stop, only):
        n_seen += 1
        if row is not None:
            yield row
    if n_seen < stop:
        raise DataError(source.path, "has fewer records than when it was surveyed", "leave it alone, scan again")


def _read_table(source: Source, start: int, stop: int, only: Container[int] | None) -> Iterator[Row | None]:
    for index, fields in enumerate(read_rows(source.read_files, source.container, start, stop), start=start):
        is_wanted = only is None or index in only
        yield Row(index, Place(source.path, index + 1, None, None), fields) if is_wanted else None


def _read_text(source: Source, start: int, stop: int, only: Container[int] | None) -> Iterator[Row | None]:
    parse = open_parser(source.path, source.layout)
    for record in islice(read_records(source), start, stop):
        place = Place(source.path, record.line, record.byte_offset, record.byte_length)
        is_wanted = only is None or record.index in only
        yield Row(record.index, place, parse(record.raw)) if is_wanted else None


def read_fields_at(source: Source, place: Place) -> dict[str, Any] | Unreadable:
    """Return the fields of the record at a place: by its bytes in texts, by its row number in tables.

    Raises:
        DataError: the file ends before it.
    """
    gone = DataError(source.path, f"record {place.line} is gone", "the file has changed since the scan; scan again")
    if place.byte_offset is None or place.byte_length is None:
        fields = next(read_rows(source.read_files, source.container, place.line - 1, place.line), None)
        if fields is None:
            raise gone
        return fields
    raw = _read_bytes(source, place.byte_offset, place.byte_length)
    if len(raw) < place.byte_length:
        raise gone
    return open_parser(source.path, source.layout)(raw)


def _read_bytes(source: Source, offset: int, length: int) -> bytes:
    with open(source.path, "rb") as file:
        if source.codec == "none":
            file.seek(offset)
            return file.read(length)
        held = bytearray()
        position = 0
        for chunk in read_chunks(file, source.codec):
            held += chunk[max(offset - position, 0) : offset + length - position]
            position += len(chunk)
            if position >= offset + length:
                break
    return bytes(held)
