"""A JSON array cut into its elements and the gaps between them, without parsing and without reading ahead.

Knows strings, escapes and brackets: what it takes to see where an element ends. An element that is no JSON is cut
out like any other, as far as its brackets and quotes balance; where they never do, the array is not closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from audit.samples.streams import BrokenStream
from audit.samples.window import Window, skip

_BLANKS = re.compile(rb"[ \t\r\n]*+")
_GAP = re.compile(rb"[ \t\r\n,]*+")
_STRING_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# Between brackets a comma parts nothing that matters; outside them it ends the element.
_FLAT = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+", re.DOTALL)
_COMMON_DEPTH = 6
# Python's reader of JSON goes no deeper either.
_MOST_DEPTH = 1000


def _write_inside() -> bytes:
    """Return what stands between brackets, with others in it that are closed and not too deep inside each other."""
    inside = rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+"
    for _ in range(_COMMON_DEPTH - 1):
        inside = rb'(?:[^"\[\]{}]++|' + _STRING + rb"|[\[{]" + inside + rb"[\]}])*+"
    return inside


_NESTED = re.compile(_write_inside(), re.DOTALL)
_COMMON = re.compile(rb"[\[{]" + _NESTED.pattern + rb"[\]}](?=[ \t\r\n]*+[,\]])", re.DOTALL)


def split_array(chunks: Iterator[bytes], encoding: str) -> Iterator[tuple[bytes, bool]]:
    """Yield the gaps and elements of a JSON array in turn, as (bytes, is_element); the last is a gap.

    The first gap holds the opening bracket, the last the closing one.

    Raises:
        BrokenStream: no closing bracket, or text after it; an element longer than RECORD_BYTES, or nested too deeply.
    """
    window = Window(chunks, encoding, "element")
    opening = skip(window, _BLANKS, 0) + 1
    while True:
        end = skip(window, _GAP, opening)
        if end >= len(window.view):
            raise _not_closed()
        if window.view[end : end + 1] == b"]":
            break
        yield window.take(end), False
        yield window.take(_find_element_end(window)), True
        opening = 0
    end = skip(window, _BLANKS, end + 1)
    if end < len(window.view):
        raise BrokenStream("text follows the end of the array", "write one array, or one record per line")
    yield window.take(end), False


def _find_element_end(window: Window) -> int:
    """Return the length of the element that the window begins with, without the blanks after it."""
    common = _COMMON.match(window.view)
    if common is not None:
        return common.end()
    at, depth = 0, 0
    while True:
        at = skip(window, _NESTED if depth else _FLAT, at)
        mark = bytes(window.view[at : at + 1])
        if mark == b'"':
            at = _find_string_end(window, at + 1)
        elif mark in (b"[", b"{"):
            at, depth = at + 1, depth + 1
            if depth > _MOST_DEPTH:
                raise BrokenStream(f"the next element is nested deeper than {_MOST_DEPTH:,} brackets", "remove it")
        elif mark in (b"]", b"}") and depth:
            at, depth = at + 1, depth - 1
        elif mark == b"}":
            at += 1
        elif depth:
            raise _not_closed()
        else:
            return len(window.view[:at].rstrip(b" \t\r\n"))


def _find_string_end(window: Window, at: int) -> int:
    """Return the position after the quote that closes a string which the window held only in part."""
    while True:
        match = _STRING_INSIDE.match(window.view, at)
        at = match.end() if match else at
        if window.view[at : at + 1] == b'"':
            return at + 1
        if not window.fill():
            raise _not_closed()


def _not_closed() -> BrokenStream:
    return BrokenStream("the array is not closed", "fetch or write the file again, whole")
