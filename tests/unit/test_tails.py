"""P-values against clean scores: right where ranks are, believable beyond them, corrected for many looks."""

from __future__ import annotations

import numpy as np
import pytest

from audit.tails import any_of, clean_p, fit_tail, one_of


@pytest.mark.parametrize("draw", ["normal", "exponential", "student", "uniform"])
def test_fresh_clean_scores_pass_a_level_about_as_often_as_it_says(draw: str) -> None:
    def sample(generator: np.random.Generator, n: int) -> np.ndarray:
        if draw == "student":
            return generator.standard_t(4, size=n)
        return getattr(generator, draw)(size=n)

    shares = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        p = clean_p(sample(generator, 20_000), np.sort(sample(generator, 4_000)))
        shares.append([(p <= level).mean() / level for level in (0.05, 0.01, 0.001, 0.0002)])
    ratios = np.mean(shares, axis=0)
    # Three in four thousand clean scores and less: heavy tails are met within a quarter, light ones held too heavy.
    assert (ratios[:2] <= 1.1).all(), ratios
    assert (ratios[2:] <= 1.25).all(), ratios
    assert ratios[0] >= 0.9


def test_beyond_the_clean_scores_p_values_go_on_falling() -> None:
    clean = np.sort(np.random.default_rng(0).normal(size=3_000))
    p = clean_p(np.asarray([3.0, 5.0, 7.0, 50.0]), clean)
    assert (np.diff(p) < 0).all()
    assert p[1] < 1e-4
    assert p[-1] > 0
    # Ranks alone would stop here.
    assert p[1] < 1 / 3_001


def test_p_values_never_rise_with_the_score() -> None:
    clean = np.sort(np.random.default_rng(1).standard_t(3, size=1_000))
    p = clean_p(np.linspace(-5, 30, 4_000), clean)
    assert (np.diff(p) <= 0).all()


def test_few_or_equal_clean_scores_have_ranks_alone() -> None:
    assert fit_tail(np.linspace(0, 1, 400)) is None
    assert fit_tail(np.zeros(5_000)) is None
    assert clean_p(np.asarray([1.0]), np.zeros(5_000)).tolist() == [1 / 5_001]
    assert clean_p(np.asarray([0.0, np.nan]), np.zeros(100)).tolist()[0] == 1.0
    assert np.isnan(clean_p(np.asarray([np.nan]), np.zeros(100)))[0]


def test_a_tail_of_known_shape_is_found() -> None:
    generator = np.random.default_rng(2)
    shape = 0.3
    values = np.sort((generator.random(200_000) ** -shape - 1) / shape)
    tail = fit_tail(values)
    assert tail is not None
    assert tail.shape == pytest.approx(shape, abs=0.05)
    assert tail.exceedance(np.asarray([20.0]))[0] == pytest.approx((1 + shape * 20) ** (-1 / shape), rel=0.2)


def test_many_looks_are_paid_for() -> None:
    smallest = np.random.default_rng(3).random((50_000, 7)).min(axis=1)
    assert (any_of(smallest, 7) <= 0.05).mean() == pytest.approx(0.05, abs=0.005)
    assert any_of(np.asarray([1.0, 0.0, 1e-12]), 4).tolist() == pytest.approx([1.0, 0.0, 4e-12])
    assert one_of(0.03, 4) == pytest.approx(1 - 0.97**0.25)
    assert one_of(1.0, 4) == 1.0


@pytest.mark.parametrize("m", [500, 700, 5_000])
def test_as_many_have_a_p_value_of_a_twentieth_and_a_hundredth_as_ranks_say(m: int) -> None:
    # The surplus of unusual records is tested against ranks, whatever tail is fitted beyond them.
    generator = np.random.default_rng(m)
    for _ in range(20):
        clean, values = np.sort(np.exp(generator.normal(size=m))), np.exp(generator.normal(size=5_000))
        p = clean_p(values, clean)
        for share in (0.05, 0.01):
            k = int(share * (m + 1) + 1e-9)
            assert (p <= share).sum() == (values > clean[-k]).sum()
