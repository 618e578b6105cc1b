"""Byte order marks, and text seen as one byte per code unit, so that structure is found by the same code in all.

JSON's structure is ASCII. In UTF-8 it can be found in the bytes; in UTF-16 in a view with one byte per unit, in
which every unit that is not ASCII is a letter. Positions in that view times `unit_bytes` are positions in the text.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

import numpy as np

BYTE_ORDER_MARKS = {
    "utf-8-sig": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-8": b"",
}


def find_encoding(head: bytes) -> str:
    """Return the encoding that the first bytes of a text show: UTF-8 unless a byte order mark says otherwise."""
    return next(encoding for encoding, mark in BYTE_ORDER_MARKS.items() if head.startswith(mark))


def unit_bytes(encoding: str) -> int:
    """Return the bytes of one code unit."""
    return 2 if encoding.startswith("utf-16") else 1


def view_units(data: bytes, encoding: str) -> bytes:
    """Return the text with one byte per code unit: itself in UTF-8; else its ASCII, and `x` for any other unit."""
    if unit_bytes(encoding) == 1:
        return data
    kind = "<u2" if encoding == "utf-16-le" else ">u2"
    units = np.frombuffer(data[: len(data) & ~1], dtype=kind)
    view = np.where(units < 128, units, ord("x")).astype(np.uint8).tobytes()
    return view if len(data) % 2 == 0 else view + b"x"


def align_chunks(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the chunks after the byte order mark, cut between code units; only the last may hold half a unit."""
    mark_bytes = len(BYTE_ORDER_MARKS[encoding])
    unit = unit_bytes(encoding)
    held = b""
    for chunk in chunks:
        held += chunk
        if mark_bytes:
            if len(held) < mark_bytes:
                continue
            held, mark_bytes = held[mark_bytes:], 0
        whole = len(held) - len(held) % unit
        if whole:
            yield held[:whole]
        held = held[whole:]
    if held:
        yield held
