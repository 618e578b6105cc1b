"""Which records are judged: random, the same for the same seed, and a larger part holds a smaller one."""

from __future__ import annotations

import numpy as np

from audit.opinions.draw import draw_records


def draw(n_random: int, limit: int | None = None, *, seed: int = 0, n: int = 1000):
    ids = np.arange(n)
    return draw_records(ids, ids[::10], n_random=n_random, limit=limit, seed=seed)


def test_all_flagged_records_are_drawn_once_and_a_random_part_of_all() -> None:
    found = draw(200)
    assert found.random.size == 200
    assert np.array_equal(np.union1d(found.flagged, found.random[found.random % 10 == 0]), np.arange(0, 1000, 10))
    assert np.intersect1d(found.random, found.flagged).size == 0
    # Each id is as likely: ten of the 1,000 are flagged among 100 drawn, give or take.
    shares = [np.mean(draw(100, seed=seed).random % 10 == 0) for seed in range(60)]
    assert abs(np.mean(shares) - 0.1) < 0.012
    halves = [np.mean(draw(100, seed=seed).random < 500) for seed in range(60)]
    assert abs(np.mean(halves) - 0.5) < 0.02


def test_a_larger_part_holds_a_smaller_one_and_seeds_differ() -> None:
    assert set(draw(50).random) < set(draw(300).random)
    assert set(draw(0, 20).flagged) < set(draw(0, 60).flagged)
    assert set(draw(50, seed=1).random) != set(draw(50).random)


def test_more_than_there_are_is_all_and_none_is_none() -> None:
    assert draw(5000, n=30).random.tolist() == list(range(30))
    assert draw(0, 0).n == 0
    assert draw(10, n=0).n == 0
