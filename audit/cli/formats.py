"""`persona-audit formats`: the record families and containers that are read."""

from __future__ import annotations

from typing import Any

import click

from audit.cli.options import json_option

CONTAINERS = (
    ("JSON lines", ".jsonl, .ndjson", "also .gz and .zst"),
    ("JSON", ".json", "an array of records, or one object as one record; also .gz and .zst"),
    ("CSV, TSV", ".csv, .tsv", "delimiter found in the header; cells hold no message lists; also .gz and .zst"),
    ("Parquet", ".parquet", "streamed by batches"),
    ("Arrow", ".arrow", "file and stream format; directories of datasets' save_to_disk, with --split"),
    ("hub dataset", "org/name", "through datasets, with --split; org/name:config for a configuration"),
    ("standard input", "-", "saved in the run directory"),
)


@click.command(
    short_help="Show which datasets can be read.",
    epilog="""\b
Examples:
  persona-audit formats
  persona-audit formats --json
  persona-audit scan data.jsonl --format qa --prompt-key ask --response-key reply
""",
)
@json_option
def formats(*, as_json: bool) -> None:
    """Show the record families and containers that scan and check read.

    The family is detected over the first rows. --format names one; options such as --messages-key name the fields of
    records that use other words. Several files and quoted patterns such as 'data/*.jsonl' are read in order.
    """
    families = describe_families()
    if as_json:
        import json

        containers = [dict(zip(("name", "suffixes", "notes"), entry, strict=True)) for entry in CONTAINERS]
        click.echo(json.dumps({"families": families, "containers": containers}, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_table("family", [_describe_family(family) for family in families]))
    console.print()
    console.print(_table("container", [_describe_container(*entry) for entry in CONTAINERS]))


def describe_families() -> list[dict[str, Any]]:
    """Return name, needs, further keys, field options and an example of every family, in order of preference."""
    from audit.samples import load_families

    return [
        {
            "name": family.name,
            "needs": family.wants,
            "also": family.also,
            "field_options": [f"--{role}-key" for role in family.keys],
            "is_detected": family.is_detected,
            "example": dict(family.example),
        }
        for family in load_families().values()
    ]


def _describe_family(family: dict[str, Any]) -> tuple[str, str, str]:
    return family["name"], f"{family['needs']}; {family['also']}", " ".join(family["field_options"])


def _describe_container(name: str, suffixes: str, notes: str) -> tuple[str, str, str]:
    return name, f"{suffixes}; {notes}", ""


def _table(title: str, rows: list[tuple[str, str, str]]) -> Any:
    """Return a table of two columns: a name, and what is read under it with a dim line of options."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column(title, style="bold", no_wrap=True)
    table.add_column("what is read", overflow="fold")
    for name, says, options in rows:
        table.add_row(name, Text(says))
        if options:
            table.add_row("", Text(options, style="dim"))
    return table
