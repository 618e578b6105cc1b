"""A judge's second opinion as people read it: what it confirms, what flags miss, what it cost."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.cli.text import command_line, count_noun, format_number, one_line
from audit.opinions import Agreement, Opinions
from audit.retrieval import Share


def render_opinions(found: Opinions) -> Iterator[RenderableType]:
    """Yield the blocks from top to bottom."""
    yield Text(f"judge: {one_line(found.judge)}, which finds a trait from {found.threshold:g} of 100 on")
    if found.weakness:
        yield Text(f"  {one_line(found.weakness)}", style="yellow")
    yield Text()
    if not found.n_records:
        yield Text("  nothing to judge: no record is flagged, and the random part is empty")
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("trait", overflow="fold")
    for name in ("flagged, confirmed", "random, present", "of these flagged", "recall of flags", "kappa"):
        table.add_column(name, justify="right", overflow="fold")
    for row in found.traits:
        table.add_row(
            Text(one_line(row.trait), style="bold"),
            _share(row.confirmed),
            _share(row.present),
            f"{row.caught.hits:,.0f} of {row.caught.n:,}",
            _recall(row),
            format_number(row.kappa, 2),
        )
    yield Padding(table, (0, 0, 0, 2))
    notes = [f"{one_line(row.trait)}: {one_line(row.reason)}" for row in found.traits if row.reason]
    notes += [
        f"{one_line(row.trait)}: {count_noun(row.n_void, 'record')} without a number of the judge's"
        for row in found.traits
        if row.n_void
    ]
    notes += [one_line(notice) for notice in found.notices]
    if notes:
        yield Text()
        yield from (Text.assemble(("  ! ", "yellow"), note) for note in notes)
    yield Text()
    tokens = f", {found.n_tokens:,} tokens" if found.n_tokens is not None else ""
    yield Text(f"asked {count_noun(found.n_calls, 'time')}{tokens}; {found.n_reused:,} numbers were there already")
    yield Text.assemble(("next ", "dim"), command_line("persona-audit", "query", found.run, "--name", "judged"))
    export = command_line("persona-audit", "export", found.run, "--output", "clean.jsonl", "--drop", "both")
    yield Text(f"     {export}")


def _share(share: Share) -> str:
    if share.value is None:
        return "–"
    return f"{share.hits:,.0f} of {share.n:,}: {share.value:.0%} ({share.low:.0%}–{share.high:.0%})"


def _recall(row: Agreement) -> str:
    if row.recall is None:
        return "–"
    return f"{row.recall.value:.0%} ({row.recall.low:.0%}–{row.recall.high:.0%})"
