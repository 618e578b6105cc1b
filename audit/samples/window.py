"""The part of a text that is not yielded yet, filled chunk by chunk as a splitter asks for more.

Knows code units and the longest record. Does not know what is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from audit.samples.encoding import unit_bytes, view_units
from audit.samples.lines import RECORD_BYTES, too_long


class Window:
    """Bytes that are held, and their view with one byte per code unit."""

    def __init__(self, chunks: Iterator[bytes], encoding: str, what: str) -> None:
        """Read `chunks`, which are cut between code units; `what` names a record in the error for one without end."""
        self._chunks = chunks
        self._encoding = encoding
        self._what = what
        self._unit = unit_bytes(encoding)
        self._bytes = bytearray()
        self.view = self._bytes if self._unit == 1 else bytearray()

    @property
    def is_full(self) -> bool:
        """Whether as much is held as a record may have."""
        return len(self._bytes) > RECORD_BYTES

    def fill(self) -> bool:
        """Append the next chunk; False at the end of the text.

        Raises:
            BrokenStream: as much is held as a record may have.
        """
        if self.is_full:
            raise too_long(self._what, RECORD_BYTES)
        chunk = next(self._chunks, b"")
        self._bytes += chunk
        if self._unit > 1:
            self.view += view_units(chunk, self._encoding)
        return bool(chunk)

    def take(self, n_units: int) -> bytes:
        """Cut off and return the first units."""
        taken = bytes(self._bytes[: n_units * self._unit])
        del self._bytes[: n_units * self._unit]
        if self._unit > 1:
            del self.view[:n_units]
        return taken


def skip(window: Window, pattern: re.Pattern[bytes], at: int) -> int:
    """Return where the pattern, which matches anywhere, stops matching, filling the window as needed."""
    while True:
        if at <= len(window.view):
            match = pattern.match(window.view, at)
            at = match.end() if match else at
            if at < len(window.view):
                return at
        if not window.fill():
            return min(at, len(window.view))
