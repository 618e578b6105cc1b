"""Evidence of sets against simulations whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audit.calibration import (
    EvidenceSums,
    InflationBin,
    RandomSums,
    fit_rising,
    interpolate_inflation,
    pooled_z,
    random_band,
    student_quantile,
)

R = 32


def simulate(
    n: int, seed: int, *, spread: float = 1.0, common: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return loss [n], null variance [n], S [n, r] and S~ [n, r]; S has `spread` times the null's deviation.

    `common` is a pull that all turns share along a direction drawn for each r.
    """
    generator = np.random.default_rng(seed)
    variance_n = generator.gamma(2.0, 1.5, size=n)
    nll_n = generator.uniform(0.2, 3.0, size=n)
    root = np.sqrt(variance_n)[:, None]
    score_nr = spread * root * generator.normal(size=(n, R)) + common * root * generator.normal(size=R)
    return nll_n, variance_n, score_nr, root * generator.normal(size=(n, R))


def add_up(nll_n: np.ndarray, score_nr: np.ndarray, null_nr: np.ndarray) -> RandomSums:
    sums = RandomSums(R)
    sums.add(nll_n, score_nr, null_nr)
    return sums


def test_the_pooled_z_of_own_samples_is_standard_normal() -> None:
    found = []
    for seed in range(400):
        _, variance_n, score_nr, _ = simulate(60, seed)
        z = pooled_z(score_nr[:, 0], variance_n)
        assert z is not None
        found.append(z)
    assert abs(np.mean(found)) < 0.15
    assert np.std(found) == pytest.approx(1.0, abs=0.1)


def test_a_set_without_variance_has_no_pooled_z_and_no_mean() -> None:
    assert pooled_z(np.zeros(3), np.zeros(3)) is None
    assert pooled_z(np.array([np.nan]), np.array([1.0])) is None
    assert EvidenceSums().mean_z is None
    assert RandomSums(R).band is None
    assert RandomSums(R).inflation is None
    assert RandomSums(R).inflation_by_loss() == []


def test_sums_do_not_depend_on_how_turns_were_cut() -> None:
    nll_n, variance_n, score_nr, null_nr = simulate(999, 1)
    z_n = np.where(np.arange(999) % 7 == 0, np.nan, score_nr[:, 0] / np.sqrt(variance_n))
    whole, cut = EvidenceSums(), EvidenceSums()
    whole.add(score_nr[:, 0], variance_n, z_n)
    pieces = RandomSums(R)
    for rows in np.array_split(np.arange(999), 13):
        cut.add(score_nr[rows, 0], variance_n[rows], z_n[rows])
        pieces.add(nll_n[rows], score_nr[rows], null_nr[rows])
    assert cut.pooled_z == pytest.approx(whole.pooled_z, rel=1e-12)
    known = z_n[np.isfinite(z_n)]
    assert cut.mean_z is not None
    assert (cut.mean_z.mean, cut.mean_z.sd) == pytest.approx((known.mean(), known.std(ddof=1)), rel=1e-9)
    half = 1.959964 * known.std(ddof=1) / math.sqrt(len(known))
    assert cut.mean_z.high - cut.mean_z.mean == pytest.approx(half, rel=1e-9)
    together = add_up(nll_n, score_nr, null_nr)
    assert pieces.z_r == pytest.approx(together.z_r, rel=1e-12)
    assert pieces.z_r == pytest.approx(score_nr.sum(axis=0) / np.sqrt((null_nr**2).sum(axis=0)), rel=1e-9)
    assert [each.inflation for each in pieces.inflation_by_loss()] == pytest.approx(
        [each.inflation for each in together.inflation_by_loss()], rel=1e-12
    )


def test_a_turn_that_is_not_finite_is_left_out() -> None:
    nll_n, _, score_nr, null_nr = simulate(100, 2)
    broken_nr = score_nr.copy()
    broken_nr[3, 5], null_nr[8, 1] = np.nan, np.inf
    kept = [row for row in range(100) if row not in (3, 8)]
    assert add_up(nll_n, broken_nr, null_nr).z_r == pytest.approx(
        add_up(nll_n[kept], score_nr[kept], null_nr[kept]).z_r, rel=1e-12
    )


