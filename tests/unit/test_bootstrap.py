"""Bootstrap intervals: coverage on skewed data, agreement with drawing values one by one, and what cannot be drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from audit.bootstrap import MAX_BINS, d_interval, resample, welch_shift
from audit.score import Interval

Draw = Callable[[np.random.Generator, int], np.ndarray]

SKEWED: dict[str, tuple[Draw, float, float]] = {
    "normal": (lambda draw, n: draw.normal(size=n), 0.0, 1.0),
    "exponential": (lambda draw, n: draw.exponential(size=n), 1.0, 1.0),
    "a tenth apart": (
        lambda draw, n: np.where(draw.random(n) < 0.1, draw.normal(4, 1, n), draw.normal(0, 1, n)),
        0.4,
        float(np.sqrt(1 + 0.09 * 16)),
    ),
}


@pytest.mark.parametrize("n", [20, 100, 1000])
@pytest.mark.parametrize("name", SKEWED)
def test_intervals_of_the_mean_cover_what_they_promise_on_skewed_data(name: str, n: int) -> None:
    draw, mean, _ = SKEWED[name]
    covered = 0
    for seed in range(500):
        found = resample(draw(np.random.default_rng([5, n, seed]), n))
        assert found is not None
        covered += found.interval.low <= mean <= found.interval.high
    # Of 500 draws the standard error is 1 point. The percentile interval covers 90 for an exponential at n = 20.
    assert 0.92 <= covered / 500 <= 0.98


@pytest.mark.parametrize("d", [0.5, 1.5])
@pytest.mark.parametrize("n", [20, 1000])
def test_intervals_of_d_cover_it_on_skewed_data_however_large_it_is(n: int, d: float) -> None:
    draw, mean, sd = SKEWED["exponential"]
    n_clean, covered = 5_000, 0
    scale = 1.5 if d > 1 else 1.0
    pooled = np.sqrt(((n - 1) * (scale * sd) ** 2 + (n_clean - 1) * sd**2) / (n + n_clean - 2))
    true = ((scale - 1) * mean + d * sd) / pooled
    for seed in range(500):
        generator = np.random.default_rng([4, seed])
        own, clean = scale * draw(generator, n) + d * sd, draw(generator, n_clean)
        found = resample(own)
        assert found is not None
        interval = d_interval(found.shift_from(Interval(clean.mean(), 0.0, 0.0, clean.std(ddof=1), n_clean)))
        assert interval is not None
        assert interval[1] < interval[0] < interval[2]
        covered += interval[1] <= true <= interval[2]
    assert 0.91 <= covered / 500 <= 0.98


def plain_bootstrap(values: np.ndarray, n_draws: int, seed: int) -> tuple[float, float]:
    """The definition: draw n values with replacement, take t, turn its quantiles around."""
    generator = np.random.default_rng(seed)
    n, mean, error = len(values), values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    t = []
    for _ in range(n_draws):
        drawn = values[generator.integers(0, n, n)]
        t.append((drawn.mean() - mean) / (drawn.std(ddof=1) / np.sqrt(n)))
    low, high = np.quantile(t, [0.025, 0.975])
    return mean - high * error, mean - low * error


@pytest.mark.parametrize("n", [50, MAX_BINS + 1, 3_017])
def test_counts_of_bins_give_what_drawing_values_one_by_one_gives(n: int) -> None:
    values = np.random.default_rng(n).lognormal(0, 1, n)
    found = resample(values)
    assert found is not None
    low, high = plain_bootstrap(values, 4_000, 1)
    width = high - low
    # Quantiles of so few draws are known to about three percent of the width.
    assert found.interval.low == pytest.approx(low, abs=0.07 * width)
    assert found.interval.high == pytest.approx(high, abs=0.07 * width)
    assert found.interval.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.interval.sd == pytest.approx(values.std(ddof=1), rel=1e-9)


def test_a_skewed_sample_has_a_longer_upper_half() -> None:
    found = resample(np.random.default_rng(0).exponential(size=40))
    assert found is not None
    assert found.interval.high - found.mean > 1.2 * (found.mean - found.interval.low)


def test_the_same_values_give_the_same_interval_in_any_order() -> None:
    values = np.random.default_rng(0).normal(size=1234)
    one, other = resample(values), resample(values[::-1])
    assert one is not None
    assert other is not None
    assert one.interval == other.interval


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_values_have_no_interval(values: list[float]) -> None:
    assert resample(np.array(values)) is None


@pytest.mark.parametrize("n", [2, 20, 5_000])
def test_a_constant_has_an_interval_of_no_width_and_no_d(n: int) -> None:
    found = resample(np.full(n, 0.1))
    assert found is not None
    assert (found.interval.low, found.interval.high, found.interval.sd) == (0.1, 0.1, 0.0)
    assert d_interval(found.shift_from(Interval(0.0, 0.0, 0.0, 0.0, 500))) is None
    wide = d_interval(found.shift_from(Interval(0.0, 0.0, 0.0, 1.0, 500)))
    assert wide is not None
    assert wide[1] < 0.1 < wide[2]


@pytest.mark.parametrize(
    ("values", "quantile"),
    [([1.0, 2.0], 12.706), ([1.0, 2.0, 4.0], 4.303), ([0.0] * 8 + [1.0], 2.306), ([0.0] * 19 + [1.0], 2.093)],
)
def test_what_cannot_be_drawn_from_has_students_interval(values: list[float], quantile: float) -> None:
    found = resample(np.array(values))
    assert found is not None
    half = quantile * np.std(values, ddof=1) / np.sqrt(len(values))
    assert found.interval.high - found.mean == pytest.approx(half, rel=1e-3)
    assert found.mean - found.interval.low == pytest.approx(half, rel=1e-3)


def test_one_outlier_among_a_thousand_ties_gives_finite_bounds() -> None:
    values = np.zeros(1000)
    values[0] = 1e6
    found = resample(values)
    assert found is not None
    assert np.isfinite([found.interval.low, found.interval.high]).all()
    assert found.interval.low < found.mean < found.interval.high


def test_an_estimated_mean_keeps_its_own_error() -> None:
    shift = welch_shift(Interval(1.0, 0.0, 0.0, 2.0, 400, error=0.3), Interval(0.5, 0.0, 0.0, 2.0, 100))
    assert shift.mean == 0.5
    assert shift.high - shift.mean == pytest.approx(1.959964 * np.hypot(0.3, 0.2))
    assert d_interval(shift) == pytest.approx((0.25, shift.low / 2, shift.high / 2))
