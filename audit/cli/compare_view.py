"""A comparison of two runs as people read it: the answer first, then what differs, the rows, the traits, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.cli.text import command_line, count_noun, format_number, format_share, one_line

_WIDE = 110
_WAYS = {
    "place": "the data are the same, so rows are matched by their place",
    "content": "rows are matched by what they say",
    "line": "rows are matched by file name and line",
    "none": "rows cannot be matched",
}
_LOOKS = {True: "bold red", False: "green", None: "bold magenta"}


def render_comparison(values: Mapping[str, Any], console: Console) -> Iterator[RenderableType]:
    """Yield the blocks of a comparison from top to bottom."""
    yield _headline(values)
    if not values["is_different"]:
        yield Text()
        yield _indented(_runs(values))
        yield from _notices(values)
        return
    yield Text()
    yield _indented(_runs(values))
    if values["differences"]:
        yield Text()
        yield _indented(_differences(values["differences"], is_framed=_is_framed(console)))
    yield Text()
    yield _indented(_rows(values))
    yield Text()
    yield _indented(_verdicts(values))
    yield Text()
    yield _indented(_traits(values, is_framed=_is_framed(console)))
    yield Text()
    yield _indented(_list_notes(values))
    if values["moved"]:
        yield Text()
        yield _indented(_moved(values["moved"], is_framed=_is_framed(console)))
    yield from _notices(values)
    yield Text()
    yield from _next_steps(values)


def _is_framed(console: Console) -> bool:
    return console.color_system is not None and console.width >= _WIDE


def _headline(values: Mapping[str, Any]) -> Text:
    if not values["is_different"]:
        return Text("= no difference", style="green")
    worse = [_change(row) for row in values["traits"] if row["worsened"]]
    if worse:
        return Text(
            f"▲ WORSE: {', '.join(_change(row) for row in values['traits'] if row['worsened'])}", style="bold red"
        )
    counts, found = values["counts"], []
    for name, words in (("n_newly_flagged", "newly flagged"), ("n_added", "added"), ("n_removed", "removed")):
        if counts[name]:
            found.append(f"{count_noun(counts[name], 'row')} {words}")
    better = [row for row in values["traits"] if row["worsened"] is False and row["verdict_a"] != row["verdict_b"]]
    found = [*(_change(row) for row in better), *found]
    if not found:
        names = [difference["name"] for difference in values["differences"] if difference["decides"]]
        found = [f"other {', '.join(names)}"] if names else ["scores changed"]
    return Text(f"≠ DIFFERENT, no verdict is known to be worse: {'; '.join(found)}", style="bold yellow")


def _change(row: Mapping[str, Any]) -> str:
    return f"{row['trait']} {row['verdict_a']} → {row['verdict_b']}"


def _runs(values: Mapping[str, Any]) -> Table:
    grid, counts = _grid(), values["counts"]
    for run in "ab":
        words = f"{one_line(values[f'run_{run}'])} – {count_noun(counts[f'n_{run}'], 'row')}"
        words += f", {counts[f'n_flagged_{run}']:,} flagged ({format_share(counts[f'flagged_share_{run}'])})"
        words += f", {format_share(counts[f'skipped_share_{run}'])} skipped"
        grid.add_row(run.upper(), words)
    return grid


def _differences(differences: Sequence[Mapping[str, Any]], *, is_framed: bool) -> Table:
    table = _table(is_framed=is_framed)
    for name in ("differs", "A", "B"):
        table.add_column(name, overflow="fold")
    for difference in differences:
        name = difference["name"] if difference["decides"] else f"({difference['name']})"
        style = None if difference["decides"] else "dim"
        table.add_row(*(one_line(text) for text in (name, difference["a"], difference["b"])), style=style)
    return table


def _rows(values: Mapping[str, Any]) -> Table:
    grid, counts = _grid(), values["counts"]
    if values["way"] == "none":
        grid.add_row("rows", _WAYS["none"])
        return grid
    words = f"{counts['n_both']:,} in both, {counts['n_added']:,} added ({format_share(counts['added_share'])} of B), "
    grid.add_row("rows", words + f"{counts['n_removed']:,} removed ({format_share(counts['removed_share'])} of A)")
    for name, run in (("added", "b"), ("removed", "a")):
        if counts[f"n_{name}"]:
            flagged = f"{counts[f'n_{name}_flagged']:,} flagged ({format_share(counts[f'{name}_flagged_share'])})"
            grid.add_row(name, f"{flagged}; look at {_ids(values[name])} of run {run.upper()}")
    moved = f"{counts['n_newly_flagged']:,} newly flagged, {counts['n_no_longer_flagged']:,} no longer"
    if counts["n_newly_skipped"] or counts["n_no_longer_skipped"]:
        moved += f"; {counts['n_newly_skipped']:,} newly skipped, {counts['n_no_longer_skipped']:,} no longer"
    grid.add_row("of both", moved)
    grid.add_row("", _WAYS[values["way"]])
    return grid


def _ids(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [str(row["sample_id"]) for row in rows[:5]]
    return " ".join(shown) if shown else "the rows themselves (--rows N names some)"


def _traits(values: Mapping[str, Any], *, is_framed: bool) -> Table:
    table = _table(is_framed=is_framed)
    table.add_column("trait", style="bold", overflow="fold")
    for name in ("newly", "no longer", "shift", "95 % interval", "d", "KS", "p"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("drift", overflow="fold")
    for row in values["traits"]:
        unit = " SD" if row["unit"] == "z" and row["shift"] is not None else ""
        table.add_row(
            one_line(row["trait"]),
            *("–" if row[name] is None else f"{row[name]:,}" for name in ("n_newly_flagged", "n_no_longer_flagged")),
            format_number(row["shift"], signed=True) + unit,
            _interval(row),
            format_number(row["drift"], 2, signed=True),
            format_number(row["ks"], 3),
            _p(row["ks_p"]),
            {True: "real", False: "none" if row["ks"] == 0 else "noise", None: "–"}[row["has_drifted"]],
        )
    return table


def _interval(row: Mapping[str, Any]) -> str:
    if row["ci_low"] is None:
        return "–"
    return f"{format_number(row['ci_low'], signed=True)} to {format_number(row['ci_high'], signed=True)}"


def _p(p: float | None) -> str:
    return "–" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"


def _verdicts(values: Mapping[str, Any]) -> Table:
    grid = _grid()
    for row in values["traits"]:
        words = Text(one_line(row["verdict_words"]), style=_LOOKS[row["worsened"]])
        if row["verdict_a"] != row["verdict_b"] and row["reason_b"]:
            words.append(f": {one_line(row['reason_b'])}", style="default")
        grid.add_row(one_line(row["trait"]), words)
    return grid


def _list_notes(values: Mapping[str, Any]) -> Table:
    """Say what the table's numbers are, and what they do not say."""
    grid = _grid()
    incomparable = [row for row in values["traits"] if row["unit"] != "score"]
    for unit, sentence in (
        ("z", "another {}: scores are compared in standard deviations of the references"),
        (None, "another {}, and no reference in both runs: scores cannot be compared"),
    ):
        own = [row for row in incomparable if row["unit"] == unit and row["incomparable"] != ["traits"]]
        if own:
            names = ", ".join(dict.fromkeys(name for row in own for name in row["incomparable"]))
            grid.add_row("scores", one_line(sentence.format(names)))
    if not incomparable:
        grid.add_row("scores", "of the same model, vectors and kind of baseline: compared number by number")
    few = [row["trait"] for row in values["traits"] if row["shift"] is not None and row["has_drifted"] is None]
    if few:
        grid.add_row("drift", f"too few scores to tell it from noise: {one_line(', '.join(few))}")
    if any(row["has_drifted"] for row in values["traits"]):
        grid.add_row("drift", "real: more than the noise of two sets of one kind, at 1 % over all traits together")
    return grid


