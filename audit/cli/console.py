"""Where output goes: a terminal with colours, or plain text of a fixed width for files, pipes and NO_COLOR."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.text import Text

PLAIN_WIDTH = 100
MAX_WIDTH = 120


def is_terminal(stream: object) -> bool:
    """Tell whether `stream` is a terminal that understands cursor movement."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and os.environ.get("TERM") != "dumb"


def open_console(*, is_stderr: bool = False) -> Console:
    """Return a console in which text stays text: no markup, no emoji codes, no highlighting."""
    stream = sys.stderr if is_stderr else sys.stdout
    terminal = is_terminal(stream)
    is_plain = not terminal or bool(os.environ.get("NO_COLOR"))
    console = Console(
        file=stream,
        force_terminal=terminal,
        color_system=None if is_plain else "auto",
        no_color=is_plain,
        markup=False,
        emoji=False,
        highlight=False,
        width=None if terminal else PLAIN_WIDTH,
        legacy_windows=False,
    )
    if terminal and console.width > MAX_WIDTH:
        console.width = MAX_WIDTH
    return console


def print_blocks(blocks: Iterable[RenderableType], console: Console) -> None:
    """Print blocks one below the other; in plain text without the spaces that fill lines up to the width."""
    if console.color_system is not None:
        for block in blocks:
            _print_block(console, block)
        return
    with console.capture() as captured:
        for block in blocks:
            _print_block(console, block)
    for line in captured.get().splitlines():
        console.file.write(line.rstrip() + "\n")


def _print_block(console: Console, block: RenderableType) -> None:
    # Single lines of text are commands and paths to copy: they are never wrapped.
    console.print(block, soft_wrap=isinstance(block, Text))