@pytest.mark.parametrize("common", [0.0, 0.5])
def test_a_fresh_direction_lies_in_the_band_in_39_of_40_cases(common: float) -> None:
    inside = []
    for seed in range(300):
        nll_n, variance_n, score_nr, null_nr = simulate(80, 1_000 + seed, common=common)
        generator = np.random.default_rng(9_000 + seed)
        root = np.sqrt(variance_n)
        own = root * generator.normal(size=80) + common * root * generator.normal()
        z, band = pooled_z(own, variance_n), add_up(nll_n, score_nr, null_nr).band
        assert z is not None
        assert band is not None
        inside.append(z <= band)
    # 300 draws of a chance of .975 have a standard deviation of .009; noise alone also has the floor.
    assert 0.95 <= np.mean(inside) <= 0.9975


def test_the_band_is_never_narrower_than_noise_and_grows_with_what_random_directions_show() -> None:
    assert random_band(np.zeros(R)) == pytest.approx(1.959964, abs=1e-5)
    assert random_band(np.full(R, 10.0)) == pytest.approx(20.369, abs=0.01)
    assert random_band(-np.full(R, 10.0)) == random_band(np.full(R, 10.0))


@pytest.mark.parametrize(("freedom", "expected"), [(8, 2.3060), (20, 2.0860), (32, 2.0369), (1_000, 1.9623)])
def test_quantiles_of_student_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(expected, abs=1e-3)


def test_the_inflation_of_rows_is_the_variance_of_their_z() -> None:
    assert add_up(*(simulate(2_000, 3)[place] for place in (0, 2, 3))).inflation == pytest.approx(1.0, abs=0.05)
    nll_n, _, score_nr, null_nr = simulate(2_000, 4, spread=1.5)
    assert add_up(nll_n, score_nr, null_nr).inflation == pytest.approx(2.25, rel=0.05)


def test_what_grows_with_the_loss_is_found_and_taken_out() -> None:
    nll_n, variance_n, score_nr, null_nr = simulate(4_000, 5)
    truth_n = 1.0 + nll_n**2
    score_nr = score_nr * np.sqrt(truth_n)[:, None]
    bins = add_up(nll_n, score_nr, null_nr).inflation_by_loss()
    assert len(bins) == 10
    assert sum(own.n for own in bins) == 4_000
    assert max(own.n for own in bins) < 1.2 * min(own.n for own in bins)
    assert [own.inflation for own in bins] == sorted(own.inflation for own in bins)
    lambda_n = interpolate_inflation(bins, nll_n)
    assert np.median(np.abs(lambda_n / truth_n - 1)) < 0.1
    z_n = score_nr[:, 0] / np.sqrt(variance_n)
    unlikely_n = nll_n > 2.0
    assert z_n[unlikely_n].std() / z_n[~unlikely_n].std() > 1.5
    adjusted_n = z_n / np.sqrt(lambda_n)
    assert adjusted_n[unlikely_n].std() / adjusted_n[~unlikely_n].std() == pytest.approx(1.0, abs=0.1)


def test_few_turns_and_turns_without_a_loss_still_have_a_table() -> None:
    nll_n, _, score_nr, null_nr = simulate(120, 6)
    nll_n[:10] = np.nan
    bins = add_up(nll_n, score_nr, null_nr).inflation_by_loss()
    assert [len(bins), sum(own.n for own in bins)] == [2, 110]
    assert np.isnan(interpolate_inflation(bins, np.array([np.nan]))).all()
    assert np.isnan(interpolate_inflation([], np.array([1.0]))).all()
    table = [InflationBin(1.0, 5, 2.0), InflationBin(2.0, 5, 4.0)]
    assert interpolate_inflation(table, np.array([0.0, 1.5, 9.0])).tolist() == [2.0, 3.0, 4.0]


def test_rising_fits_pool_what_falls() -> None:
    assert fit_rising(np.array([1.0, 3.0, 2.0, 4.0]), np.array([1.0, 1.0, 3.0, 1.0])).tolist() == [1.0, 2.25, 2.25, 4.0]
    assert fit_rising(np.array([3.0, 2.0, 1.0]), np.ones(3)).tolist() == [2.0, 2.0, 2.0]
