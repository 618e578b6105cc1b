"""A text cut into records and what lies between them; the pieces, end to end, are the text.

Knows lines, arrays, single objects and rows under a header as ways to cut. Does not parse a record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from audit.samples.arrays import split_array
from audit.samples.csv_lines import split_rows
from audit.samples.encoding import BYTE_ORDER_MARKS, align_chunks, unit_bytes, view_units
from audit.samples.lines import RECORD_BYTES, split_lines, too_long
from audit.samples.source import Layout
from audit.samples.streams import BrokenStream

OBJECT_BYTES = 1 << 26
"""A single object over several lines is read whole, so it may not be larger than this."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A record, or bytes between records.

    Attributes:
        line: line in lines, element in an array, row in a CSV, from 1; of a gap: the one it stands before.
        offset: where `raw` begins in the decompressed text.
        raw: the record's own bytes, or the gap; the first gap of a CSV is its header with the blank lines before it.
        ending: the line ending after it.
        is_record: whether it is a record.
    """

    line: int
    offset: int
    raw: bytes
    ending: bytes
    is_record: bool


def cut_pieces(chunks: Iterator[bytes], layout: Layout) -> Iterator[Piece]:
    """Yield the pieces of a decompressed text after its byte order mark.

    Raises:
        BrokenStream: the array is not closed, the text goes on after it or its object, or a record is too long.
    """
    aligned = align_chunks(chunks, layout.encoding)
    start = len(BYTE_ORDER_MARKS[layout.encoding])
    if layout.container == "json_array":
        return _cut_array(aligned, layout.encoding, start)
    if layout.container == "json_object":
        return _cut_object(aligned, layout.encoding, start)
    if layout.container == "csv":
        return _cut_rows(aligned, layout, start)
    return _cut_lines(aligned, layout.encoding, start)


def _cut_lines(chunks: Iterator[bytes], encoding: str, offset: int) -> Iterator[Piece]:
    number = 1
    for line in split_lines(chunks, encoding):
        body, is_blank = _measure_line(line, encoding, b" \t\r\n")
        yield Piece(number, offset, line[:body], line[body:], not is_blank)
        offset += len(line)
        number += view_units(line, encoding).count(b"\n") if is_blank else 1


def _cut_rows(chunks: Iterator[bytes], layout: Layout, offset: int) -> Iterator[Piece]:
    # A line of tabs is a row of empty cells where tabs part them.
    blanks = b" \r\n" if layout.delimiter == "\t" else b" \t\r\n"
    rows = split_rows(chunks, layout.encoding, layout.delimiter)
    header, body = _take_header(rows, layout.encoding, blanks)
    yield Piece(1, offset, header[:body], header[body:], False)
    offset += len(header)
    number = 1
    for row in rows:
        body, is_blank = _measure_line(row, layout.encoding, blanks)
        yield Piece(number, offset, row[:body], row[body:], not is_blank)
        offset += len(row)
        number += not is_blank


def _take_header(rows: Iterator[bytes], encoding: str, blanks: bytes) -> tuple[bytes, int]:
    """Return the first row that is not blank with the lines before it, and its length without its line ending."""
    lines: list[bytes] = []
    n_bytes = 0
    for row in rows:
        lines.append(row)
        n_bytes += len(row)
        body, is_blank = _measure_line(row, encoding, blanks)
        if not is_blank:
            return b"".join(lines), n_bytes - len(row) + body
        if n_bytes > RECORD_BYTES:
            raise too_long("row", RECORD_BYTES)
    return b"".join(lines), n_bytes


def _measure_line(line: bytes, encoding: str, blanks: bytes) -> tuple[int, bool]:
    """Return the length of a line without its ending, and whether nothing but blanks is on it."""
    view = view_units(line, encoding)
    ending = 2 if view.endswith(b"\r\n") else 1 if view.endswith(b"\n") else 0
    return len(line) - ending * unit_bytes(encoding), not view.strip(blanks)


def _cut_array(chunks: Iterator[bytes], encoding: str, offset: int) -> Iterator[Piece]:
    number = 1
    for raw, is_element in split_array(chunks, encoding):
        yield Piece(number, offset, raw, b"", is_element)
        offset += len(raw)
        number += is_element


def _cut_object(chunks: Iterator[bytes], encoding: str, offset: int) -> Iterator[Piece]:
    text = read_whole(chunks, OBJECT_BYTES)
    if text is None:
        raise BrokenStream(f"one object is longer than {OBJECT_BYTES:,} bytes", "write one record per line")
    unit = unit_bytes(encoding)
    view = view_units(text, encoding)
    start = (len(view) - len(view.lstrip(b" \t\r\n"))) * unit
    end = len(view.rstrip(b" \t\r\n")) * unit
    yield Piece(1, offset, text[:start], b"", False)
    yield Piece(1, offset + start, text[start:end], b"", True)
    yield Piece(2, offset + end, text[end:], b"", False)


def read_whole(chunks: Iterator[bytes], most: int) -> bytes | None:
    """Return all chunks as one, or None if they are more than `most` bytes."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) > most:
            return None
    return bytes(held)
