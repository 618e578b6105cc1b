"""A CSV text cut into rows at the line feeds outside quotes, without parsing and without reading ahead.

Knows where a quoted cell begins (at the start of a cell, nowhere else) and ends; a row that is no CSV is cut out like
any other. Of a quote that nothing closes, the row ends with its line, so that it costs one row and not all that follow.
Does not know columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from audit.samples.window import Window, skip

DELIMITERS = (",", ";", "\t", "|")

_BLANK_LINES = re.compile(rb"(?:[ \r]*+\n){2,}+")
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'


@dataclass(frozen=True, slots=True)
class _Patterns:
    """What is looked for with these delimiters: a whole row with its line feed, and the rest of a cell."""

    row: re.Pattern[bytes]
    rest: re.Pattern[bytes]


def split_rows(chunks: Iterator[bytes], encoding: str, delimiters: str) -> Iterator[bytes]:
    """Yield the rows of a text with their line endings, and blank lines, several as one; the last may have none.

    Raises:
        BrokenStream: a row, or the line of a quote that nothing closes, is longer than RECORD_BYTES.
    """
    window = Window(chunks, encoding, "row")
    patterns = _compile(delimiters)
    while True:
        match = _BLANK_LINES.match(window.view) or patterns.row.match(window.view)
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
        if (at < len(window.view) or window.fill()) and window.view[at : at + 1] == b'"':
            end = _find_quote_end(window, at + 1)
            if end is None:
                return _find_line_end(window, at)
            at = end
        at = skip(window, patterns.rest, at)
        if at >= len(window.view):
            return at
        at += 1
        if window.view[at - 1 : at] == b"\n":
            return at


def _find_quote_end(window: Window, at: int) -> int | None:
    """Return the position after the quote that closes a cell; two in a row stand for one and close nothing.

    None where the text ends before it, or the row would be too long.
    """
    while True:
        found = window.view.find(b'"', at)
        at = len(window.view) if found < 0 else found + 1
        has_next = at < len(window.view) or (not window.is_full and window.fill())
        if found >= 0 and window.view[at : at + 1] != b'"':
            return at
        if not has_next:
            return None
        at += found >= 0


def _find_line_end(window: Window, at: int) -> int:
    """Return the position after the next line feed, or the end of the text."""
    end = window.view.find(b"\n", at) + 1
    while not end and window.fill():
        end = window.view.find(b"\n", at) + 1
    return end or len(window.view)
