"""What limits on a comparison may name, and its values.

Whole: counts and shares of rows, `is_different`, `worsened` and `has_drifted` (of any trait), and `verdict_a` and
`verdict_b`, the worst of each run. `verdict_a.TRAIT`, `verdict_b.TRAIT`, `drift.TRAIT` (the shift of the mean in
standard deviations), and `TRAIT.COLUMN` with what is known of one trait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.limits.evaluate import NUMBER, TRUTH, VERDICT, Value, make_number, make_truth, make_verdict
from audit.limits.vocabulary import Collected, Vocabulary

_ROWS = ("n_a", "n_b", "n_both", "n_added", "n_removed", "added_share", "removed_share")
_SKIPPED = ("skipped_share_a", "skipped_share_b", "n_newly_skipped", "n_no_longer_skipped")
_FLAGGED = (
    "n_flagged_a",
    "n_flagged_b",
    "flagged_share_a",
    "flagged_share_b",
    "n_newly_flagged",
    "n_no_longer_flagged",
    "newly_flagged_share",
    "n_added_flagged",
    "n_removed_flagged",
    "added_flagged_share",
    "removed_flagged_share",
)
_MOVED = ("n_newly_flagged", "n_no_longer_flagged")
_DRIFT = ("mean_a", "mean_b", "shift", "ci_low", "ci_high", "drift", "ks", "ks_p", "n_rescored", "largest_change")


def collect_comparison_values(comparison: Mapping[str, Any]) -> Collected:
    """Return the value of every name that is known of a comparison, from what `compare_runs` gives."""
    counts, traits = comparison["counts"], comparison["traits"]
    values: dict[tuple[str, ...], Value] = {("is_different",): make_truth(comparison["is_different"])}
    doubt = "; ".join(filter(None, (_say_undecided(traits, run) for run in "ab")))
    for name in (*_ROWS, *_SKIPPED):
        values[(name,)] = _number(name, counts[name], "")
    for name in _FLAGGED:
        values[(name,)] = _number(name, counts[name], doubt)
    for run in "ab":
        own = _say_undecided(traits, run)
        values[(f"verdict_{run}",)] = make_verdict([row[f"verdict_{run}"] for row in traits], doubt=own)
    worse = ", ".join(f"{row['trait']} {row['verdict_a']} → {row['verdict_b']}" for row in traits if row["worsened"])
    drifted = ", ".join(str(row["trait"]) for row in traits if row["has_drifted"])
    values[("worsened",)] = _truth("worsened", comparison["worsened"], doubt, shown=worse)
    values[("has_drifted",)] = _truth("has_drifted", comparison["has_drifted"], "", shown=drifted)
    for row in traits:
        values |= _collect_trait(row)
    return Collected([str(row["trait"]) for row in traits], values)


def _collect_trait(row: Mapping[str, Any]) -> dict[tuple[str, ...], Value]:
    trait = str(row["trait"])
    values: dict[tuple[str, ...], Value] = {}
    for run in "ab":
        verdict = make_verdict([row[f"verdict_{run}"]], doubt=_say_undecided([row], run))
        values[f"verdict_{run}", trait] = values[trait, f"verdict_{run}"] = verdict
    doubt = "; ".join(filter(None, (_say_undecided([row], run) for run in "ab")))
    for name in _MOVED:
        values[trait, name] = _number(f"{trait}.{name}", row[name], doubt)
    for name in _DRIFT:
        values[trait, name] = _number(f"{trait}.{name}", row[name], "")
    values["drift", trait] = _number(f"drift.{trait}", row["drift"], "")
    values[trait, "worsened"] = _truth(f"{trait}.worsened", row["worsened"], doubt)
    values[trait, "has_drifted"] = _truth(f"{trait}.has_drifted", row["has_drifted"], "")
    return values


def _say_undecided(traits: Any, run: str) -> str:
    """Return which traits of a run have no verdict; a trait that only the other run has is one of these."""
    column = f"verdict_{run}"
    undecided = [str(row["trait"]) for row in traits if row[column] in (None, "undecided")]
    return f"{', '.join(undecided)} could not be judged in run {run.upper()}" if undecided else ""


def _number(name: str, value: float | None, doubt: str) -> Value:
    return make_number(value, doubt=doubt or ("" if value is not None else f"{name} is not known of these runs"))


def _truth(name: str, value: bool | None, doubt: str, *, shown: str = "") -> Value:
    doubt = "" if value is not None else doubt or f"{name} is not known of these runs"
    return make_truth(value, shown=shown, doubt=doubt)


COMPARISON = Vocabulary(
    whole={
        **dict.fromkeys(("is_different", "worsened", "has_drifted"), TRUTH),
        **dict.fromkeys((*_ROWS, *_SKIPPED, *_FLAGGED), NUMBER),
        **dict.fromkeys(("verdict_a", "verdict_b"), VERDICT),
    },
    groups={"verdict_a": VERDICT, "verdict_b": VERDICT, "drift": NUMBER},
    columns={
        **dict.fromkeys(("verdict_a", "verdict_b"), VERDICT),
        **dict.fromkeys(("worsened", "has_drifted"), TRUTH),
        **dict.fromkeys((*_MOVED, *_DRIFT), NUMBER),
    },
    verdict="verdict_b",
    collect=collect_comparison_values,
)
