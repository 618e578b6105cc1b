"""A text cut into records and what lies between them; the pieces, end to end, are the text.

Knows lines, arrays and single objects as ways to cut. Does not parse a record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from audit.samples.arrays import split_array
from audit.samples.encoding import BYTE_ORDER_MARKS, align_chunks, unit_bytes, view_units
from audit.samples.lines import split_lines
from audit.samples.source import Layout
from audit.samples.streams import BrokenStream

OBJECT_BYTES = 1 << 26
"""A single object over several lines is read whole, so it may not be larger than this."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A record, or bytes between records.

    Attributes:
        line: line in lines, element in an array, from 1; of a gap: the one it stands before.
        offset: where `raw` begins in the decompressed text.
        raw: the record's own bytes, or the gap.
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
        BrokenStream: the text goes on after its array or object, or a record is too long.
    """
    aligned = align_chunks(chunks, layout.encoding)
    start = len(BYTE_ORDER_MARKS[layout.encoding])
    if layout.container == "json_array":
        return _cut_array(aligned, layout.encoding, start)
    if layout.container == "json_object":
        return _cut_object(aligned, layout.encoding, start)
    return _cut_lines(aligned, layout.encoding, start)


def _cut_lines(chunks: Iterator[bytes], encoding: str, offset: int) -> Iterator[Piece]:
    unit = unit_bytes(encoding)
    for number, line in enumerate(split_lines(chunks, encoding), start=1):
        view = view_units(line, encoding)
        ending = (2 if view.endswith(b"\r\n") else 1 if view.endswith(b"\n") else 0) * unit
        body = len(line) - ending
        yield Piece(number, offset, line[:body], line[body:], bool(view.strip(b" \t\r\n")))
        offset += len(line)


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
