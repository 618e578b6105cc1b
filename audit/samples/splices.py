"""A field added to records as they are copied: to the bytes of an object or a row of cells, every other byte kept.

Knows where an object and a row end. Does not know what the field says, nor where a record goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from audit.errors import ExportError
from audit.samples.decode import Parser, Unreadable, make_parser
from audit.samples.encoding import unit_bytes, view_units
from audit.samples.pieces import Piece
from audit.samples.records import open_parser, read_header
from audit.samples.source import Source

_BLANKS = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class AddedField:
    """A field that every record gets.

    Attributes:
        values: one value a record, in the order of the records; taken by whoever copies them.
    """

    name: str
    type: pa.DataType
    values: Iterator[Mapping[str, Any]]


def refuse_taken_name(place: str, name: str) -> ExportError:
    """Return the error for a record that has a field of the added one's name."""
    return ExportError(place, f"has a field {name!r} already", "export without --annotate, or rename the field")


class Splicer:
    """Adds the field to the records of one text, in order; `n_bare` counts those that cannot be read."""

    def __init__(self, source: Source, added: AddedField) -> None:
        self._path = source.path
        self._added = added
        self._encoding = source.encoding.removesuffix("-sig")
        self._delimiter = source.delimiter
        self._needs_header = source.container == "csv"
        self._parse = open_parser(source.path, source.layout)
        self._parse_longer: Parser | None = None
        if self._needs_header:
            header = read_header(source.path, source.layout)
            if added.name in header:
                raise refuse_taken_name(source.path, added.name)
            self._parse_longer = make_parser(source.layout, (*header, added.name))
        self.n_bare = 0

    def edit(self, piece: Piece, *, is_written: bool = True) -> Piece:
        """Return the piece with the field in it; a gap, and a record that cannot be read, as they are.

        A record that is not written uses up its value and is not looked at.

        Raises:
            ExportError: the record, or the header, has a field of that name already; or a broken row of a CSV would
                be a whole one under the longer header.
        """
        if piece.is_record:
            value = next(self._added.values)
            return replace(piece, raw=self._edit_record(piece, value)) if is_written else piece
        if self._needs_header:
            self._needs_header = False
            return replace(piece, raw=self._append_cell(piece.raw, self._added.name))
        return piece

    def _edit_record(self, piece: Piece, value: Mapping[str, Any]) -> bytes:
        fields = self._parse(piece.raw)
        if isinstance(fields, Unreadable):
            self._refuse_misread(piece)
            self.n_bare += 1
            return piece.raw
        if self._added.name in fields:
            raise refuse_taken_name(f"{self._path}:{piece.line}", self._added.name)
        text = json.dumps(value, allow_nan=False)
        if self._delimiter:
            return self._append_cell(piece.raw, text)
        view = view_units(piece.raw, self._encoding).rstrip(_BLANKS)
        end = len(view[:-1].rstrip(_BLANKS)) * unit_bytes(self._encoding)
        field = f"{', ' if fields else ''}{json.dumps(self._added.name)}: {text}"
        return piece.raw[:end] + field.encode(self._encoding) + piece.raw[end:]

    def _refuse_misread(self, piece: Piece) -> None:
        """Refuse a row of one cell too many: the longer header would take its last cell for the field."""
        if self._parse_longer is not None and not isinstance(self._parse_longer(piece.raw), Unreadable):
            finding = f"has one cell more than the header, which would be read as {self._added.name!r}"
            raise ExportError(f"{self._path}:{piece.line}", finding, "mend the row, or export without --annotate")

    def _append_cell(self, raw: bytes, text: str) -> bytes:
        # Quoted where the cells beside it are.
        is_quoted = raw.endswith('"'.encode(self._encoding))
        if is_quoted or any(mark in text for mark in (self._delimiter, '"', "\n", "\r")):
            text = '"' + text.replace('"', '""') + '"'
        return raw + (self._delimiter + text).encode(self._encoding)
