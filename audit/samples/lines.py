r"""A text cut into lines at `\n`, and at nothing else.

Knows code units, not JSON. A carriage return stays with its line.
"""

from __future__ import annotations

from collections.abc import Iterator

from audit.samples.encoding import unit_bytes
from audit.samples.streams import BrokenStream

RECORD_BYTES = 1 << 28
"""The longest record that is read. A longer one is damage, or a compressed bomb."""


def split_lines(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the lines of a text with their endings; the last may have none.

    Raises:
        BrokenStream: a line is longer than RECORD_BYTES.
    """
    held: list[bytes] = []
    n_held_bytes = 0
    for chunk in chunks:
        for line, is_whole in _cut_chunk(chunk, encoding):
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


def _cut_chunk(chunk: bytes, encoding: str) -> Iterator[tuple[bytes, bool]]:
    if unit_bytes(encoding) == 1:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield line + b"\n", True
    else:
        start = 0
        for end in _find_line_ends(chunk, encoding):
            yield chunk[start:end], True
            start = end
        rest = chunk[start:]
    if rest:
        yield rest, False


def _find_line_ends(chunk: bytes, encoding: str) -> Iterator[int]:
    newline = "\n".encode(encoding)
    at = chunk.find(newline)
    while at >= 0:
        # The same two bytes may lie across two units.
        if at % 2 == 0:
            yield at + 2
        at = chunk.find(newline, at + 1)
