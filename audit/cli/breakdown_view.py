"""The verdicts of a run by the values of a column, as people read them: the worst groups first, then all in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.cli.summary_view import VERDICT_LOOKS
from audit.cli.text import command_line, count_noun, format_number, format_share, one_line

_ORDER = ("risk", "watch", "undecided", "clear")
_VALUE_CHARS = 40
_MEAN_WIDTH = 104
"""From this width on the mean difference has a column; below it Cohen's d alone, which says more."""

_EVIDENCE_WIDTH = 76


def render_breakdown(values: Mapping[str, Any], console: Console) -> Iterator[RenderableType]:
    """Yield the blocks from top to bottom."""
    yield _headline(values)
    yield Text()
    if values["groups"]:
        yield Padding(_table(values, console.width), (0, 0, 0, 2))
        yield Text()
        reasons = _reasons(values)
        if reasons.row_count:
            yield Padding(reasons, (0, 0, 0, 2))
            yield Text()
    for line in _notes(values):
        yield Padding(Text(line), (0, 0, 0, 2))
    yield Text()
    yield Text.assemble(("run  ", "dim"), one_line(str(values["run"])))
    query = command_line("persona-audit", "summary", values["run"], "--by", values["column"], "--json")
    yield Text.assemble(("all  ", "dim"), query)


def name_group(group: Mapping[str, Any], n_lumped: int) -> str:
    """Return what a group is called in the table."""
    if group["is_rest"]:
        return f"(the other {n_lumped:,})"
    return "(none)" if group["value"] is None else one_line(str(group["value"]), _VALUE_CHARS) or '""'


def _headline(values: Mapping[str, Any]) -> Text:
    column = one_line(str(values["column"]), _VALUE_CHARS)
    n = {verdict: sum(group["verdict"] == verdict for group in values["groups"]) for verdict in _ORDER}
    worst = next((verdict for verdict in _ORDER if n[verdict]), "undecided")
    mark, style = VERDICT_LOOKS[worst]
    counts = ", ".join(f"{n[verdict]:,} {verdict}" for verdict in _ORDER if n[verdict]) or "no records"
    return Text.assemble((f"{mark} BY {column}: {counts}", style))


def _sorted(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    # Bands stay in their order, as they are a scale.
    if values["is_banded"]:
        return list(values["groups"])
    return sorted(values["groups"], key=lambda group: (_ORDER.index(group["verdict"]), group["is_rest"]))


def _table(values: Mapping[str, Any], width: int) -> Table:
    has_mean = width >= _MEAN_WIDTH
    rows = [row for group in values["groups"] for row in group["verdicts"]]
    has_evidence = width >= _EVIDENCE_WIDTH and any(row["evidence_z_pooled"] is not None for row in rows)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, border_style="dim", padding=(0, 1, 0, 0))
    table.add_column(one_line(str(values["column"]), _VALUE_CHARS), style="bold", overflow="fold")
    for name in ("n", "flagged"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("trait", overflow="fold")
    numbers = [*(["mean Δ"] if has_mean else []), "d (95 %)", *(["Z (band)"] if has_evidence else [])]
    for name in numbers:
        table.add_column(name, justify="right", overflow="fold", no_wrap=width >= _EVIDENCE_WIDTH)
    table.add_column("verdict", overflow="fold")
    for group in _sorted(values):
        for place, row in enumerate(group["verdicts"]):
            mark, style = VERDICT_LOOKS[row["verdict"]]
            cells = [format_number(row["mean_difference"], signed=True)] if has_mean else []
            cells.append(_d_of(row))
            cells += [_evidence_of(row)] if has_evidence else []
            table.add_row(
                name_group(group, values["n_lumped"]) if place == 0 else "",
                f"{row['n']:,}" if place == 0 else "",
                f"{row['n_flagged']:,} ({format_share(row['flagged_share'])})",
                one_line(row["trait"]),
                *cells,
                Text(f"{mark} {row['verdict']}", style=style),
                end_section=place == len(group["verdicts"]) - 1,
            )
    return table


def _d_of(row: Mapping[str, Any]) -> str:
    if row["cohens_d"] is None:
        return "–"
    low, high = (format_number(row[name], 2, signed=True) for name in ("cohens_d_low", "cohens_d_high"))
    return f"{format_number(row['cohens_d'], 2, signed=True)} ({low} to {high})"


def _evidence_of(row: Mapping[str, Any]) -> str:
    if row["evidence_z_pooled"] is None:
        return "–"
    return f"{format_number(row['evidence_z_pooled'], 1, signed=True)} ({format_number(row['evidence_band'], 1)})"


def _reasons(values: Mapping[str, Any]) -> Table:
    """Return why groups are at risk or watched, and once for all groups that share it why they are undecided."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", overflow="fold")
    grid.add_column(overflow="fold")
    undecided: dict[str, dict[str, None]] = {}
    for group in _sorted(values):
        name = name_group(group, values["n_lumped"])
        for row in group["verdicts"]:
            if row["verdict"] in ("risk", "watch"):
                grid.add_row(f"{name}, {one_line(row['trait'])}", one_line(str(row["reason"])))
            elif row["verdict"] == "undecided":
                # What follows are numbers of its own, which --json has.
                undecided.setdefault(str(row["reason"]).split("; ")[0], {})[name] = None
    for reason, names in undecided.items():
        who = next(iter(names)) if len(names) == 1 else count_noun(len(names), "group")
        grid.add_row(who, one_line(reason))
    return grid


def _notes(values: Mapping[str, Any]) -> Iterator[str]:
    n, n_judged = values["n_groups"], len(values["groups"])
    words = f"{count_noun(n, 'value')} of {one_line(str(values['column']), _VALUE_CHARS)}"
    if values["is_banded"]:
        words = f"{count_noun(n, 'band')} of about as many records each"
    if values["n_lumped"]:
        words += f"; the {n_judged - 1} largest one by one, the other {values['n_lumped']:,} together"
    level = f"{values['alarm_level']:.0%}"
    yield f"{words}. All groups and traits share one alarm level of {level} (Bonferroni)."
    for notice in values["notices"]:
        yield f"! {one_line(str(notice))}"
