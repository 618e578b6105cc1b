"""Bootstrapped AUCs agree with counting pairs, and paired intervals see what single ones do not."""

import numpy as np
import pytest

from audit.demo.evidence_bootstrap import resample_aucs
from audit.score import rank_auc


def test_the_auc_of_all_rows_counts_pairs_and_halves_ties() -> None:
    draw = np.random.default_rng(1)
    shown = draw.random(80) < 0.3
    scores = np.round(draw.normal(size=80) + shown, 1)
    above = [float(a > b) + 0.5 * float(a == b) for a in scores[shown] for b in scores[~shown]]
    found = resample_aucs({"s": scores}, shown, seed=0, n_resamples=10)
    assert found.whole["s"] == pytest.approx(np.mean(above))


def test_a_resample_is_the_auc_of_the_rows_that_it_draws() -> None:
    draw = np.random.default_rng(2)
    shown = draw.random(60) < 0.4
    scores = np.round(draw.normal(size=60), 1)
    found = resample_aucs({"s": scores}, shown, seed=5, n_resamples=20)
    counts = np.random.default_rng(5).multinomial(60, np.full(60, 1 / 60), size=20)
    for own, auc in zip(counts, found.resampled["s"], strict=True):
        assert auc == pytest.approx(rank_auc(np.repeat(scores, own), np.repeat(shown, own)))


def test_the_interval_is_as_wide_as_the_error_of_an_auc() -> None:
    draw = np.random.default_rng(3)
    shown = np.arange(600) < 300
    estimate = resample_aucs({"s": draw.normal(size=600)}, shown, seed=0).estimate("s")
    # Hanley and McNeil: the standard error of an AUC of .5 is sqrt((2 n + 1) / (12 n²)) with n of either kind.
    assert (estimate.high - estimate.low) / (2 * 1.96) == pytest.approx(np.sqrt(601 / (12 * 300**2)), rel=0.15)


def test_a_small_gain_over_a_near_copy_is_seen_because_rows_are_paired() -> None:
    draw = np.random.default_rng(4)
    shown = draw.random(2_000) < 0.3
    better = draw.normal(size=2_000) + shown
    found = resample_aucs({"better": better, "worse": better + 0.4 * draw.normal(size=2_000)}, shown, seed=0)
    assert found.gain("better", "worse").low > 0
    assert found.estimate("better").low < found.estimate("worse").high


def test_a_row_that_lacks_one_score_counts_for_none() -> None:
    shown = np.arange(40) < 20
    separating, reversed_ = np.where(shown, 1.0, 0.0), np.where(shown, 0.0, 1.0)
    reversed_[0], separating[0] = 9.0, np.nan
    found = resample_aucs({"a": separating, "b": reversed_}, shown, seed=0, n_resamples=5)
    assert found.whole == {"a": 1.0, "b": 0.0}
