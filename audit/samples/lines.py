r"""A text cut into lines at `\n`, and at nothing else.

Knows code units, not JSON. A carriage return stays with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from audit.samples.encoding import unit_bytes, view_units
from audit.samples.streams import BrokenStream

RECORD_BYTES = 1 << 28
"""The longest record that is read. A longer one is damage, or a compressed bomb."""

# A text of line feeds alone would otherwise take minutes.
_LINES = re.compile(rb"(?:[ \t\r]*+\n){2,}+|[^\n]*+\n|[^\n]++")


def split_lines(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the lines of a text with their endings, and blank lines, several as one; the last may have none.

    Raises:
        BrokenStream: a line is longer than RECORD_BYTES.
    """
    held: list[bytes] = []
    n_held_bytes = 0
    for chunk in chunks:
        for line, is_whole in _cut_chunk(chunk, encoding, is_inside=bool(held)):
            held.append(line)
            n_held_bytes += len(line)
            if is_whole:
                yield held[0] if len(held) == 1 else b"".join(held)
                held, n_held_bytes = [], 0
            elif n_held_bytes > RECORD_BYTES:
                raise too_long("line", RECORD_BYTES)
    if held:
        yield b"".join(held)


def too_long(what: str, most: int = RECORD_BYTES) -> BrokenStream:
    """Return the error for a record that never ends."""
    return BrokenStream(f"the next {what} is longer than {most:,} bytes", "remove it, or split it into records")


def _cut_chunk(chunk: bytes, encoding: str, *, is_inside: bool) -> Iterator[tuple[bytes, bool]]:
    """Yield the lines of a chunk, which may begin inside one, and whether each is whole."""
    view = view_units(chunk, encoding)
    unit = unit_bytes(encoding)
    start = 0
    if is_inside:
        start = view.find(b"\n") + 1
        if not start:
            yield chunk, False
            return
        yield chunk[: start * unit], True
    for match in _LINES.finditer(view, start):
        yield chunk[match.start() * unit : match.end() * unit], match[0].endswith(b"\n")
