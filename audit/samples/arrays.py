"""A JSON array cut into its elements and the gaps between them, without parsing and without reading ahead.

Knows strings, escapes and brackets: what it takes to see where an element ends. An element that is no JSON is cut
out like any other, as far as its brackets and quotes balance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from audit.samples.encoding import unit_bytes, view_units
from audit.samples.lines import RECORD_BYTES, too_long
from audit.samples.streams import BrokenStream

_BLANKS = re.compile(rb"[ \t\r\n]*+")
_GAP = re.compile(rb"[ \t\r\n,]*+")
_STRING_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# Between brackets a comma parts nothing that matters; outside them it ends the element.
_FLAT = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+", re.DOTALL)
_NESTED = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+", re.DOTALL)


class _Window:
    """The part of the text that is not yielded yet: its bytes, and its view with one byte per code unit."""

    def __init__(self, chunks: Iterator[bytes], encoding: str) -> None:
        self._chunks = chunks
        self._encoding = encoding
        self._unit = unit_bytes(encoding)
        self._bytes = bytearray()
        self.view = self._bytes if self._unit == 1 else bytearray()

    def fill(self) -> bool:
        """Append the next chunk; False at the end of the text."""
        chunk = next(self._chunks, b"")
        self._bytes += chunk
        if self._unit > 1:
            self.view += view_units(chunk, self._encoding)
        if len(self._bytes) > RECORD_BYTES:
            raise too_long("element")
        return bool(chunk)

    def take(self, n_units: int) -> bytes:
        """Cut off and return the first units."""
        taken = bytes(self._bytes[: n_units * self._unit])
        del self._bytes[: n_units * self._unit]
        if self._unit > 1:
            del self.view[:n_units]
        return taken


def split_array(chunks: Iterator[bytes], encoding: str) -> Iterator[tuple[bytes, bool]]:
    """Yield the gaps and elements of a JSON array in turn, as (bytes, is_element); the last is a gap.

    The first gap holds the opening bracket, the last the closing one, if the text has it.

    Raises:
        BrokenStream: text after the closing bracket, or an element longer than RECORD_BYTES.
    """
    window = _Window(chunks, encoding)
    opening = _skip(window, _BLANKS, 0) + 1
    while True:
        end = _skip(window, _GAP, opening)
        if end >= len(window.view) or window.view[end : end + 1] == b"]":
            break
        yield window.take(end), False
        yield window.take(_find_element_end(window)), True
        opening = 0
    end = _skip(window, _BLANKS, min(end + 1, len(window.view)))
    if end < len(window.view):
        raise BrokenStream("text follows the end of the array", "write one array, or one record per line")
    yield window.take(end), False


def _skip(window: _Window, pattern: re.Pattern[bytes], at: int) -> int:
    """Return where the pattern stops matching, filling the window as needed."""
    while True:
        if at <= len(window.view):
            match = pattern.match(window.view, at)
            at = match.end() if match else at
            if at < len(window.view):
                return at
        if not window.fill():
            return min(at, len(window.view))


def _find_element_end(window: _Window) -> int:
    """Return the length of the element that the window begins with, without the blanks after it."""
    at, depth = 0, 0
    while True:
        at = _skip(window, _NESTED if depth else _FLAT, at)
        mark = bytes(window.view[at : at + 1])
        if mark == b'"':
            at = _find_string_end(window, at + 1)
        elif mark in (b"[", b"{"):
            at, depth = at + 1, depth + 1
        elif mark in (b"]", b"}") and depth:
            at, depth = at + 1, depth - 1
        elif mark == b"}":
            at += 1
        else:
            return len(window.view[:at].rstrip(b" \t\r\n"))


def _find_string_end(window: _Window, at: int) -> int:
    """Return the position after the quote that closes a string which the window held only in part."""
    while True:
        match = _STRING_INSIDE.match(window.view, at)
        at = match.end() if match else at
        if window.view[at : at + 1] == b'"':
            return at + 1
        if not window.fill():
            return len(window.view)
