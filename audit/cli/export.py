"""`persona-audit export`: the filtered dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from audit.cli.options import json_option, run_argument
from audit.cli.text import count_noun, list_counts, one_line, split_names

if TYPE_CHECKING:
    from audit.export import ExportReceipt


@click.command(
    short_help="Write the dataset without the flagged records.",
    epilog="""\b
Examples:
  persona-audit export demo.audit --output clean.jsonl
  persona-audit export demo.audit --output clean.jsonl --rejected flagged.jsonl
  persona-audit export demo.audit --output clean.jsonl --drop both
  persona-audit export demo.audit --output calm.jsonl --where "evil < 0.3 AND sycophantic < 0.5"
  persona-audit export demo.audit --output scored.jsonl --where true --keep-skipped --annotate
  persona-audit export demo.audit --output clean.parquet --format parquet,chat
""",
)
@run_argument
@click.option(
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(),
    help="A directory for several inputs. Ending in .gz or .zst, text is compressed.",
)
@click.option(
    "--drop",
    type=click.Choice(["flagged", "judged", "both", "either"]),
    help="What to leave out: flagged records (default), those that `persona-audit judge` found a trait in, those that "
    "both agree on, or those of either.",
)
@click.option("--where", metavar="SQL", help="Keep the scored records for which this holds, over sample_scores.")
@click.option("--rejected", metavar="FILE", type=click.Path(), help="Write the other records here.")
@click.option("--keep-skipped", is_flag=True, help="Keep the records that could not be scored.")
@click.option("--annotate", is_flag=True, help="Add the field persona_audit, with status and scores, to every record.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="NAME",
    # Written out, as the lists in audit.export.formats come with pyarrow, which help does not load.
    help="Convert to a container (jsonl, json, parquet, csv, tsv, arrow), to a record shape (chat, prompt_completion, "
    "preference, sharegpt, alpaca), or to one of each. Default: as the input.",
)
@click.option("--force", is_flag=True, help="Replace existing files (never an input).")
@json_option
@click.option("--quiet", is_flag=True, help="No progress.")
def export(
    run: str,
    *,
    output: str,
    drop: str | None,
    where: str | None,
    rejected: str | None,
    keep_skipped: bool,
    annotate: bool,
    formats: tuple[str, ...],
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Copy the inputs of RUN without the flagged records, byte for byte.

    Flagged records and those that could not be scored go to --rejected. Text is written uncompressed unless the name
    asks for it. Beside the output, FILE.manifest.json says what was kept, what was not, and why; FILE.card.md is a
    dataset card with ready snippets for TRL, Axolotl and LLaMA-Factory.
    """
    from audit.cli.progress import listening
    from audit.export import export_run

    with listening(is_quiet=quiet) as listener:
        receipt = export_run(
            run,
            output=output,
            where=where,
            drop=drop,
            rejected=rejected,
            keep_skipped=keep_skipped,
            annotate=annotate,
            formats=split_names(formats),
            overwrite=force,
            listener=listener,
        )
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps({**asdict(receipt), "n_rejected": receipt.n_rejected}, indent=1))
        return
    for line in describe_receipt(receipt, is_where=where is not None):
        click.echo(line)


def describe_receipt(receipt: ExportReceipt, *, is_where: bool) -> list[str]:
    """Return what an export did, line by line; that nothing could be judged comes first."""
    lines = [f"UNDECIDED: {one_line(receipt.undecided)}"] if receipt.undecided else []
    n_unscored = sum(receipt.n_unscored.values())
    aside = f", to {_names(receipt.rejected)}" if receipt.rejected else ", left out"
    # Said once, where there is something to write.
    hint = "" if receipt.rejected else " (--rejected FILE writes them)"
    lines.append(
        f"kept        {receipt.n_kept:,} of {count_noun(receipt.n_records, 'record')}, in {_names(receipt.outputs)}"
    )
    label, why = _say_filter(receipt, is_where=is_where)
    lines.append(f"{label:<10}  {receipt.n_failed:,} ({why}){aside + hint if receipt.n_failed else ''}")
    codes = f" ({list_counts(receipt.n_unscored)})" if receipt.n_unscored else ""
    where_to = "" if not n_unscored else ", kept" if receipt.keeps_unscored else aside
    if n_unscored and not receipt.n_failed and not receipt.keeps_unscored:
        where_to += hint
    lines.append(f"not scored  {n_unscored:,}{codes}{where_to}")
    if receipt.dropped_columns:
        names = ", ".join(one_line(name) for name in receipt.dropped_columns)
        lines.append(f"no place    for the fields {names}: nothing of them is in the converted records")
    if receipt.n_left_out:
        lines.append(f"left out    {receipt.n_left_out:,} of the rejected: they cannot be converted")
    if receipt.n_unannotated:
        lines.append(f"unmarked    {receipt.n_unannotated:,} that cannot be read, without persona_audit")
    lines += [f"note        {one_line(notice)}" for notice in receipt.notices]
    lines.append(f"manifest    {one_line(receipt.manifest)}")
    lines.append(f"card        {one_line(receipt.card)}")
    return lines


def _say_filter(receipt: ExportReceipt, *, is_where: bool) -> tuple[str, str]:
    """Return what the records that are left out are called, and why they are."""
    if is_where:
        return "filtered", "fail --where"
    flagged = list_counts(receipt.flagged_by_trait) or "no trait"
    judged = list_counts(receipt.judged_by_trait) or "no trait"
    words = {
        "judged": ("judged", judged),
        "both": ("both", f"flagged: {flagged}; judged: {judged}"),
        "either": ("either", f"flagged: {flagged}; judged: {judged}"),
    }
    return words.get(str(receipt.drop), ("flagged", flagged))


def _names(paths: tuple[str, ...]) -> str:
    return ", ".join(one_line(path) for path in paths)
