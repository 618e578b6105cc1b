"""Whose y′ is generated: chances that hold, a bound that holds, and nothing that is not paid for."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.cascade import (
    calibrate_chances,
    choose_random_rows,
    flag_chances,
    largest_count,
    miss_bound,
    run_cascade,
)


def chance_at_most(n: int, marked: int, drawn: int, hits: int) -> float:
    """Count the draws one by one."""
    draws = list(combinations(range(n), drawn))
    return sum(sum(member < marked for member in draw) <= hits for draw in draws) / len(draws)


@given(n=st.integers(2, 9), data=st.data())
def test_the_largest_count_is_the_one_that_counting_draws_gives(n: int, data: st.DataObject) -> None:
    drawn = data.draw(st.integers(1, n))
    hits = data.draw(st.integers(0, drawn))
    # No chance of so few draws ends on these: a tie would be decided by the last bit of either side.
    delta = data.draw(st.sampled_from([0.0101, 0.0503, 0.3001]))
    possible = [k for k in range(hits, n - drawn + hits + 1) if chance_at_most(n, k, drawn, hits) > delta]
    assert largest_count(n, drawn, hits, delta) == max(possible, default=hits)


def test_an_audit_of_everything_leaves_nothing_open() -> None:
    assert miss_bound(50, 50, 7, 100, 0.05) == 0.0


def test_the_rule_of_three() -> None:
    # No hit among m of many: at most about 3 / m of them are marked, with 95 % confidence.
    assert largest_count(1_000_000, 300, 0, 0.05) / 1_000_000 == pytest.approx(3 / 300, rel=0.02)


def test_chances_are_shares_of_the_residuals_that_lead_over_a_threshold() -> None:
    residual_mk = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    p = flag_chances(
        np.array([[2.5, -9.0], [2.5, 3.0]]), np.array([0, 1]), 2, residual_mk, np.array([1.0, 2.0]), seed=0
    )
    # The first turn passes with the residuals 0, 1 and the last; the second one always, by one trait or the other.
    assert p == pytest.approx([3.5 / 5, 4.5 / 5])


def test_turns_of_a_row_add_their_chances_and_a_row_without_any_has_none() -> None:
    residual_mk = np.zeros((9, 1))
    p = flag_chances(np.array([[5.0], [-5.0], [5.0]]), np.array([0, 2, 2]), 3, residual_mk, np.array([0.0]), seed=0)
    assert p == pytest.approx([0.95, 0.0, 1 - 0.05 * 0.95])


def test_a_trait_without_threshold_or_prediction_flags_nothing() -> None:
    p = flag_chances(np.array([[np.nan, 9.0]]), np.array([0]), 1, np.zeros((9, 2)), np.array([0.0, np.inf]), seed=0)
    assert p == pytest.approx([0.05])


def test_chances_that_are_too_high_are_brought_down() -> None:
    generator = np.random.default_rng(0)
    p_n = generator.uniform(0.01, 0.99, 20_000)
    flagged_n = generator.random(20_000) < p_n**2
    calibrated = calibrate_chances(p_n, p_n[:2_000], flagged_n[:2_000])
    assert calibrated.sum() == pytest.approx((p_n**2).sum(), rel=0.05)
    assert (np.diff(calibrated[np.argsort(p_n)]) >= 0).all()


@pytest.mark.parametrize("flagged", [False, True])
def test_calibration_stays_finite_where_all_or_no_rows_are_flagged(flagged: bool) -> None:
    p_n = np.array([0.0, 0.2, 0.5, 1.0])
    assert np.isfinite(calibrate_chances(p_n, p_n, np.full(4, flagged))).all()


def simulate(
    n: int, share: float, seed: int, *, sharpness: float = 4.0, lie: float = 0.0
) -> tuple[float, float, float]:
    """Return true miss rate, bound and revealed share; `lie` is a share of flags that the chances know nothing of."""
    generator = np.random.default_rng(seed)
    logit = sharpness * generator.standard_normal(n) + np.log(share / (1 - share)) * sharpness
    p_n = 1 / (1 + np.exp(-logit))
    flagged_n = (generator.random(n) < p_n) | (generator.random(n) < lie)
    random_rows = choose_random_rows(n, seed)
    shown_n = np.zeros(n, dtype=bool)
    shown_n[random_rows] = True

    def reveal(rows: np.ndarray, _: str) -> np.ndarray:
        assert not shown_n[rows].any(), "a row is paid for once"
        shown_n[rows] = True
        return flagged_n[rows]

    report = run_cascade(p_n, random_rows, flagged_n[random_rows], reveal, seed=seed)
    assert report.n_found == (flagged_n & shown_n).sum()
    assert report.n_left == (~shown_n).sum()
    assert report.n_random + report.n_chosen + report.n_audited == shown_n.sum()
    return float((flagged_n & ~shown_n).sum() / max(flagged_n.sum(), 1)), report.miss_bound, float(shown_n.mean())


@pytest.mark.parametrize(("share", "lie"), [(0.3, 0.0), (0.1, 0.0), (0.2, 0.01)])
def test_the_bound_holds_and_meets_the_target_even_where_the_chances_are_wrong(share: float, lie: float) -> None:
    runs = [simulate(6_000, share, seed, lie=lie) for seed in range(40)]
    # Each of 40 fails with a chance of at most 5 %; more than 6 of them with one of about 1 %.
    assert sum(missed > bound for missed, bound, _ in runs) <= 6
    assert np.median([bound for _, bound, _ in runs]) <= 0.05


def test_sharp_chances_save_most_of_the_work_and_useless_ones_do_not_break_the_bound() -> None:
    assert simulate(20_000, 0.2, 0, sharpness=8.0)[2] < 0.5
    missed, bound, revealed = simulate(6_000, 0.3, 0, sharpness=0.01)
    assert (missed <= bound <= 0.05) or revealed == 1.0


def test_all_rows_are_revealed_where_nothing_else_could_bound_the_misses() -> None:
    missed, bound, revealed = simulate(1_500, 0.002, 0, sharpness=0.5)
    assert (missed, bound) == (0.0, 0.0) or bound <= 0.05 or revealed > 0.9


def test_the_random_part_is_seeded_sorted_and_bounded() -> None:
    assert len(choose_random_rows(500, 0)) == 500
    assert [len(choose_random_rows(n, 0)) for n in (5_000, 40_000, 10_000_000)] == [1_000, 2_000, 4_000]
    assert (np.diff(choose_random_rows(5_000, 3)) > 0).all()
    assert (choose_random_rows(5_000, 3) == choose_random_rows(5_000, 3)).all()
    assert (choose_random_rows(5_000, 3) != choose_random_rows(5_000, 4)).any()


def test_counting_draws_is_itself_right() -> None:
    assert chance_at_most(5, 2, 2, 0) == comb(3, 2) / comb(5, 2)
