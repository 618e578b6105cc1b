"""How far the distribution of a trait's scores moved from one run to the other, and whether that is more than noise.

Shift of the mean with an interval, and Kolmogorov-Smirnov distance. Records that are in both runs vary together: the
variance of the shift is s_a²/n_a + s_b²/n_b - 2 n_ab c_ab/(n_a n_b), with c_ab their covariance. Over the same records
that is the paired interval, without common ones Welch's; a set with a few more rows has little to be wrong about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from audit.compare.moves import Scale
from audit.score import ks_critical, ks_distance, ks_p, ks_spread

MIN_DRIFT_ROWS = 20
"""Fewer scores than this in a run say nothing of a drift."""

DRIFT_LEVEL = 0.01
"""Chance that two sets of the same kind are said to differ, over all traits and both tests of each (Bonferroni)."""

NOTHING: Mapping[str, Any] = dict.fromkeys(
    (
        "n_scored_a",
        "n_scored_b",
        "mean_a",
        "mean_b",
        "sd_a",
        "sd_b",
        "shift",
        "ci_low",
        "ci_high",
        "drift",
        "shift_in_both",
        "ks",
        "ks_critical",
        "ks_p",
        "has_drifted",
    )
)
"""The values of a trait whose scores cannot be compared."""

_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Spread:
    """Number, mean and standard deviation of a run's values; the last two 0 where there are none."""

    n: int
    mean: float
    sd: float


def measure_spread(connection: duckdb.DuckDBPyConnection, run: str, trait: str, scale: Scale) -> Spread:
    """Measure the values of one run."""
    n, mean, sd = connection.execute(
        f"SELECT count(value), avg(value::DOUBLE), stddev_samp(value::DOUBLE) FROM ({scale.select(run, trait)})"
    ).fetchone() or (0, None, None)
    return Spread(n, mean or 0.0, sd or 0.0)


def measure_drift(
    connection: duckdb.DuckDBPyConnection,
    trait: str,
    scale: Scale,
    spreads: tuple[Spread, Spread],
    *,
    is_matched: bool,
    n_traits: int,
) -> dict[str, Any]:
    """Return the drift of one trait; what is known of records in both comes from the table `moves`, if it `is_matched`.

    `drift` is the shift in pooled standard deviations (Cohen's d); null where nothing varies but the mean moved.
    """
    a, b = spreads
    values: dict[str, Any] = {**NOTHING, "n_scored_a": a.n, "n_scored_b": b.n}
    if a.n == 0 or b.n == 0:
        return values
    values |= {"mean_a": a.mean, "mean_b": b.mean, "sd_a": a.sd, "sd_b": b.sd}
    n_both, covariance, n_same, shift_in_both = _measure_common(connection) if is_matched else (0, 0.0, 0, None)
    shift = b.mean - a.mean
    distance, spread = _measure_ks(connection, trait, scale), ks_spread(a.n, b.n, n_same)
    p = ks_p(distance, spread)
    values |= {"shift": shift, "shift_in_both": shift_in_both, "ks": distance, "ks_critical": ks_critical(spread)}
    values |= {"ks_p": p, "drift": _effect(shift, a, b)}
    if n_same == a.n == b.n:
        return values | {"ci_low": 0.0, "ci_high": 0.0, "shift": 0.0, "drift": 0.0, "has_drifted": False}
    if min(a.n, b.n) < 2:
        return values
    error = shift_error(a, b, n_both=n_both, covariance=covariance)
    values |= {"ci_low": shift - _Z95 * error, "ci_high": shift + _Z95 * error}
    if min(a.n, b.n) >= MIN_DRIFT_ROWS:
        level = DRIFT_LEVEL / (2 * n_traits)
        least = NormalDist().inv_cdf(1 - level / 2) * error
        values["has_drifted"] = bool(abs(shift) > max(least, 1e-6 * abs(a.mean)) or p < level)
    return values


def shift_error(a: Spread, b: Spread, *, n_both: int, covariance: float) -> float:
    """Return the standard error of the difference of two means, of whose values `n_both` belong together."""
    # What rounding leaves of a variance can be below 0.
    variance = a.sd**2 / a.n + b.sd**2 / b.n - 2 * n_both * covariance / (a.n * b.n)
    return math.sqrt(max(variance, 0.0))


def _effect(shift: float, a: Spread, b: Spread) -> float | None:
    degrees = a.n + b.n - 2
    pooled = math.sqrt(((a.n - 1) * a.sd**2 + (b.n - 1) * b.sd**2) / degrees) if degrees > 0 else 0.0
    if pooled > 0:
        return shift / pooled
    return 0.0 if shift == 0 else None


def _measure_common(connection: duckdb.DuckDBPyConnection) -> tuple[int, float, int, float | None]:
    n, covariance, n_same, shift = connection.execute(
        """SELECT count(*), covar_samp(value_b::DOUBLE, value_a::DOUBLE), count(*) FILTER (value_a = value_b),
                avg(value_b::DOUBLE - value_a)
            FROM moves WHERE value_a IS NOT NULL AND value_b IS NOT NULL"""
    ).fetchone() or (0, None, 0, None)
    return n, covariance or 0.0, n_same, shift


def _measure_ks(connection: duckdb.DuckDBPyConnection, trait: str, scale: Scale) -> float:
    a, b = (_read_values(connection, run, trait, scale) for run in "ab")
    return ks_distance(a, b)


def _read_values(connection: duckdb.DuckDBPyConnection, run: str, trait: str, scale: Scale) -> NDArray[np.float32]:
    found = connection.execute(f"SELECT value::FLOAT AS value FROM ({scale.select(run, trait)})").fetchnumpy()
    return np.asarray(np.ma.filled(found["value"], np.nan), dtype=np.float32)
