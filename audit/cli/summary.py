"""`persona-audit summary`: what a run amounts to."""

from __future__ import annotations

from typing import Any

import click

from audit.cli.options import json_option, run_argument


@click.command(
    short_help="Print what a run amounts to.",
    epilog="""\b
Examples:
  persona-audit summary demo.audit
  persona-audit summary demo.audit --json
""",
)
@run_argument
@json_option
def summary(run: str, *, as_json: bool) -> None:
    """Print the summary of RUN: what was scored, what was flagged, and a verdict per trait.

    Works on an unfinished run, too, with what it has so far.
    """
    from pathlib import Path

    from audit.store import RunStore
    from audit.summary import summarise_run

    # Not through `open_run`: its module loads torch, which takes longer than the summary.
    manifest = RunStore(Path(run)).read_manifest()
    print_summary(summarise_run(Path(run), manifest), as_json=as_json)


def print_summary(values: dict[str, Any], *, as_json: bool) -> None:
    """Print a summary as JSON, or for people."""
    if as_json:
        import json

        click.echo(json.dumps(values, indent=1, allow_nan=False))
        return
    from audit.cli.console import open_console, print_blocks
    from audit.cli.summary_view import render_summary

    console = open_console()
    print_blocks(render_summary(values, console), console)
