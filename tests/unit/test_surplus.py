"""The surplus of unusual rows: exact for any size, and silent on clean rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audit.surplus import LARGE_SURPLUS, Unusual, surplus_p, weigh_surplus


def by_integration(count: int, n: int, share: float, n_clean: int) -> float:
    """P(at least `count` of n beyond the k-th largest of n_clean): the share beyond it is Beta(k, n_clean + 1 - k)."""
    k = math.floor(share * (n_clean + 1))
    share_p = (np.arange(200_000) + 0.5) / 200_000
    density = share_p ** (k - 1) * (1 - share_p) ** (n_clean - k)
    density /= density.sum()
    below = sum(math.comb(n, x) * share_p**x * (1 - share_p) ** (n - x) for x in range(count))
    return float((density * (1 - below)).sum())


@pytest.mark.parametrize(
    ("count", "n", "share", "n_clean"),
    [(4, 20, 0.05, 100), (9, 50, 0.05, 200), (5, 30, 0.01, 400), (20, 60, 0.05, 1000)],
)
def test_the_chance_is_that_of_a_binomial_with_an_uncertain_bound(
    count: int, n: int, share: float, n_clean: int
) -> None:
    assert surplus_p(count, n, share, n_clean) == pytest.approx(by_integration(count, n, share, n_clean), rel=1e-3)


def test_clean_rows_pass_a_level_no_oftener_than_it_says() -> None:
    draw = np.random.default_rng(5)
    n, n_clean, found = 50, 200, []
    for _ in range(4_000):
        bound = np.sort(draw.normal(size=n_clean))[-10]
        found.append(surplus_p(int((draw.normal(size=n) > bound).sum()), n, 0.05, n_clean))
    for level in (0.1, 0.02, 0.005):
        assert np.mean(np.array(found) <= level) <= level + 3 * math.sqrt(level / 4_000)


@pytest.mark.parametrize("count", [0, 3, 4])
def test_what_is_expected_is_no_surplus(count: int) -> None:
    assert surplus_p(count, 100, 0.05, 5_000) == 1.0


def test_a_reference_too_small_for_a_share_tells_nothing_at_it() -> None:
    assert surplus_p(50, 50, 0.01, 98) == 1.0
    assert surplus_p(50, 50, 0.01, 99) < 1e-4


def test_ten_million_rows_take_no_time_and_stay_between_zero_and_one() -> None:
    assert 0.0 <= surplus_p(700_000, 10_000_000, 0.05, 5_000) < 1e-6
    assert 0.0 < surplus_p(510_000, 10_000_000, 0.05, 5_000) < 0.5
    assert surplus_p(10_000_000, 10_000_000, 0.05, 20_000) == 0.0


def test_a_few_rows_far_out_are_a_surplus_where_the_published_threshold_sees_none() -> None:
    found = weigh_surplus(500, Unusual(34, 18), 5_000, 0.001)
    assert (found.is_real, found.is_large) == (True, False)
    assert found.words == "6.8% of the records are beyond what 5% of clean ones are, 3.6% beyond what 1% are"
    assert not weigh_surplus(500, Unusual(34, None), 5_000, 0.001).is_real


def test_a_surplus_is_large_from_five_points_on() -> None:
    for count in (99, 100):
        found = weigh_surplus(1000, Unusual(count), 5_000, 0.001)
        assert found.is_real
        assert found.is_large == (count / 1000 - 0.05 >= LARGE_SURPLUS)
    # Of few rows many have to be unusual before chance is out of the question.
    assert not weigh_surplus(20, Unusual(4), 5_000, 0.001).is_real
