"""`--fail-on`: limits on a run's summary, for a gate in CI. Pure: a summary goes in, the passed limits come out.

The grammar, spaces allowed anywhere:

    limit    = verdict | trait "=" verdict | quantity op number
    verdict  = "watch" | "risk"                      any trait (or this one) has at least that verdict
    quantity = "flagged" | "n_flagged" | "skipped" | "n_skipped" | trait "." column
    column   = "flagged" | "n_flagged" | "mean_difference" | "ci_low" | "ci_high" | "cohens_d"
               | "evidence_z_pooled" | "mean_evidence_z"
    op       = ">" | ">=" | "<" | "<="
    number   = a decimal number, or a percentage such as 5%

`flagged` is a share of the scored records, `skipped` a share of all records. Of several limits any one suffices.
An `undecided` verdict passes every limit that rests on a judgement (all but `skipped` and `n_skipped`): what could
not be judged is not known to be clean. So does evidence that was not measured.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.errors import ConfigError

SEVERITY = {"clear": 0, "undecided": 0, "watch": 1, "risk": 2}

_OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_RUN_QUANTITIES = ("flagged", "n_flagged", "skipped", "n_skipped")
_UNJUDGED = ("skipped", "n_skipped")
_EVIDENCE = ("evidence_z_pooled", "mean_evidence_z")
_TRAIT_COLUMNS = ("flagged", "n_flagged", "mean_difference", "ci_low", "ci_high", "cohens_d", *_EVIDENCE)
_NAME = r"[a-z][a-z0-9_]*"
_VERDICT = re.compile(rf"(?:({_NAME})\s*=\s*)?(watch|risk)")
_COMPARISON = re.compile(
    rf"(?:({_NAME})\s*\.\s*)?({_NAME})\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(%?)"
)
_CURE = "examples: risk, evil=watch, 'flagged>5%', 'n_flagged>100', 'evil.mean_difference>0.4', 'skipped>1%'"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: a verdict to reach, or a quantity to compare; `trait` None speaks of the whole run."""

    text: str
    trait: str | None
    verdict: str | None = None
    quantity: str = ""
    comparison: str = ""
    bound: float = 0.0

    @property
    def is_judged(self) -> bool:
        """Whether the limit rests on what the verdicts rest on."""
        return self.quantity not in _UNJUDGED


def parse_limits(texts: Iterable[str], traits: Sequence[str] | None = None) -> tuple[Limit, ...]:
    """Read `--fail-on` expressions; with `traits`, a limit on another trait is refused.

    Raises:
        ConfigError: an expression is not understood, or names an unknown trait.
    """
    limits = tuple(_parse_limit(text) for text in texts)
    if traits is not None:
        for limit in limits:
            _check_trait(limit, traits)
    return limits


def check_limits(limits: Sequence[Limit], summary: Mapping[str, Any], *, allow_undecided: bool = False) -> list[str]:
    """Return a sentence for every limit that the run passes; none means that the gate stays open.

    Raises:
        ConfigError: a limit names a trait that the run does not have.
    """
    verdicts = {str(row["trait"]): row for row in summary["verdicts"]}
    passed = []
    for limit in limits:
        _check_trait(limit, list(verdicts))
        rows = [verdicts[limit.trait]] if limit.trait else list(verdicts.values())
        finding = _measure(limit, rows, summary)
        if finding is None and limit.is_judged and not allow_undecided:
            finding = _undecided(rows) or _unmeasured(limit, rows)
        if finding is not None:
            passed.append(f"{limit.text}: {finding}")
    return passed


def _parse_limit(text: str) -> Limit:
    stripped = text.strip()
    if match := _VERDICT.fullmatch(stripped):
        return Limit(stripped, match[1], verdict=match[2])
    if match := _COMPARISON.fullmatch(stripped):
        trait, quantity, comparison, number, percent = match.groups()
        known = _TRAIT_COLUMNS if trait else _RUN_QUANTITIES
        if quantity not in known:
            raise ConfigError(f"--fail-on {text!r}", f"{quantity!r} is not known", f"choose one of {', '.join(known)}")
        bound = float(number) / 100 if percent else float(number)
        return Limit(stripped, trait, quantity=quantity, comparison=comparison, bound=bound)
    raise ConfigError(f"--fail-on {text!r}", "is no limit", _CURE)


def _check_trait(limit: Limit, traits: Sequence[str]) -> None:
    if limit.trait is not None and limit.trait not in traits:
        known = ", ".join(traits) or "no traits"
        raise ConfigError(f"--fail-on {limit.text!r}", f"there is no trait {limit.trait!r}", f"the run has {known}")


def _measure(limit: Limit, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> str | None:
    if limit.verdict is not None:
        reached = [row for row in rows if SEVERITY[row["verdict"]] >= SEVERITY[limit.verdict]]
        return "; ".join(f"{row['trait']} is {row['verdict']}" for row in reached) or None
    value = _trait_value(rows[0], limit.quantity) if limit.trait else _run_value(summary["counts"], limit.quantity)
    if value is None or not _OPERATORS[limit.comparison](value, limit.bound):
        return None
    return f"it is {value:.6g}"


def _undecided(rows: Sequence[Mapping[str, Any]]) -> str | None:
    undecided = [str(row["trait"]) for row in rows if row["verdict"] == "undecided"]
    if not undecided and rows:
        return None
    what = ", ".join(undecided) or "the run"
    return f"{what} could not be judged, which counts as passed (--allow-undecided lets it through)"


def _unmeasured(limit: Limit, rows: Sequence[Mapping[str, Any]]) -> str | None:
    if limit.quantity not in _EVIDENCE or rows[0].get(limit.quantity) is not None:
        return None
    return "it was not measured, which counts as passed (scan with --evidence full, or --allow-undecided)"


def _trait_value(row: Mapping[str, Any], quantity: str) -> float | None:
    if quantity == "flagged":
        return row["n_flagged"] / row["n"] if row["n"] else None
    # Verdicts from before there was evidence have no such columns.
    value = row.get(quantity)
    return None if value is None else float(value)


def _run_value(counts: Mapping[str, Any], quantity: str) -> float | None:
    if quantity == "skipped":
        return counts["n_skipped"] / counts["n_samples"] if counts["n_samples"] else None
    name = "flagged_share" if quantity == "flagged" else quantity
    value = counts[name]
    return None if value is None else float(value)
