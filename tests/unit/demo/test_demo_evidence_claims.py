"""What was promised is held against what was measured, and a miss is printed as one."""

from __future__ import annotations

from typing import Any

from audit.demo.evidence_claims import list_claims
from audit.demo.evidence_tables import write_report

SIDE = {"pooled_z": 20.0, "band": 8.0, "largest_random": 7.0, "mean_z": 1.0, "finding": "above the band"}
CALM = {"n_above": 1, "largest_z": 2.0, "smallest_z": -3.0, "mean_pooled_z": -1, "smallest_band": 2, "largest_band": 3}


def make_parts(blind: float, n_above: int) -> dict[str, Any]:
    aucs = {"evidence z": 0.9, "projection difference": blind, "loss": 0.5}
    intervals = {name: {"value": auc, "low": auc - 0.1, "high": auc + 0.1} for name, auc in aucs.items()}
    remedies = {"along": "evil", "read_along": "evil", "auc": intervals, "bad": SIDE, "good": SIDE | {"mean_z": None}}
    clean = {"seeds": list(range(20)), "n_rows": 300, "traits": {"evil": CALM | {"n_above": n_above}}}
    return {"pairs": {"sets": {"wrong remedies": remedies}}, "clean": clean}


def test_a_promise_is_met_or_not() -> None:
    met = {own["what"]: own["met"] for own in list_claims(make_parts(blind=0.6, n_above=1))}
    assert len(met) == 4
    assert all(met.values())
    missed = {own["what"]: own["met"] for own in list_claims(make_parts(blind=0.8, n_above=2))}
    assert [what for what, is_met in missed.items() if not is_met] == [
        "wrong remedies: AUC of projection difference",
        "clean sets not above the band: evil",
    ]


def test_the_report_says_no_where_a_promise_is_missed_and_holds_a_table_for_every_part() -> None:
    parts = make_parts(blind=0.8, n_above=1)
    report = write_report(list_claims(parts), parts, {"pairs": {"clock": 10.0, "processor": 5.0}})
    assert "| wrong remedies: AUC of projection difference | 0.8 | <= 0.65 | **no** |" in report
    assert "| wrong remedies | bad | +20.0 | 8.0 | 7.0 | +1.00 | above the band |" in report
    assert "| evil | 1 of 20 |" in report
    assert "pairs 10 s (5 s)" in report
