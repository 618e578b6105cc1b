"""`persona-audit summary`: what a run amounts to."""

from __future__ import annotations

from typing import Any

import click

from audit.cli.gate import exit_if_passed
from audit.cli.options import gate_options, json_option, run_argument


@click.command(
    short_help="Print what a run amounts to.",
    epilog="""\b
Examples:
  persona-audit summary demo.audit
  persona-audit summary demo.audit --json
  persona-audit summary demo.audit --fail-on "verdict.evil == 'risk' or flagged_share > 0.02"
""",
)
@run_argument
@gate_options
@json_option
@click.pass_context
def summary(ctx: click.Context, /, run: str, *, fail_on: tuple[str, ...], allow_undecided: bool, as_json: bool) -> None:
    """Print the summary of RUN: what was scored, what was flagged, and a verdict per trait.

    Works on an unfinished run, too, with what it has so far; --fail-on takes a finished one.
    """
    from pathlib import Path

    from audit.limits import check_limits, parse_limits
    from audit.store import RunStore
    from audit.summary import summarise_run

    limits = parse_limits(fail_on)
    # Not through `open_run`: its module loads torch, which takes longer than the summary.
    store = RunStore(Path(run))
    manifest = store.read_finished_manifest() if limits else store.read_manifest()
    values = summarise_run(Path(run), manifest)
    passed = check_limits(limits, values, allow_undecided=allow_undecided)
    if limits:
        values["limits_passed"] = passed
    print_summary(values, as_json=as_json)
    exit_if_passed(ctx, passed)


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
