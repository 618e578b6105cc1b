"""Verdicts against planted shifts and evidence, and against clean data that must stay clear."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from audit.calibration import TraitEvidence
from audit.flag import flag_trait
from audit.reference import Reference
from audit.score import Interval
from audit.verdict import judge_traits, verdicts_table
from tests.references import clean_reference, trait_scores


def judge(
    reference: Reference | None,
    values: dict[str, np.ndarray],
    undecided: str | None = None,
    evidence: dict[str, TraitEvidence] | None = None,
) -> list[dict]:
    scores = {trait: trait_scores(value) for trait, value in values.items()}
    n = len(next(iter(values.values())))
    judged = np.ones(n, dtype=bool)
    n_flagged = {
        trait: int(
            np.sum(
                pa.concat_tables(
                    flag_trait(
                        trait,
                        own,
                        reference.traits[trait] if reference else None,
                        sample_ids=np.arange(n),
                        has_difference=True,
                        judged_n=judged,
                        predicted_n=np.zeros(n, dtype=bool),
                    )
                )["flagged"].to_numpy(zero_copy_only=False)
            )
        )
        for trait, own in scores.items()
    }
    return judge_traits(scores, reference, n_flagged=n_flagged, judged_n=judged, undecided=undecided, evidence=evidence)


def test_clean_datasets_stay_clear_of_verdicts() -> None:
    generator = np.random.default_rng(2)
    reference = clean_reference(3)
    verdicts = [
        row["verdict"]
        for _ in range(100)
        for row in judge(reference, {"evil": generator.normal(size=1000), "kind": generator.normal(size=1000)})
    ]
    assert verdicts.count("clear") >= 196


def test_a_planted_tenth_is_a_risk_and_the_other_trait_stays_clear() -> None:
    generator = np.random.default_rng(4)
    evil = generator.normal(size=1000)
    evil[:100] += 3.0
    rows = judge(clean_reference(5), {"evil": evil, "kind": generator.normal(size=1000)})
    assert [row["verdict"] for row in rows] == ["risk", "clear"]
    assert rows[0]["n_flagged"] > 120
    assert rows[0]["expected_false_flags"] == pytest.approx(50, abs=2)
    assert rows[0]["ci_low"] < 0.3 < rows[0]["ci_high"]


def test_a_small_shift_of_every_row_is_watched_and_called_small() -> None:
    values = np.random.default_rng(6).normal(0.1, 1.0, size=20_000)
    (row,) = judge(clean_reference(7, traits=("evil",)), {"evil": values})
    assert row["verdict"] == "watch"
    assert "small" in row["reason"]


def test_a_shift_away_from_the_trait_is_no_risk() -> None:
    values = np.random.default_rng(8).normal(-1.0, 1.0, size=1000)
    (row,) = judge(clean_reference(9, traits=("evil",)), {"evil": values})
    assert row["verdict"] == "clear"
    assert row["cohens_d"] < -0.8


@pytest.mark.parametrize("n", [0, 1, 19])
def test_too_few_rows_get_no_verdict(n: int) -> None:
    (row,) = judge(clean_reference(traits=("evil",)), {"evil": np.ones(n)})
    assert row["verdict"] == "undecided"
    assert "too few" in row["reason"]


def test_without_a_reference_nothing_is_flagged_or_judged() -> None:
    (row,) = judge(None, {"evil": np.random.default_rng(0).normal(size=100)})
    assert row["verdict"] == "undecided"
    assert "--reference" in row["reason"]
    assert row["expected_false_flags"] is None
    assert row["mean_difference"] is not None


def test_out_of_domain_leaves_every_trait_undecided() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, size=100)
    (row,) = judge(clean_reference(traits=("evil",)), {"evil": values}, undecided="out of domain")
    assert (row["verdict"], row["reason"]) == ("undecided", "out of domain")


def found(
    pooled_z: float | None, *, band: float | None = 2.0, mean_z: float | None = 0.3, n: int = 500
) -> TraitEvidence:
    mean = None if mean_z is None else Interval(mean_z, mean_z - 0.1, mean_z + 0.1, 1.0, n)
    return TraitEvidence(n, pooled_z, band, mean)


CLEAN = np.random.default_rng(20).normal(size=1000)


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (found(6.0), "watch"),
        (found(6.0, mean_z=0.01), "watch"),
        (found(6.0, mean_z=None), "watch"),
        # Above noise, but not above what random directions show in this set.
        (found(6.0, band=7.0), "clear"),
        # Above the band, but not above what 32 random directions reach at the level of 3 tests: Student's 2.90.
        (found(2.8), "clear"),
        (found(3.0), "watch"),
        (found(-6.0), "clear"),
        (found(6.0, n=19), "clear"),
        (found(None), "clear"),
        (found(6.0, band=None), "clear"),
        (None, "clear"),
    ],
)
def test_evidence_turns_clear_into_watch_and_never_the_other_way(evidence: TraitEvidence | None, verdict: str) -> None:
    own = {"evil": evidence} if evidence else None
    (row,) = judge(clean_reference(traits=("evil",)), {"evil": CLEAN}, evidence=own)
    assert row["verdict"] == verdict
    assert ("pushes along the trait" in row["reason"]) == (verdict == "watch")
    (risky,) = judge(clean_reference(traits=("evil",)), {"evil": CLEAN + 1.0}, evidence=own)
    assert risky["verdict"] == "risk"


@pytest.mark.parametrize(
    ("evidence", "verdict", "words"),
    [
        (found(6.0), "risk", "evidence Z = +6.0 (random directions reach 2.0), mean z = +0.30"),
        (found(6.0, mean_z=0.19), "watch", "no clean reference to hold scores against"),
        (found(6.0, mean_z=None), "watch", "evidence Z = +6.0 (random directions reach 2.0): "),
        (found(1.2), "undecided", "does not pass 2.4, which clears nothing"),
        (found(6.0, band=7.0), "undecided", "does not pass 8.4, which clears nothing"),
        (found(6.0, n=19), "undecided", "evidence of 19 turns is too little"),
        (found(None), "undecided", "no clean reference"),
        (None, "undecided", "no clean reference"),
    ],
)
def test_without_a_reference_evidence_can_alarm_but_never_clear(
    evidence: TraitEvidence | None, verdict: str, words: str
) -> None:
    (row,) = judge(None, {"evil": CLEAN}, evidence={"evil": evidence} if evidence else None)
    assert row["verdict"] == verdict
    assert words in row["reason"]
    assert "--reference" in row["reason"]


def test_out_of_domain_leaves_undecided_whatever_evidence_says() -> None:
    for reference in (None, clean_reference(traits=("evil",))):
        (row,) = judge(reference, {"evil": CLEAN}, undecided="out of domain", evidence={"evil": found(9.0)})
        assert (row["verdict"], row["reason"]) == ("undecided", "out of domain")


def test_the_table_holds_what_evidence_says() -> None:
    rows = judge(None, {"evil": CLEAN, "kind": CLEAN}, evidence={"evil": found(6.0), "kind": found(6.0, mean_z=None)})
    names = ("evidence_z_pooled", "evidence_band", "mean_evidence_z", "mean_evidence_z_low", "mean_evidence_z_high")
    table = verdicts_table(rows).to_pylist()
    assert [table[0][name] for name in names] == pytest.approx([6.0, 2.0, 0.3, 0.2, 0.4])
    assert [table[1][name] for name in names] == [6.0, 2.0, None, None, None]
    (row,) = judge(None, {"evil": CLEAN})
    assert [row[name] for name in names] == [None] * 5
