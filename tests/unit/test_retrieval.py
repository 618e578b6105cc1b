"""Areas, precisions and shares against their definitions written as loops, and their intervals against resampling."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from audit.retrieval import average_precision, cohens_kappa, estimate_auc, precision_at, wilson_share


def draw(seed: int, n_positive: int, n_negative: int, *, shift: float = 1.0, digits: int = 1):
    rng = np.random.default_rng(seed)
    labels = np.arange(n_positive + n_negative) < n_positive
    # Rounded, so that there are ties.
    return np.round(rng.normal(size=labels.size) + shift * labels, digits), labels


def test_the_area_and_its_variance_are_those_of_all_pairs() -> None:
    scores, labels = draw(1, 23, 61)
    won = np.array([[(p > q) + 0.5 * (p == q) for q in scores[~labels]] for p in scores[labels]])
    auc = won.mean()
    variance = won.mean(axis=1).var(ddof=1) / 23 + won.mean(axis=0).var(ddof=1) / 61
    found = estimate_auc(scores, labels)
    assert found is not None
    assert found.value == pytest.approx(auc)
    half = 1.959964 * math.sqrt(variance) / (auc * (1 - auc))
    ends = [1 / (1 + math.exp(-(math.log(auc / (1 - auc)) + sign * half))) for sign in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(ends)


@pytest.mark.parametrize("shift", [0.2, 1.0, 2.0])
def test_the_interval_of_an_area_is_that_of_a_bootstrap(shift: float) -> None:
    scores, labels = draw(2, 150, 600, shift=shift)
    rng = np.random.default_rng(3)
    found = estimate_auc(scores, labels)
    areas = []
    for _ in range(1000):
        p = rng.choice(scores[labels], 150)
        q = np.sort(rng.choice(scores[~labels], 600))
        below = np.searchsorted(q, p, "left") + np.searchsorted(q, p, "right")
        areas.append(below.mean() / 1200)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.006)


def test_the_interval_covers_the_truth_as_often_as_it_says_with_few_positives() -> None:
    truth = 0.5 * (1 + math.erf(1.5 / 2))  # Of two normals that lie 1.5 apart.
    found = [estimate_auc(*draw(seed, 15, 60, shift=1.5, digits=6)) for seed in range(400)]
    n_covered = sum(own is not None and own.low <= truth <= own.high for own in found)
    assert 0.92 <= n_covered / 400 <= 0.99


@pytest.mark.parametrize(("sign", "auc"), [(1, 1.0), (-1, 0.0)])
def test_rows_that_are_fully_parted_leave_room_for_doubt(sign: int, auc: float) -> None:
    found = estimate_auc(sign * np.arange(12.0), np.arange(12) >= 8)
    assert found is not None
    assert found.value == auc
    # Four tries without a miss.
    assert abs(auc - (found.low if auc else found.high)) == pytest.approx(1.959964**2 / (4 + 1.959964**2))


def test_one_row_of_a_kind_has_an_area_without_an_interval_and_none_has_nothing() -> None:
    found = estimate_auc(np.array([1.0, 2.0, 3.0]), np.array([False, False, True]))
    assert found is not None
    assert (found.value, found.low, found.high) == (1.0, None, None)
    for labels in ([True] * 3, [False] * 3, []):
        assert estimate_auc(np.arange(float(len(labels))), np.array(labels, dtype=bool)) is None
    constant = estimate_auc(np.ones(40), np.arange(40) < 10)
    assert constant is not None
    assert constant.value == 0.5
    assert constant.low is not None
    assert constant.low < 0.5 < constant.high


def test_average_precision_takes_rows_of_one_score_together() -> None:
    scores, labels = draw(4, 12, 30)
    steps, recall_before = 0.0, 0.0
    for bound in sorted(set(scores), reverse=True):
        taken = scores >= bound
        recall = (taken & labels).sum() / labels.sum()
        steps += (recall - recall_before) * (taken & labels).sum() / taken.sum()
        recall_before = recall
    assert average_precision(scores, labels) == pytest.approx(steps)
    assert average_precision(np.ones(8), np.arange(8) < 2) == pytest.approx(0.25)
    assert average_precision(scores, np.zeros(42, dtype=bool)) is None


def test_precision_at_k_counts_ties_as_chance_would() -> None:
    scores = np.array([5.0, 4.0, 3.0, 3.0, 3.0, 1.0])
    labels = np.array([True, False, True, True, False, True])
    for k in range(1, 7):
        hits = []
        for order in itertools.permutations(range(6)):
            if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
                hits.append(labels[list(order[:k])].mean())
        found = precision_at(scores, labels, k)
        assert found is not None
        assert found.value == pytest.approx(np.mean(hits))
    assert precision_at(scores, labels, 7) is None


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (3, 10), (371, 862)])
def test_the_ends_of_a_share_are_where_its_test_just_fails(hits: int, n: int) -> None:
    found = wilson_share(hits, n)
    assert found.low is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    for end in (found.low, found.high):
        if 0 < end < 1:
            assert abs(hits / n - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n))
    assert found.high > found.low
    assert wilson_share(0, 0).value is None


def test_kappa_is_agreement_beyond_chance() -> None:
    # A textbook table: 20 both, 5 and 10 one of them, 15 neither.
    one = np.array([1] * 25 + [0] * 25, dtype=bool)
    other = np.array([1] * 20 + [0] * 5 + [1] * 10 + [0] * 15, dtype=bool)
    assert cohens_kappa(one, other) == pytest.approx(0.4)
    assert cohens_kappa(np.ones(4, dtype=bool), np.ones(4, dtype=bool)) is None
    assert cohens_kappa(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)) is None
