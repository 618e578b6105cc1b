"""Surface marks of a response text: refusal, list share, code share.

They are no traits; they are stored because length, list format and refusals are known to drive scores
(../sql/length_effect.sql shows by how much in a run). Text in, numbers out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from audit.refusal import is_refusal

_LIST_ITEM = re.compile(r"\s*([-*•‣]|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)])\s+\S")
_FENCE = re.compile(r"^[ \t]*(```|~~~).*?(^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


def leave_out_code(text: str, n_chars: int) -> str:
    """Return the first `n_chars` characters of a text that stand in no code fence."""
    pieces, start, n_read = [], 0, 0
    for match in _FENCE.finditer(text):
        pieces.append(text[start : min(match.start(), start + n_chars - n_read)])
        start, n_read = match.end(), n_read + len(pieces[-1])
        if n_read >= n_chars:
            break
    return "\n".join([*pieces, text[start : start + n_chars - n_read]])


@dataclass(frozen=True, slots=True)
class Surface:
    """Marks of one response: `list_share` of its non-blank lines, `code_share` of its characters, each 0 to 1."""

    is_refusal: bool
    list_share: float
    code_share: float


def describe_surface(text: str) -> Surface:
    """Return the surface marks of a response."""
    lines = [line for line in text.splitlines() if line.strip()]
    n_items = sum(1 for line in lines if _LIST_ITEM.match(line))
    n_code = sum(len(match.group()) for match in _FENCE.finditer(text))
    return Surface(
        is_refusal=is_refusal(text),
        list_share=n_items / len(lines) if lines else 0.0,
        code_share=n_code / len(text) if text else 0.0,
    )
