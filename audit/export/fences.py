"""Text from outside put into Markdown, YAML, Python and shell so that it stays a name there, whatever it holds.

A file name may hold backticks, quotes, line breaks or direction marks.
"""

from __future__ import annotations

import re
import shlex


def escape(text: str) -> str:
    r"""Return the text with each character that is not printable as `\xNN`, `\uNNNN` or `\UNNNNNNNN`."""
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote(text: str) -> str:
    """Return the text in double quotes, as both YAML and Python read it."""
    return '"' + escape(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def shell_word(text: str) -> str:
    """Return the text as one word of a shell command."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + escape(text.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def code(text: str) -> str:
    """Return the text as inline code on one line."""
    shown = escape(text) or " "
    ticks = "`" * (_longest_run(shown) + 1)
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{space}{shown}{space}{ticks}"


def prose(text: str) -> str:
    """Return the text on one line, with what Markdown and HTML would act on taken away from them."""
    return re.sub(r"([\\`*_\[\]<>&#|~])", r"\\\1", " ".join(escape(text.replace("\n", " ")).split()))


def fence(language: str, text: str) -> str:
    """Return the text as a fenced block that nothing in it can close."""
    ticks = "`" * max(3, _longest_run(text) + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
