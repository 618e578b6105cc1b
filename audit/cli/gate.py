"""What a command does with limits that were passed: a line for each on standard error, and the exit code."""

from __future__ import annotations

from collections.abc import Sequence

import click

from audit.cli.text import one_line
from audit.errors import EXIT_FOUND


def exit_if_passed(ctx: click.Context, passed: Sequence[str]) -> None:
    """Say which limits were passed, and end with 1 if any was."""
    for sentence in passed:
        click.echo(f"--fail-on {one_line(sentence)}", err=True)
    if passed:
        ctx.exit(EXIT_FOUND)
