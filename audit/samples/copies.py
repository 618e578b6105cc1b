"""A source copied without some of its records, every other byte as it was.

Knows what goes along with a record: its line ending and blank lines, the separator before it, the header above it.
Does not know why a record is kept, nor what the field says that it may add to each.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from audit.samples.encoding import BYTE_ORDER_MARKS
from audit.samples.pieces import Piece
from audit.samples.records import read_pieces
from audit.samples.source import Source
from audit.samples.splices import AddedField, Splicer
from audit.samples.table_copies import copy_table


@dataclass(frozen=True, slots=True)
class CopyCounts:
    """How many records went where, and how many of them could not be given the added field."""

    n_kept: int
    n_rejected: int
    n_bare: int = 0


def copy_records(
    source: Source,
    keep: Container[int] | Callable[[int], bool],
    output: BinaryIO,
    rejected: BinaryIO | None = None,
    added: AddedField | None = None,
) -> CopyCounts:
    """Copy the records whose index in the source is kept to `output`, the others to `rejected`, if there is one.

    Text is written decompressed. In lines, a record takes its line ending and the blank lines after it along; blank
    lines before the first record go to `output`, the byte order mark and a header to both. In a JSON array, the
    elements' bytes and the separators before them stay, and what is written is an array again. Tables keep values,
    schema, metadata and compression. Keeping every record writes the text's bytes as they were.

    With an added field, each record gets it at its end; one that cannot be read stays as it is.

    Raises:
        DataError: the file breaks off.
        ExportError: a record has a field of the added one's name already; or see `Splicer.edit`.
    """
    is_kept = keep if callable(keep) else keep.__contains__
    if source.layout.is_table:
        return CopyCounts(*copy_table(source, is_kept, output, rejected, added))
    sides = [_Side(output, source.encoding), _Side(rejected, source.encoding)]
    splicer = Splicer(source, added) if added else None
    with open(source.path, "rb") as file:
        pieces = read_pieces(source.path, source.layout, file)
        edit = splicer.edit if splicer else _leave
        for side in sides:
            side.write(BYTE_ORDER_MARKS[source.encoding])
        if source.container == "json_array":
            _copy_elements(pieces, is_kept, sides, edit)
        else:
            _copy_lines(pieces, is_kept, sides, edit, has_header=source.container == "csv")
    return CopyCounts(sides[0].n_records, sides[1].n_records, splicer.n_bare if splicer else 0)


class _Edit(Protocol):
    """What may change the bytes of a piece before it is written."""

    def __call__(self, piece: Piece, *, is_written: bool = True) -> Piece: ...


def _leave(piece: Piece, *, is_written: bool = True) -> Piece:
    return piece


class _Side:
    """One of the two outputs; a missing one only counts."""

    def __init__(self, sink: BinaryIO | None, encoding: str) -> None:
        self._sink = sink
        self.closing_bracket = "]".encode(encoding.removesuffix("-sig"))
        self.n_records = 0

    @property
    def is_written(self) -> bool:
        """Whether what goes here is kept."""
        return self._sink is not None

    def write(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.write(data)


def _copy_lines(
    pieces: Iterator[Piece], is_kept: Callable[[int], bool], sides: list[_Side], edit: _Edit, *, has_header: bool
) -> None:
    side = sides[0]
    index = 0
    for piece in pieces:
        targets = [side]
        if piece.is_record:
            side = sides[0] if is_kept(index) else sides[1]
            side.n_records += 1
            index += 1
            targets = [side]
            piece = edit(piece, is_written=side.is_written)
        elif has_header:
            targets, has_header = sides, False
            piece = edit(piece)
        for target in targets:
            target.write(piece.raw)
            target.write(piece.ending)


def _copy_elements(pieces: Iterator[Piece], is_kept: Callable[[int], bool], sides: list[_Side], edit: _Edit) -> None:
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
        last.write(edit(piece, is_written=last.is_written).raw)
        last.n_records += 1
        index += 1
    _close_array(gap, last, sides)


def _close_array(gap: bytes, last: _Side, sides: list[_Side]) -> None:
    for side in sides:
        # An array that breaks off stays as it is where its end goes; the other output is closed.
        is_closed = side.closing_bracket in gap
        side.write(gap if is_closed or side is last else side.closing_bracket)
