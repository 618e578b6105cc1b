"""Verdicts against planted shifts and evidence, and against clean data that must stay clear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from audit.calibration import TraitEvidence
from audit.reference import WITHIN, Reference
from audit.score import Interval
from audit.tails import clean_p
from audit.verdict import judge_traits, verdicts_table
from tests.references import clean_reference, trait_reference, trait_scores


def judge(
    reference: Reference | None,
    values: dict[str, np.ndarray],
    undecided: str | None = None,
    evidence: dict[str, TraitEvidence] | None = None,
    **options: object,
) -> list[dict]:
    """Judge samples of one turn each, whose flags are what lies beyond 5 % of clean ones."""
    scores = {trait: trait_scores(value) for trait, value in values.items()}
    n = len(next(iter(values.values())))
    clean = {trait: np.asarray(reference.traits[trait].plain.scores_sorted) for trait in values} if reference else {}
    unusual, rare = (
        {trait: int((clean_p(values[trait], known) <= share).sum()) for trait, known in clean.items()}
        for share in (0.05, 0.01)
    )
    return judge_traits(
        scores,
        reference,
        n_flagged=unusual,
        n_unusual=unusual,
        **{"n_rare": rare, **options},
        expected_false_flags=dict.fromkeys(values, 0.05 * n if reference else None),
        judged_n=np.ones(n, dtype=bool),
        undecided=undecided,
        evidence=evidence,
    )


def test_clean_datasets_stay_clear_of_verdicts() -> None:
    generator = np.random.default_rng(2)
    reference = clean_reference(3)
    verdicts = [
        row["verdict"]
        for _ in range(100)
        for row in judge(reference, {"evil": generator.normal(size=1000), "kind": generator.normal(size=1000)})
    ]
    # The alarm's level is 1 % of the datasets.
    assert verdicts.count("clear") >= 198


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
    assert "small: single rows cannot be told apart, the set as a whole leans" in row["reason"]
    assert row["cohens_d_low"] < 0.1 < row["cohens_d_high"]


@pytest.mark.parametrize(("errors", "verdict"), [(2.74, "clear"), (2.82, "risk")])
def test_a_small_reference_has_few_degrees_of_freedom_however_many_rows_there_are(errors: float, verdict: str) -> None:
    # One trait with three tests: at .01/3 Student's t with 99 degrees of freedom is 2.77, the normal quantile 2.71.
    draw = np.random.default_rng(31)
    clean = draw.normal(size=100)
    clean = (clean - clean.mean()) / clean.std(ddof=1)
    reference = replace(clean_reference(traits=("evil",)), traits={"evil": trait_reference(clean)})
    (row,) = judge(reference, {"evil": errors / 10 + 1e-4 * draw.normal(size=10_000)})
    assert row["verdict"] == verdict


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
        # Above the band, but not above what 32 random directions reach at the level of 4 tests: Student's 3.01.
        (found(2.9), "clear"),
        (found(3.1), "watch"),
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


SHIFTED = np.random.default_rng(21).normal(0.3, 1.0, size=2_000)


def test_a_shift_that_random_directions_reach_too_says_nothing_of_the_trait() -> None:
    reference = clean_reference(22, traits=("evil",))
    (alone,) = judge(reference, {"evil": SHIFTED}, n_rare=None)
    (small,) = judge(reference, {"evil": SHIFTED}, n_rare=None, random_band=0.12)
    (large,) = judge(reference, {"evil": SHIFTED}, n_rare=None, random_band=0.6)
    assert (alone["random_band"], small["random_band"], large["random_band"]) == (None, 0.12, 0.6)
    assert [row["verdict"] for row in (alone, small)] == ["risk", "risk"]
    # What is left is the surplus of unusual rows.
    assert large["verdict"] == "watch"
    assert "random directions reach d = 0.60" in large["reason"]
    assert "random directions" not in alone["reason"]


def test_a_few_rows_far_out_are_watched_though_the_set_does_not_lean() -> None:
    values = np.random.default_rng(23).normal(size=1_000)
    values[:20] += 4.0
    (row,) = judge(clean_reference(24, traits=("evil",)), {"evil": values})
    (published,) = judge(clean_reference(24, traits=("evil",)), {"evil": values}, n_rare=None)
    assert (row["verdict"], published["verdict"]) == ("watch", "clear")
    assert "beyond what 1% are" in row["reason"]


def test_groups_share_the_alarm_level() -> None:
    values = np.random.default_rng(25).normal(size=1_000)
    reference = clean_reference(26, n=20_000, traits=("evil",))
    # Some 3.2 standard errors above the clean mean: one set's level is passed at 2.8, fifty sets' at 3.9.
    values += reference.traits["evil"].mean + 0.104 - values.mean()
    (alone,), (among_many,) = (judge(reference, {"evil": values}, n_groups=n) for n in (1, 50))
    assert (alone["verdict"], among_many["verdict"]) == ("watch", "clear")


@pytest.mark.parametrize(
    ("values", "verdict", "words"),
    [
        (np.random.default_rng(27).normal(size=500), "undecided", "weaker than a clean reference and clears nothing"),
        # However far it lies: its mean is the reference's own.
        (np.random.default_rng(27).normal(5.0, 1.0, size=500), "watch", "weaker than a clean reference"),
    ],
)
def test_a_reference_within_the_data_neither_clears_nor_gives_a_risk(
    values: np.ndarray, verdict: str, words: str
) -> None:
    within = replace(clean_reference(28, traits=("evil",)), kind=WITHIN)
    (row,) = judge(within, {"evil": values})
    assert row["verdict"] == verdict
    assert words in row["reason"]
    assert (row["cohens_d"], row["cohens_d_low"]) == (None, None)


def test_evidence_can_make_a_risk_beside_a_reference_within_the_data() -> None:
    within = replace(clean_reference(28, traits=("evil",)), kind=WITHIN)
    (row,) = judge(within, {"evil": CLEAN}, evidence={"evil": found(6.0)})
    assert row["verdict"] == "risk"
    (row,) = judge(within, {"evil": CLEAN}, evidence={"evil": found(1.0)})
    assert row["verdict"] == "undecided"
    assert "weaker" in row["reason"]


@pytest.mark.parametrize("clean_sd", [0.0, 1.0])
@pytest.mark.parametrize("value", [-1.0, 0.0, 7.0])
def test_rows_that_are_all_equal_get_words_and_finite_numbers(value: float, clean_sd: float) -> None:
    clean = np.random.default_rng(0).normal(size=500) * clean_sd
    reference = replace(clean_reference(traits=("evil",)), traits={"evil": trait_reference(clean)})
    (row,) = judge(reference, {"evil": np.full(100, value)})
    assert all(np.isfinite(number) for number in row.values() if isinstance(number, float))
    if clean_sd == 0.0:
        assert "do not vary" in row["reason"]
        assert row["cohens_d"] is None
    assert row["verdict"] == ("risk" if value == 7.0 else "clear")


def test_heavy_ties_alarm_no_oftener() -> None:
    draw = np.random.default_rng(29)
    reference = replace(
        clean_reference(traits=("evil",)), traits={"evil": trait_reference(draw.integers(0, 3, 2_000).astype(float))}
    )
    verdicts = [judge(reference, {"evil": draw.integers(0, 3, 300).astype(float)})[0]["verdict"] for _ in range(100)]
    assert verdicts.count("clear") >= 99


def test_a_mean_that_could_not_be_estimated_leaves_undecided_and_says_why() -> None:
    (row,) = judge(clean_reference(traits=("evil",)), {"evil": CLEAN}, estimated={})
    assert (row["verdict"], row["mean_difference"]) == ("undecided", None)
    assert "drawn at random" in row["reason"]


def test_an_estimated_mean_is_judged_with_its_own_error() -> None:
    reference = clean_reference(traits=("evil",))
    sure, unsure = (Interval(0.3, 0.3 - 2 * e, 0.3 + 2 * e, 1.0, 1_000, error=e) for e in (0.03, 0.3))
    (row,), (other,) = (judge(reference, {"evil": CLEAN}, estimated={"evil": own}) for own in (sure, unsure))
    assert (row["verdict"], other["verdict"]) == ("risk", "clear")
    assert other["cohens_d_high"] - other["cohens_d_low"] > 5 * (row["cohens_d_high"] - row["cohens_d_low"])


def test_the_table_holds_the_interval_of_d_and_the_band() -> None:
    rows = judge(clean_reference(traits=("evil",)), {"evil": SHIFTED}, random_band=0.1)
    (row,) = verdicts_table(rows).to_pylist()
    assert row["cohens_d_low"] < row["cohens_d"] < row["cohens_d_high"]
    assert row["random_band"] == 0.1
