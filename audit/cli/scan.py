"""`persona-audit scan`: the main job."""

from __future__ import annotations

from typing import Any

import click

from audit.cli.gate import exit_if_passed
from audit.cli.options import (
    gate_options,
    json_option,
    limit_options,
    model_options,
    reading_options,
    scoring_options,
)
from audit.cli.text import split_names


@click.command(
    short_help="Score datasets and write a run directory.",
    epilog="""\b
Examples:
  persona-audit scan examples/demo.jsonl
  persona-audit scan train.jsonl --model Qwen/Qwen2.5-7B-Instruct --vectors vectors/
  persona-audit scan qa.csv --prompt-key ask --response-key reply
  persona-audit scan train.jsonl --baseline-samples 4 --reference clean.audit
  persona-audit scan org/dataset --split train --limit 1000
  persona-audit scan train.jsonl --baseline prompt --fail-on risk --json > audit.json
  persona-audit scan train.jsonl --fail-on "verdict.evil >= 'watch' and evil.cohens_d > 0.3 or skipped > 1%"
""",
)
@click.argument("datasets", metavar="DATASET...", nargs=-1, required=True, type=click.Path())
@click.option("--out", metavar="DIR", help="Run directory. Default: ./<dataset>.audit")
@click.option("--fresh", is_flag=True, help="Discard what an earlier scan left in the run directory.")
@reading_options
@model_options
@scoring_options
@limit_options
@gate_options
@json_option
@click.option(
    "--dry-run", is_flag=True, help="Only say what the scan would do and take: rows, tokens, time, disk, memory."
)
@click.option("--quiet", is_flag=True, help="No progress and no notices.")
@click.pass_context
def scan(
    ctx: click.Context,
    /,
    *,
    fail_on: tuple[str, ...],
    allow_undecided: bool,
    as_json: bool,
    dry_run: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Score DATASETs and write a run directory; then print its summary.

    A DATASET is a file, a quoted pattern such as 'data/*.jsonl', a save_to_disk directory, a hub id, or - for standard
    input; `persona-audit formats` shows the records and files that are read. A killed scan continues where it stopped
    when the same command is given again; a finished one is only summarised.
    """
    from audit.config import ScanConfig
    from audit.limits import check_limits, parse_limits

    limits = parse_limits(fail_on)
    for name in ("traits", "keep_columns"):
        settings[name] = split_names(settings[name])
    config = ScanConfig(**settings)

    from audit.cli.progress import listening
    from audit.cli.summary import print_summary
    from audit.directions import choose_vectors
    from audit.run import scan as run_scan

    if limits:
        parse_limits(fail_on, list(choose_vectors(config)))
    if dry_run:
        from audit.cli.estimate_view import print_estimate
        from audit.estimate import estimate_scan

        with listening(is_quiet=quiet) as listener:
            estimate = estimate_scan(config, listener=listener)
        print_estimate(estimate, as_json=as_json)
        return
    with listening(is_quiet=quiet) as listener:
        run = run_scan(config, listener=listener)
    summary = {**run.summary(), "n_scored": run.n_scored, "n_reused": run.n_reused}
    passed = check_limits(limits, summary, allow_undecided=allow_undecided)
    if limits:
        summary["limits_passed"] = passed
    print_summary(summary, as_json=as_json)
    exit_if_passed(ctx, passed)
