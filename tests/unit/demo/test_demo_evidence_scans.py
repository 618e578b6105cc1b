"""Pooled evidence and combined scores agree with their definitions, on turns made up here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audit.calibration import student_quantile
from audit.demo.evidence_scans import STUDENT_975, ScannedTurns, pool_evidence
from audit.demo.evidence_separation import combine_scores
from audit.schema import RANDOM_DIRECTIONS


def make_turns(n: int, seed: int, *, shift: float = 0.0, inflation: float = 1.0) -> ScannedTurns:
    draw = np.random.default_rng(seed)
    variance_t = draw.uniform(0.5, 2.0, n)
    score_t = np.sqrt(variance_t) * (draw.normal(size=n) + shift)
    null_tr = draw.normal(size=(n, RANDOM_DIRECTIONS))
    common_t = draw.normal(size=n) + 1.0
    random_tr = draw.normal(size=(n, RANDOM_DIRECTIONS)) + math.sqrt(inflation - 1) * np.outer(
        common_t, draw.normal(size=RANDOM_DIRECTIONS)
    )
    columns = {
        "evidence": score_t,
        "evidence_variance": variance_t,
        "evidence_z": score_t / np.sqrt(variance_t),
        "orthogonal_difference": draw.normal(size=n),
    }
    return ScannedTurns(
        n_rows=n // 2,
        row_t=np.arange(n) // 2,
        columns={name: {"evil": values} for name, values in columns.items()},
        nll_t=np.ones(n),
        n_tokens_t=np.ones(n),
        random={"evil": (random_tr, null_tr)},
    )


def test_a_set_that_the_model_might_have_written_stands_within_the_band() -> None:
    found = [pool_evidence(make_turns(200, seed), "evil") for seed in range(200)]
    # One-sided and at least as wide as the normal quantile of .975.
    assert sum(own.is_above for own in found) <= 12
    assert all(own.band >= 1.9599 for own in found)


def test_a_shift_is_seen_and_unlikely_text_widens_the_band() -> None:
    assert pool_evidence(make_turns(200, 1, shift=0.5), "evil").is_above
    assert not pool_evidence(make_turns(200, 1, shift=0.5, inflation=3.0), "evil").is_above


def test_the_quantile_belongs_to_the_number_of_random_directions() -> None:
    assert pytest.approx(student_quantile(0.975, RANDOM_DIRECTIONS), abs=1e-3) == STUDENT_975


def test_slices_are_rows_of_their_own_and_a_row_takes_its_largest_turn() -> None:
    turns = make_turns(20, 2)
    tail = turns.slice_rows(4, 10)
    assert (tail.n_rows, tail.row_t[0], len(tail.row_t)) == (6, 0, 12)
    values = np.arange(12.0)
    values[3] = np.nan
    np.testing.assert_array_equal(tail.row_maximum(values), [1, 2, 5, 7, 9, 11])


def test_the_combined_score_is_a_sum_of_standard_scores_of_the_clean_set() -> None:
    turns, clean = make_turns(30, 3), make_turns(400, 4)
    turns.columns["evidence_z"]["evil"][5] = np.nan
    expected = np.zeros(30)
    for name in ("orthogonal_difference", "evidence_z"):
        reference = clean.columns[name]["evil"]
        own = turns.columns[name]["evil"].copy()
        if name == "evidence_z":
            own[5] = 0.0
        expected += (own - reference.mean()) / reference.std(ddof=1)
    np.testing.assert_allclose(combine_scores(turns, clean, "evil"), expected)
