"""`persona-audit show`: samples with their baseline and scores."""

from __future__ import annotations

import click

from audit.cli.options import json_option, run_argument
from audit.errors import ConfigError


@click.command(
    short_help="Print samples with baseline and scores.",
    epilog="""\b
Examples:
  persona-audit show demo.audit 17 42
  persona-audit show demo.audit --top evil -n 3
  persona-audit show demo.audit 17 --full --json
""",
)
@run_argument
@click.argument("sample_ids", metavar="[SAMPLE_ID]...", nargs=-1, type=int)
@click.option("--top", metavar="TRAIT", help="The samples with the highest scores of TRAIT.")
@click.option("-n", "n_top", type=click.IntRange(min=1), default=5, show_default=True, help="With --top: how many.")
@click.option("--full", is_flag=True, help="Show long texts whole.")
@json_option
def show(run: str, *, sample_ids: tuple[int, ...], top: str | None, n_top: int, full: bool, as_json: bool) -> None:
    """Print prompt, response, baseline and scores of samples of RUN.

    Texts are read from the dataset itself, which must lie where it was scanned.
    """
    if bool(sample_ids) == (top is not None):
        finding = "sample ids and --top exclude each other" if sample_ids else "no sample given"
        raise ConfigError("show", finding, f"persona-audit show {run} SAMPLE_ID, or --top TRAIT")
    from audit.cli.samples_read import choose_top, collect_samples

    ids = list(sample_ids) if top is None else choose_top(run, top, n_top)
    shown = collect_samples(run, ids)
    if as_json:
        import json

        click.echo(json.dumps(shown, indent=1, allow_nan=False))
        return
    if not shown:
        click.echo(f"no sample of this run has a score of {top}")
        return
    from audit.cli.console import open_console, print_blocks
    from audit.cli.samples_view import MAX_TEXT_CHARS, render_sample

    max_chars = None if full else MAX_TEXT_CHARS
    print_blocks((block for sample in shown for block in render_sample(sample, max_chars=max_chars)), open_console())
