"""A CSV text cut into rows at the line feeds outside quotes, without parsing and without reading ahead.

Knows where a quoted cell begins (at the start of a cell, nowhere else) and ends; a row that is no CSV is cut out like
any other. Does not know columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from audit.samples.window import Window, skip

DELIMITERS = (",", ";", "\t", "|")

_NO_QUOTE = re.compile(rb'[^"]*+')
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'


@dataclass(frozen=True, slots=True)
class _Patterns:
    """What is looked for with these delimiters: a whole row with its line feed, and the rest of a cell."""

    row: re.Pattern[bytes]
    rest: re.Pattern[bytes]


def split_rows(chunks: Iterator[bytes], encoding: str, delimiters: str) -> Iterator[bytes]:
    """Yield the rows of a text with their line endings, blank lines among them; the last may have none.

    Raises:
        BrokenStream: a row is longer than RECORD_BYTES, as one whose quote is never closed may be.
    """
    window = Window(chunks, encoding, "row")
    patterns = _compile(delimiters)
    while True:
        match = patterns.row.match(window.view)
        end = match.end() if match else _find_row_end(window, patterns)
        if end == 0:
            return
        yield window.take(end)


def find_delimiter(header: bytes) -> str:
    """Return what parts a header, seen as one byte per code unit, into most cells; a comma where nothing does."""
    bare = re.sub(rb"(^|[" + re.escape("".join(DELIMITERS)).encode() + rb"])" + _QUOTED, rb"\1", header)
    return max(DELIMITERS, key=lambda delimiter: bare.count(delimiter.encode()))


def _compile(delimiters: str) -> _Patterns:
    ends = re.escape(delimiters).encode()
    rest = rb"[^" + ends + rb"\n]*+"
    # A quote that is not closed in what is held so far fits neither.
    cell = rb"(?:" + _QUOTED + rest + rb"|(?!\")" + rest + rb")"
    return _Patterns(re.compile(cell + rb"(?:[" + ends + rb"]" + cell + rb")*+\n"), re.compile(rest))


def _find_row_end(window: Window, patterns: _Patterns) -> int:
    """Return the length of the row that the window begins with, filling it; the position is never gone back from."""
    at = 0
    while True:
        # Whether a cell is quoted shows at its first character.
        if at < len(window.view) or window.fill():
            is_quoted = window.view[at : at + 1] == b'"'
            at = skip(window, patterns.rest, _find_quote_end(window, at + 1) if is_quoted else at)
        if at >= len(window.view):
            return at
        at += 1
        if window.view[at - 1 : at] == b"\n":
            return at


def _find_quote_end(window: Window, at: int) -> int:
    """Return the position after the quote that closes a cell; two in a row stand for one and close nothing."""
    while True:
        at = skip(window, _NO_QUOTE, at) + 1
        if at >= len(window.view) and not window.fill():
            return len(window.view)
        if window.view[at : at + 1] != b'"':
            return at
        at += 1
