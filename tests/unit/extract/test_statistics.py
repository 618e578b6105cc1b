"""Statistics of a direction against their definitions, written out pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.extract.differences import DifferenceSums
from audit.extract.statistics import (
    Separation,
    cosine,
    measure_auc,
    measure_interval,
    measure_random_band,
    measure_separation,
)
from audit.extract.trust import pick_layer


def naive_auc(scores: list[float], labels: list[bool], weights: list[int]) -> float:
    """Count every pair of a positive and a negative answer."""
    won = total = 0.0
    for score, label, weight in zip(scores, labels, weights, strict=True):
        for other, other_label, other_weight in zip(scores, labels, weights, strict=True):
            if label and not other_label:
                total += weight * other_weight
                won += weight * other_weight * (1.0 if score > other else 0.5 if score == other else 0.0)
    return won / total


@given(
    rows=st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), min_size=2, max_size=25).filter(
        lambda rows: (
            any(label and weight for _, label, weight in rows)
            and any(not label and weight for _, label, weight in rows)
        )
    )
)
def test_auc_counts_pairs_and_ties_half(rows: list[tuple[int, bool, int]]) -> None:
    scores, labels, weights = ([row[place] for row in rows] for place in range(3))
    found = measure_auc(np.array(scores, dtype=float), np.array(labels), np.array([weights, [1] * len(rows)]))
    assert found[0] == pytest.approx(naive_auc(scores, labels, weights))
    assert found[1] == pytest.approx(naive_auc(scores, labels, [1] * len(rows)))


def test_auc_without_one_side_is_no_number() -> None:
    assert np.isnan(measure_auc(np.array([1.0, 2.0]), np.array([True, True]))[0])


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    # Answers to a question are alike: an interval over answers instead of questions would be too narrow.
    draw = np.random.default_rng(0)
    n_questions, n_answers, shift = 20, 5, 1.0
    n_covered, n_repeats = 0, 150
    truth = 0.6915  # P(N(1, 2·1) > 0) for a question's own normal and an answer's own one: Φ(1 / 2)
    for repeat in range(n_repeats):
        question_n = np.repeat(np.arange(n_questions), 2 * n_answers)
        positive_n = np.tile(np.repeat([True, False], n_answers), n_questions)
        common = draw.normal(size=(n_questions, 2)).repeat(n_answers, axis=1).ravel()
        score_n = common + draw.normal(size=common.size) + shift * positive_n
        low, high = measure_interval(score_n, positive_n, question_n, seed=repeat)
        n_covered += low <= truth <= high
    assert 0.86 <= n_covered / n_repeats <= 1.0


def make_answers(shift: float, seed: int = 0, n: int = 120, d: int = 24) -> tuple[np.ndarray, ...]:
    draw = np.random.default_rng(seed)
    direction_d = draw.normal(size=d)
    direction_d /= np.linalg.norm(direction_d)
    positive_n = np.arange(n) % 2 == 0
    state_nd = draw.normal(size=(n, d)) + shift * positive_n[:, None] * direction_d
    return direction_d, state_nd, positive_n, np.arange(n) // 6


def test_a_direction_with_a_meaning_is_above_chance_and_one_without_is_not() -> None:
    draw = np.random.default_rng(1)
    shuffled_bd = draw.normal(size=(100, 24))
    direction_d, *answers = make_answers(3.0)
    real = measure_separation(direction_d, *answers, shuffled_bd, seed=0)
    assert real.is_above_chance
    assert not measure_separation(-direction_d, *answers, shuffled_bd, seed=0).is_above_chance
    assert not measure_separation(draw.normal(size=24), *answers, shuffled_bd, seed=0).is_above_chance
    assert not measure_separation(direction_d, *make_answers(0.0)[1:], shuffled_bd, seed=0).is_above_chance


def test_the_random_band_is_what_random_directions_reach() -> None:
    _, state_nd, positive_n, _ = make_answers(6.0)
    band = measure_random_band(state_nd, positive_n, seed=0)
    draw = np.random.default_rng(99)
    tried = [naive_auc(list(state_nd @ draw.normal(size=24)), list(positive_n), [1] * 120) for _ in range(200)]
    assert np.mean(np.maximum(tried, 1 - np.array(tried)) < band) == pytest.approx(0.95, abs=0.06)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, True), ({"low": 0.49}, False), ({"random_band": 0.95}, False), ({"shuffled_band": 0.95}, False)],
)
def test_above_chance_is_above_both_bands_and_one_half(changes: dict[str, float], expected: bool) -> None:
    values = {"auc": 0.9, "low": 0.8, "high": 0.97, "random_band": 0.7, "shuffled_band": 0.6} | changes
    assert Separation(**values).is_above_chance is expected


def test_the_layer_is_the_deepest_within_an_error_and_never_an_end() -> None:
    auc_l = np.array([1.0, 0.90, 0.95, 0.94, 0.93, 1.0])
    draw = np.random.default_rng(0)
    # What all layers share in a drawing says nothing about their order.
    common_lb = auc_l[:, None] + draw.normal(size=400) * 0.1
    assert pick_layer(auc_l, common_lb) == 2
    assert pick_layer(auc_l, common_lb + draw.normal(size=(6, 400)) * 0.015 / 2**0.5) == 3
    assert pick_layer(auc_l, common_lb + draw.normal(size=(6, 400)) * 0.5) == 4
    assert pick_layer(np.full(6, np.nan), np.full((6, 400), np.nan)) is None


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_streamed_differences_are_those_of_all_pairs_at_once(sizes: list[int], seed: int) -> None:
    draw = np.random.default_rng(seed)
    blocks = [draw.normal(size=(n, 3, 4)).astype(np.float32) for n in sizes]
    questions = [np.arange(n) for n in sizes]
    sums = DifferenceSums(3, 4, seed=0)
    for block, question_i in zip(blocks, questions, strict=True):
        sums.add(block, question_i)
    whole, question_i = np.concatenate(blocks).astype(np.float64), np.concatenate(questions)
    np.testing.assert_allclose(sums.mean_ld, whole.mean(axis=0), rtol=1e-5, atol=1e-6)
    halves = [whole[question_i % 2 == half].sum(axis=0) for half in (0, 1)]
    if (question_i % 2 == 1).any():
        for row in range(3):
            assert sums.half_cosine_l[row] == pytest.approx(cosine(halves[0][row], halves[1][row]), abs=1e-6)
    # A shuffled sum is one of signed pairs: its length cannot exceed that of all pairs together.
    longest = np.linalg.norm(whole.reshape(len(whole), -1), axis=1).sum()
    assert (np.linalg.norm(sums.shuffled_bld.reshape(100, -1), axis=1) <= longest * 1.0001).all()