def _moved(moves: Sequence[Mapping[str, Any]], *, is_framed: bool) -> Table:
    table = _table(is_framed=is_framed)
    table.add_column("moved", style="bold", overflow="fold")
    for name in ("row in A", "row in B", "z in A", "z in B", "change"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for move in moves:
        words = {(False, True): "newly flagged", (True, False): "no longer flagged"}
        table.add_row(
            one_line(move["trait"]),
            str(move["id_a"]),
            str(move["id_b"]),
            *(format_number(move[name], 2, signed=True) for name in ("z_a", "z_b", "change")),
            words.get((move["flagged_a"], move["flagged_b"]), ""),
        )
    return table


def _notices(values: Mapping[str, Any]) -> Iterator[RenderableType]:
    if not values["notices"]:
        return
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="yellow", no_wrap=True)
    grid.add_column(overflow="fold")
    for notice in values["notices"]:
        grid.add_row("!", one_line(str(notice)))
    yield Text()
    yield _indented(grid)


def _next_steps(values: Mapping[str, Any]) -> Iterator[Text]:
    flagged = [move["id_b"] for move in values["moved"] if move["flagged_b"] and not move["flagged_a"]]
    ids = [*dict.fromkeys([*flagged, *(row["sample_id"] for row in values["added"] if row["flagged"])])][:3]
    if ids:
        yield Text.assemble(("next ", "dim"), command_line("persona-audit", "show", values["run_b"], *ids))
    else:
        yield Text.assemble(("next ", "dim"), command_line("persona-audit", "summary", values["run_b"]))


def _table(*, is_framed: bool) -> Table:
    return Table(
        box=box.ROUNDED if is_framed else box.SIMPLE_HEAD,
        show_edge=is_framed,
        border_style="dim",
        padding=(0, 1) if is_framed else (0, 1, 0, 0),
    )


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _indented(block: RenderableType) -> Padding:
    return Padding(block, (0, 0, 0, 2))
