"""`persona-audit check`: what a trainer would do to the rows, before anything is trained."""

from __future__ import annotations

from typing import Any

import click

from audit.cli.options import json_option, reading_key_options
from audit.errors import EXIT_FOUND

_ROLES = ("messages", "prompt", "response", "chosen", "rejected", "system", "text")


@click.command(
    short_help="Count the rows that a trainer would drop, crash on, or train on by surprise.",
    epilog="""\b
Examples:
  persona-audit check train.jsonl
  persona-audit check train.jsonl --trainer llamafactory --fail-on drops
  persona-audit check 'data/*.jsonl' --fail-on crashes --fail-on 'surprise>5%'
  persona-audit check train.jsonl --json > preflight.json

\b
--fail-on is [TRAINER.]EFFECT[>N], [TRAINER.]EFFECT[>=N] or, as a share of the rows, [TRAINER.]EFFECT[>N%].
EFFECT is crashes, drops or surprise; alone, it means one row or more. Without TRAINER, any trainer checked counts.
Rows of a shape that a trainer's rules are not about are named as not judged, and meet no limit of that trainer.
Defaults of a trainer that touch every row are listed, but never counted.
""",
)
@click.argument("datasets", metavar="DATASET...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--trainer",
    metavar="NAME",
    help="trl, axolotl or llamafactory. Default: all three.",
)
@reading_key_options
@click.option("--limit", type=int, metavar="N", help="Check only the first N rows.")
@click.option(
    "--fail-on",
    multiple=True,
    metavar="EXPR",
    help="Exit 1 when met: crashes, 'drops>0', 'surprise>5%', 'trl.crashes'. Can be repeated; any one suffices.",
)
@json_option
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def check(
    ctx: click.Context,
    /,
    *,
    datasets: tuple[str, ...],
    trainer: str | None,
    format: str | None,
    split: str | None,
    limit: int | None,
    fail_on: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **fields: Any,
) -> None:
    """Tell what trainers would do to the rows of DATASETs: drop, crash, or train on something unexpected.

    Reads the files once, without a model. The rules come from the code of TRL, Axolotl and LLaMA-Factory, in the
    versions that are printed, with the settings that are printed. A row that trains with a warning, or is cut to the
    model's context, is not counted: that takes a model.
    """
    from audit.cli.progress import listening
    from audit.preflight import check_datasets, check_limits, find_met_limits

    check_limits(fail_on, trainer=trainer)
    keys = {role: fields[f"{role}_key"] for role in _ROLES if fields[f"{role}_key"]}
    with listening(is_quiet=quiet) as listener:
        preflight = check_datasets(
            datasets, trainer=trainer, format=format, keys=keys, split=split, limit=limit, listener=listener
        )
    met = find_met_limits(preflight, fail_on)
    if as_json:
        import json
        from dataclasses import asdict

        values = {**asdict(preflight), **({"limits_passed": met} if fail_on else {})}
        click.echo(json.dumps(values, indent=1, allow_nan=False))
    else:
        from audit.cli.check_view import render_preflight
        from audit.cli.console import open_console, print_blocks

        console = open_console()
        print_blocks(render_preflight(preflight), console)
    for limit_met in met:
        click.echo(f"--fail-on {limit_met}: met", err=True)
    if met:
        ctx.exit(EXIT_FOUND)
