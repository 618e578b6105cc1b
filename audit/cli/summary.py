"""`persona-audit summary`: what a run amounts to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from audit.cli.gate import exit_if_passed
from audit.cli.options import gate_options, json_option, run_argument

if TYPE_CHECKING:
    from pathlib import Path


def _complete_column(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from pathlib import Path

    from audit.breakdown import list_columns
    from audit.errors import AuditError

    try:
        columns = list_columns(Path(ctx.params["run"]))
    except (AuditError, KeyError, TypeError):
        # There is nothing to complete from, and the command itself says why.
        return []
    return [CompletionItem(name) for name in columns if name.startswith(incomplete)]


@click.command(
    short_help="Print what a run amounts to.",
    epilog="""\b
Examples:
  persona-audit summary demo.audit
  persona-audit summary demo.audit --json
  persona-audit summary demo.audit --by source
  persona-audit summary demo.audit --by language --json
  persona-audit summary demo.audit --fail-on "verdict.evil == 'risk' or flagged_share > 0.02"
""",
)
@run_argument
@click.option(
    "--by",
    "column",
    metavar="COLUMN",
    shell_complete=_complete_column,
    help="Judge every value of COLUMN by itself: source, language, cluster_id, or any column of samples, marks and "
    "sample_scores, those of --keep-columns among them. Numbers of many values are cut into ten bands.",
)
@gate_options
@json_option
@click.pass_context
def summary(
    ctx: click.Context,
    /,
    run: str,
    *,
    column: str | None,
    fail_on: tuple[str, ...],
    allow_undecided: bool,
    as_json: bool,
) -> None:
    """Print the summary of RUN: what was scored, what was flagged, and a verdict per trait.

    Works on an unfinished run, too, with what it has so far; --fail-on takes a finished one. With --by the verdicts of
    each group of records, the 50 largest one by one and all others together; they share one alarm level, so that many
    groups cost power, not truth.
    """
    from pathlib import Path

    if column is not None:
        if fail_on:
            raise click.UsageError("--fail-on speaks of the whole run: leave out --by")
        _print_by(Path(run), column, as_json=as_json)
        return
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


def _print_by(run: Path, column: str, *, as_json: bool) -> None:
    from audit.breakdown import break_down

    values = break_down(run, column)
    if as_json:
        import json

        click.echo(json.dumps(values, indent=1, allow_nan=False))
        return
    from audit.cli.breakdown_view import render_breakdown
    from audit.cli.console import open_console, print_blocks

    console = open_console()
    print_blocks(render_breakdown(values, console), console)


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
