"""How the verdict on a trait changed, in words, and whether it got worse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.limits import SEVERITY


def compare_verdicts(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, Any]:
    """Compare the verdict rows of a trait in two runs; None where a run has no such trait.

    `worsened` is null where an undecided verdict hides it: a verdict cannot get worse than `risk`, nor by `clear`.
    """
    one, other = (None if row is None else str(row["verdict"]) for row in (a, b))
    return {
        "verdict_a": one,
        "verdict_b": other,
        "worsened": has_worsened(one, other),
        "verdict_words": _say(one, other),
        "reason_a": a and a["reason"],
        "reason_b": b and b["reason"],
    }


def has_worsened(a: str | None, b: str | None) -> bool | None:
    """Tell whether verdict `b` is worse than `a`; None where one is not decided and the other leaves it open."""
    if a in SEVERITY and b in SEVERITY:
        return SEVERITY[b] > SEVERITY[a]
    return False if a == "risk" or b == "clear" else None


def _say(a: str | None, b: str | None) -> str:
    if a is None or b is None:
        return f"{b}, new in run B" if a is None else f"{a} in run A, not in run B"
    if a == b:
        return f"{a} in both"
    worsened = has_worsened(a, b)
    if "undecided" in (a, b):
        return f"{a} → {b}, " + ("which is now known" if a == "undecided" else "which is no longer known")
    return f"{a} → {b}, {'worse' if worsened else 'better'}"
