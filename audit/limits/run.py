"""What limits on a run may name, and the values of its summary.

Whole: counts and shares of the summary; `flagged` and `skipped` are short for the shares, `verdict` is the worst of all
traits. `verdict.TRAIT`, and `TRAIT.COLUMN` with the columns of `verdicts` and `flagged` for its share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from audit.limits.evaluate import NUMBER, VERDICT, Value, make_number, make_verdict
from audit.limits.vocabulary import Collected, Vocabulary
from audit.schema import VERDICTS

_UNJUDGED = {
    "n_samples": "n_samples",
    "n_ok": "n_ok",
    "n_skipped": "n_skipped",
    "n_turns": "n_turns",
    "n_scored_turns": "n_scored_turns",
    "truncated_share": "truncated_share",
    "skipped_share": "",
    "skipped": "",
}
"""Names that rest on no judgement, and what they are called among the counts."""

_JUDGED = {
    "flagged": "flagged_share",
    "flagged_share": "flagged_share",
    "n_flagged": "n_flagged",
    "n_judged": "n_judged",
    "n_near_flagged": "n_near_flagged",
    "n_clusters": "n_clusters",
    "expected_false_flags": "expected_false_flags",
}
_NUMBERS = tuple(
    field.name for field in VERDICTS if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
)
_UNJUDGED_COLUMNS = ("layer", "n")
_SHARES = ("flagged", "flagged_share")


def collect_run_values(summary: Mapping[str, Any]) -> Collected:
    """Return the value of every name that is known of a run, from what `summarise_run` gives."""
    counts, verdicts = summary["counts"], summary["verdicts"]
    undecided = [str(row["trait"]) for row in verdicts if row["verdict"] == "undecided"]
    doubt = "" if verdicts and not undecided else f"{', '.join(undecided) or 'the run'} could not be judged"
    values: dict[tuple[str, ...], Value] = {
        ("verdict",): make_verdict([row["verdict"] for row in verdicts], doubt=doubt)
    }
    for name, count in _JUDGED.items():
        values[(name,)] = _number(name, counts.get(count), doubt)
    for name, count in _UNJUDGED.items():
        n = counts["n_samples"]
        value = counts.get(count) if count else counts["n_skipped"] / n if n else None
        values[(name,)] = _number(name, value, "")
    for row in verdicts:
        values |= _collect_trait(row)
    return Collected([str(row["trait"]) for row in verdicts], values)


def _collect_trait(row: Mapping[str, Any]) -> dict[tuple[str, ...], Value]:
    trait = str(row["trait"])
    doubt = f"{trait} could not be judged" if row["verdict"] == "undecided" else ""
    share = row["n_flagged"] / row["n"] if row["n"] else None
    verdict = make_verdict([row["verdict"]], doubt=doubt)
    values: dict[tuple[str, ...], Value] = {("verdict", trait): verdict, (trait, "verdict"): verdict}
    for name in _SHARES:
        values[trait, name] = _number(f"{trait}.{name}", share, doubt)
    for name in _NUMBERS:
        # Verdicts from before there was evidence have no such columns.
        values[trait, name] = _number(f"{trait}.{name}", row.get(name), "" if name in _UNJUDGED_COLUMNS else doubt)
    return values


def _number(name: str, value: float | None, doubt: str) -> Value:
    if value is not None or doubt:
        return make_number(value, doubt=doubt)
    if "evidence" in name:
        return make_number(None, doubt=f"{name} was not measured", cure="scan with --evidence full")
    return make_number(None, doubt=f"{name} is not known of this run")


RUN = Vocabulary(
    whole={"verdict": VERDICT, **dict.fromkeys((*_JUDGED, *_UNJUDGED), NUMBER)},
    groups={"verdict": VERDICT},
    columns={"verdict": VERDICT, **dict.fromkeys((*_SHARES, *_NUMBERS), NUMBER)},
    collect=collect_run_values,
)
