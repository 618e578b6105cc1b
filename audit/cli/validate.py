"""`persona-audit validate`: scores and flags against labels."""

from __future__ import annotations

import click

from audit.cli.options import json_option, run_argument
from audit.cli.text import split_names
from audit.errors import ConfigError


@click.command(
    short_help="Hold scores and flags against labels.",
    epilog="""\b
Examples:
  persona-audit validate demo.audit --labels examples/demo.labels.jsonl
  persona-audit validate demo.audit --labels examples/demo.labels.jsonl --trait evil --k 20,100
  persona-audit validate demo.audit --labels examples/demo.labels.jsonl --by kind
  persona-audit validate demo.audit --labels looked-at.csv --json > validation.json
""",
)
@run_argument
@click.option(
    "--labels",
    required=True,
    metavar="FILE",
    type=click.Path(),
    help="JSON lines, CSV or Parquet with sample_id and traits (a list of names), or one 0/1 column per trait.",
)
@click.option("--trait", "traits", multiple=True, metavar="T", help="Look at this trait only. Can be repeated.")
@click.option(
    "--k", "ks", default="50,100,500", show_default=True, metavar="N,N", help="Records that precision is measured at."
)
@click.option("--by", metavar="COLUMN", help="A further column of the labels: its values among flags and data.")
@json_option
@click.option("--quiet", is_flag=True, help="No progress.")
def validate(
    run: str, *, labels: str, traits: tuple[str, ...], ks: str, by: str | None, as_json: bool, quiet: bool
) -> None:
    """Say what the scores and flags of RUN are worth on records that somebody labelled.

    Per trait: the area under the ROC curve of every stored score with its 95 % interval, average precision, precision
    among the k highest, precision and recall of the flags; beside them what costs nothing: length, loss, random
    directions, and a bag of words that is trained on one half of the labels and tried on the other.
    """
    from audit.cli.progress import listening
    from audit.validation import validate_run

    with listening(is_quiet=quiet) as listener:
        found = validate_run(run, labels, traits=split_names(traits), k=_read_numbers(ks), by=by, listener=listener)
    if as_json:
        import json

        click.echo(json.dumps(found.to_json(), indent=1, allow_nan=False))
        return
    from audit.cli.console import open_console, print_blocks
    from audit.cli.validate_view import render_validation

    console = open_console()
    print_blocks(render_validation(found), console)


def _read_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise ConfigError("--k", f"{text!r} is no list of whole numbers", "for example: --k 50,100,500") from None
