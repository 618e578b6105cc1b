"""Flags against a clean reference: which rows pass, which never do, and which references do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audit.errors import RunError
from audit.flag import flag_trait
from audit.reference import (
    CleanScores,
    CombinedScores,
    TraitReference,
    TraitRisks,
    TraitScores,
    check_reference,
    load_reference,
)
from audit.risk import Moments
from tests.references import SHA, clean_reference, trait_scores

EMPTY = TraitScores(2, SHA, np.zeros(0), np.zeros(0))


def test_fresh_clean_rows_pass_the_threshold_in_at_most_five_percent() -> None:
    generator = np.random.default_rng(1)
    shares = []
    for seed in range(60):
        threshold = clean_reference(seed, n=300).traits["evil"].flagged_with(is_combined=False).threshold
        shares.append((generator.normal(size=4000) > threshold).mean())
    assert 0.044 <= np.mean(shares) <= 0.0515


def test_rows_outside_the_domain_are_scored_but_never_flagged() -> None:
    reference = clean_reference(traits=("evil",)).traits["evil"]
    (found,) = flag_trait(
        "evil",
        trait_scores(np.asarray([9.0, 9.0, np.nan, -9.0])),
        reference,
        sample_ids=np.asarray([10, 11, 12, 13]),
        has_difference=True,
        judged_n=np.asarray([True, False, True, True]),
        predicted_n=np.zeros(4, dtype=bool),
    )
    table = found.to_pylist()
    assert [(row["sample_id"], row["flagged"]) for row in table] == [(10, True), (11, False), (13, False)]
    assert table[1]["q_value"] is None
    assert "domain" in table[1]["reason"]
    assert table[0]["percentile"] == 100.0
    assert table[0]["z"] == pytest.approx(9.0, rel=0.1)


def test_projections_do_not_pose_as_differences() -> None:
    (table,) = flag_trait(
        "evil",
        trait_scores(np.asarray([1.0])),
        None,
        sample_ids=np.asarray([0]),
        has_difference=False,
        judged_n=np.asarray([True]),
        predicted_n=np.asarray([False]),
    )
    assert table["projection_difference"].to_pylist() == [None]
    assert table["risk"].to_pylist() == [1.0]


def test_a_reference_survives_its_file(tmp_path: Path) -> None:
    reference = clean_reference()
    (tmp_path / "reference.json").write_text(reference.to_json())
    assert load_reference(tmp_path / "reference.json") == {"difference": reference}


def test_a_damaged_reference_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reference.json").write_text('{"source": 1}')
    with pytest.raises(RunError, match="no clean reference"):
        load_reference(tmp_path / "reference.json")


def test_a_reference_of_few_rows_is_refused() -> None:
    with pytest.raises(RunError, match="too few"):
        clean_reference(n=99)


@pytest.mark.parametrize(
    ("fingerprint", "kind", "turns", "scores", "finding"),
    [
        ("other", "difference", "all", {"evil": EMPTY}, "model is f, this run's is other"),
        ("f", "projection", "all", {"evil": EMPTY}, "score kind is difference, this run's is projection"),
        ("f", "difference", "last", {"evil": EMPTY}, "turns is all, this run's is last"),
        ("f", "difference", "all", {"evil": trait_scores(np.zeros(0), layer=3)}, "layer of evil is 2, this run's is 3"),
        ("f", "difference", "all", {"greedy": EMPTY}, "no scores for greedy"),
    ],
)
def test_a_reference_scored_another_way_is_refused(
    fingerprint: str, kind: str, turns: str, scores: dict[str, TraitScores], finding: str
) -> None:
    with pytest.raises(RunError, match=finding):
        check_reference(
            clean_reference(),
            model_fingerprint=fingerprint,
            score_kind=kind,
            scored_with={"baseline": "generate", "turns": turns},
            scores=scores,
        )


def test_a_predicted_row_is_never_flagged_and_lies_among_scores_of_its_own_kind() -> None:
    clean = tuple(np.linspace(-1.0, 1.0, 200))
    reference = TraitReference(2, "0", clean, 0.0, 0.6, 200, predicted_sorted=tuple(np.linspace(-10.0, 10.0, 200)))
    scores = trait_scores(np.asarray([5.0, 5.0, 0.0, 0.0]))
    predicted_n = np.asarray([True, False, True, False])
    (found,) = flag_trait(
        "evil",
        scores,
        reference,
        sample_ids=np.arange(4),
        has_difference=True,
        judged_n=np.ones(4, dtype=bool),
        predicted_n=predicted_n,
    )
    assert found["flagged"].to_pylist() == [False, True, False, False]
    assert found["percentile"].to_pylist() == pytest.approx([75.0, 100.0, 50.0, 50.0], abs=0.5)
    # Rows without a true score count among the tests, and none of them is a discovery.
    assert [q is None for q in found["q_value"].to_pylist()] == [True, False, True, False]
    assert found["q_value"][1].as_py() == pytest.approx(4 / 201, rel=1e-5)
    assert [reason is not None and "predicted" in reason for reason in found["reason"].to_pylist()] == [
        True,
        False,
        True,
        False,
    ]
    without = replace(reference, predicted_sorted=())
    (found,) = flag_trait(
        "evil",
        scores,
        without,
        sample_ids=np.arange(4),
        has_difference=True,
        judged_n=np.ones(4, dtype=bool),
        predicted_n=predicted_n,
    )
    assert [z is None for z in found["z"].to_pylist()] == [True, False, True, False]


def test_a_sample_without_a_combined_score_is_neither_flagged_nor_tested() -> None:
    clean = CleanScores(tuple(np.linspace(-1.0, 1.0, 200)))
    reference = TraitReference(
        2, "0", clean.scores_sorted, 0.0, 0.6, 200, combined=CombinedScores(Moments(0.0, 1.0, 0.0, 1.0), clean)
    )
    nothing = np.full(2, np.nan)
    (found,) = flag_trait(
        "evil",
        trait_scores(np.asarray([9.0, 9.0])),
        reference,
        sample_ids=np.arange(2),
        has_difference=True,
        judged_n=np.ones(2, dtype=bool),
        predicted_n=np.zeros(2, dtype=bool),
        risks=TraitRisks(nothing, nothing, np.asarray([9.0, np.nan])),
    )
    assert found["flagged"].to_pylist() == [True, False]
    # One test alone, not two.
    assert found["q_value"].to_pylist() == [pytest.approx(1 / 201, rel=1e-5), None]
