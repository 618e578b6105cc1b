"""The experiment's figures in words: a table for what was promised, and one for every part.

Knows the figures by their names in `evidence.json`, and nothing of how they were measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Figures = Mapping[str, Any]


def write_report(claims: Sequence[Figures], parts: Mapping[str, Figures], seconds: Mapping[str, Figures]) -> str:
    """Return the whole report in Markdown."""
    lines = ["# Evidence, measured on the demo model", "", "`make evidence` writes this page.", "", "## Promised"]
    lines += format_table(
        ("what", "value", "bar", "met"),
        ((own["what"], f"{own['value']:.4g}", own["bar"], "yes" if own["met"] else "**no**") for own in claims),
    )
    for name, write in _WRITERS.items():
        if name in parts:
            lines += ["", *write(parts[name])]
    times = (f"{name} {own['clock']:.0f} s ({own['processor']:.0f} s)" for name, own in seconds.items())
    return "\n".join([*lines, "", f"Time by part (of the processor), two at once: {', '.join(times)}.", ""])


def format_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def _write_null(null: Figures) -> list[str]:
    own = null["own"]
    random = own["random"]
    extremes = (
        f"{random['n_directions']} random directions: |mean| up to {random['largest_abs_mean']:.2f}, SD "
        f"{random['smallest_sd']:.2f} to {random['largest_sd']:.2f}, P(z > 2.33) up to {random['largest_tail']:.3f}."
    )
    heads = ("spans", "n", "direction", "mean z", "SD", "P(z > 2.33)", "pooled Z")
    rows = [("own samples", *_null_cells(own["n"], name, row)) for name, row in _named(own)]
    for error, table in null["planted"].items():
        label = "own samples, the first" if error == "none" else error
        rows += [(label, *_null_cells(table["n"], name, row)) for name, row in _named(table)]
    return ["## The null: the model's own samples", *format_table(heads, rows), "", extremes]


def _named(table: Figures) -> list[tuple[str, Figures]]:
    traits = [(name, row) for name, row in table["directions"].items() if not name.startswith("random_")]
    return [*traits, ("surprise (no direction)", table["surprise"])]


def _null_cells(n: int, name: str, row: Figures) -> tuple[str, ...]:
    numbers = (f"{row['mean_z']:+.2f}", f"{row['sd_z']:.2f}", f"{row['tail']:.3f}", f"{row['pooled_z']:+.1f}")
    return (str(n), name, *numbers)


def _write_separation(found: Figures) -> list[str]:
    lines = [f"## {found['n_rows']:,} fresh rows"]
    for title, part in (("AUC against all other rows", "all"), ("AUC against fiction only", "fiction")):
        names = list(found["traits"]["evil"][part]["auc"])
        rows = [
            (trait, *(_cell(table[part]["auc"][name]) for name in names)) for trait, table in found["traits"].items()
        ]
        lines += ["", title, "", *format_table(("trait", *names), rows)]
        rivals = list(found["traits"]["evil"][part]["gain"])
        gains = [
            (trait, *(_cell(table[part]["gain"][rival], sign="+") for rival in rivals))
            for trait, table in found["traits"].items()
        ]
        lines += ["", "combined minus rival", "", *format_table(("trait", *rivals), gains)]
    heads = ("trait", "pooled Z", "band", "mean z", "the run's own Z", "the run's own band", "r(combined, risk)")
    pooled = [
        (
            trait,
            f"{table['pooled_z']:+.2f}",
            f"{table['band']:.2f}",
            f"{table['mean_z']:+.3f}",
            _number(table["verdict"]["evidence_z_pooled"]),
            _number(table["verdict"]["evidence_band"]),
            _number(table["correlation_with_risk"], 4),
        )
        for trait, table in found["traits"].items()
    ]
    return [*lines, "", "The whole set", "", *format_table(heads, pooled)]


def _write_pairs(found: Figures) -> list[str]:
    names = list(next(iter(found["sets"].values()))["auc"])
    aucs = [(name, own["read_along"], *(_cell(own["auc"][s]) for s in names)) for name, own in found["sets"].items()]
    pooled = [
        (name, side, *_pooled_cells(own[side])) for name, own in found["sets"].items() for side in ("bad", "good")
    ]
    return [
        "## Bad by what is said alone: AUC of bad against good rows",
        *format_table(("set", "along", *names), aucs),
        "",
        *format_table(("set", "side", *_POOLED_HEADS), pooled),
    ]


def _write_clean(found: Figures) -> list[str]:
    rows = [
        (
            trait,
            f"{own['n_above']} of {len(found['seeds'])}",
            f"{own['mean_pooled_z']:+.2f}",
            f"{own['smallest_z']:+.2f} to {own['largest_z']:+.2f}",
            f"{own['smallest_band']:.2f} to {own['largest_band']:.2f}",
        )
        for trait, own in found["traits"].items()
    ]
    heads = ("trait", "sets above the band", "mean pooled Z", "pooled Z", "band")
    return [f"## Clean sets of {found['n_rows']} rows", *format_table(heads, rows)]


def _write_planting(found: Figures) -> list[str]:
    lines = [f"## Chosen by Logit-Linear Selection: {found['n_chosen']} of {found['n_candidates']:,} ordinary rows"]
    names = list(next(iter(found["traits"].values()))["auc"])
    aucs = [(trait, *(_cell(own["auc"][name]) for name in names)) for trait, own in found["traits"].items()]
    sides = [
        (trait, side, *_pooled_cells(own[side]))
        for trait, own in found["traits"].items()
        for side in ("chosen", "random")
    ]
    rates = [
        (
            trait,
            *(", ".join(f"{share:.3f}" for share in shares) for shares in own["rates"].values()),
            *(_cell(own[name], sign="+") for name in ("shift_same_kinds", "shift")),
        )
        for trait, own in found["traits"].items()
    ]
    mixes = {trait: own["kinds"] for trait, own in found["traits"].items()} | {"random": found["kinds_random"]}
    tuned = ("the chosen", "rows of the same kinds", "a random tenth")
    heads = ("trait", "untrained", *(f"trained on {name}" for name in tuned), "chosen - same kinds", "chosen - random")
    return [
        *lines,
        "AUC of the chosen against a random tenth",
        "",
        *format_table(("trait", *names), aucs),
        "",
        *format_table(("trait", "side", *_POOLED_HEADS), sides),
        "",
        f"Trait rate over {found['n_questions']} fresh questions, by training seed",
        "",
        *format_table(heads, rates),
        "",
        "Gain chooses kinds of question, too, so that a random tenth is no control of theirs: "
        + "; ".join(f"{name}: {_list_kinds(kinds)}" for name, kinds in mixes.items())
        + ".",
    ]


def _list_kinds(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {n}" for kind, n in kinds.items())


_POOLED_HEADS: Final = ("pooled Z", "band", "largest random Z", "mean z", "stands")


def _pooled_cells(own: Figures) -> tuple[str, ...]:
    band, largest = f"{own['band']:.1f}", f"{own['largest_random']:.1f}"
    return (f"{own['pooled_z']:+.1f}", band, largest, _number(own["mean_z"]), own["finding"])


def _cell(estimate: Figures, sign: str = "") -> str:
    return f"{estimate['value']:{sign}.3f} ({estimate['low']:{sign}.3f} to {estimate['high']:{sign}.3f})"


def _number(value: float | None, n_digits: int = 2) -> str:
    return "-" if value is None else f"{value:+.{n_digits}f}"


_WRITERS: Final = {
    "null": _write_null,
    "separation": _write_separation,
    "pairs": _write_pairs,
    "clean": _write_clean,
    "planting": _write_planting,
}
