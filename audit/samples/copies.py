"""A source copied without some of its records, every other byte as it was.

Knows what goes along with a record: its line ending and blank lines, or the separator before it. Does not know why
a record is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from audit.samples.encoding import BYTE_ORDER_MARKS
from audit.samples.pieces import Piece
from audit.samples.records import read_pieces
from audit.samples.source import Source
from audit.samples.tables import copy_rows


@dataclass(frozen=True, slots=True)
class CopyCounts:
    """How many records went where."""

    n_kept: int
    n_rejected: int


def copy_records(
    source: Source,
    keep: Container[int] | Callable[[int], bool],
    output: BinaryIO,
    rejected: BinaryIO | None = None,
) -> CopyCounts:
    """Copy the records whose index in the source is kept to `output`, the others to `rejected`, if there is one.

    Text is written decompressed. In lines, a record takes its line ending and the blank lines after it along; blank
    lines before the first record go to `output`, the byte order mark to both. In a JSON array, the elements' bytes
    and the separators before them stay, and what is written is an array again. Tables keep values, schema, metadata
    and compression. Keeping every record writes the text's bytes as they were.

    Raises:
        DataError: the file breaks off.
    """
    is_kept = keep if callable(keep) else keep.__contains__
    if source.container == "parquet":
        return CopyCounts(*copy_rows(source.path, is_kept, output, rejected))
    mark = BYTE_ORDER_MARKS[source.encoding]
    sides = [_Side(output, source.encoding), _Side(rejected, source.encoding)]
    with open(source.path, "rb") as file:
        pieces = read_pieces(source.path, source.layout, file)
        for side in sides:
            side.write(mark)
        if source.container == "json_array":
            _copy_elements(pieces, is_kept, sides)
        else:
            _copy_lines(pieces, is_kept, sides)
    return CopyCounts(sides[0].n_records, sides[1].n_records)


class _Side:
    """One of the two outputs; a missing one only counts."""

    def __init__(self, sink: BinaryIO | None, encoding: str) -> None:
        self._sink = sink
        self.closing_bracket = "]".encode(encoding.removesuffix("-sig"))
        self.n_records = 0

    def write(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.write(data)


def _copy_lines(pieces: Iterator[Piece], is_kept: Callable[[int], bool], sides: list[_Side]) -> None:
    side = sides[0]
    index = 0
    for piece in pieces:
        if piece.is_record:
            side = sides[0] if is_kept(index) else sides[1]
            side.n_records += 1
            index += 1
        side.write(piece.raw)
        side.write(piece.ending)


def _copy_elements(pieces: Iterator[Piece], is_kept: Callable[[int], bool], sides: list[_Side]) -> None:
    index = 0
    gap = b""
    last = sides[0]
    for piece in pieces:
        if not piece.is_record:
            gap = piece.raw
            continue
        last = sides[0] if is_kept(index) else sides[1]
        for side in sides:
            # The first gap holds the opening bracket; an element's own gap would put a comma before the first one.
            if index == 0 or (side is last and side.n_records):
                side.write(gap)
        last.write(piece.raw)
        last.n_records += 1
        index += 1
    _close_array(gap, last, sides)


def _close_array(gap: bytes, last: _Side, sides: list[_Side]) -> None:
    for side in sides:
        # An array that breaks off stays as it is where its end goes; the other output is closed.
        is_closed = side.closing_bracket in gap
        side.write(gap if is_closed or side is last else side.closing_bracket)
