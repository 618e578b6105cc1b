"""Text from outside made safe for a terminal, and numbers, counts and paths as people read them.

A sample may hold escape sequences, carriage returns or direction marks that would rewrite what the reader sees.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Any

# Control characters but newline and tab, direction marks and overrides, line separators, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def neutralise(text: str) -> str:
    """Return `text` with whatever could act on a terminal written as an escape such as `\\x1b`."""
    return _UNSAFE.sub(_escape, text)


def one_line(text: str, max_chars: int | None = None) -> str:
    """Return `text` neutralised on one line, cut to `max_chars` with an ellipsis."""
    line = neutralise(text.replace("\n", "\\n").replace("\t", "\\t"))
    if max_chars is not None and len(line) > max_chars:
        return line[: max(max_chars - 1, 0)] + "…"
    return line


def cut(text: str, max_chars: int | None) -> str:
    """Return the first `max_chars` characters and say how many were left out."""
    if max_chars is None or len(text) <= max_chars:
        return text
    return f"{text[:max_chars]} … [{len(text) - max_chars:,} more characters; --full shows them]"


def format_number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """Return a number with `digits` decimals, an en dash for none."""
    if value is None:
        return "–"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def format_share(share: float | None) -> str:
    """Return a share as a percentage."""
    return "–" if share is None else f"{share:.1%}"


def format_seconds(seconds: float) -> str:
    """Return a duration in its natural unit."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def count_noun(n: int, noun: str) -> str:
    """Return `1 record`, `2 records`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def list_counts(counts: dict[str, int]) -> str:
    """Return `2 empty_response, 1 bad_json`."""
    return ", ".join(f"{count:,} {one_line(name)}" for name, count in counts.items())


def command_line(*words: Any) -> str:
    """Return words as they can be typed into a shell, control characters included."""
    return " ".join(_quote(str(word)) for word in words)


def split_names(values: Iterable[str]) -> tuple[str, ...]:
    """Split `a,b` and repeated options into names."""
    return tuple(name for value in values for part in value.split(",") if (name := part.strip()))


def _quote(word: str) -> str:
    return shlex.quote(word) if not _UNSAFE.search(word) else "$'" + neutralise(word).replace("'", "\\'") + "'"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
