"""Projections, differences and their statistics: pure functions on arrays, no files, no models.

Axes: n sample, d hidden, k trait. All sums run in float64; what is stored is float32.
Source of the definitions: arXiv 2507.21509, sections 3 and 6.1 and appendix K.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.schema import DIFFERENCE_DIMENSIONS

Floats = NDArray[np.float32] | NDArray[np.float64]

FLAG_PERCENTILE = 95.0
"""Threshold of appendix K: the 95th percentile of a clean reference."""

SMALL_EFFECT_D = 0.2
"""Cohen's own name for a d of .2 is small; below it single samples cannot be told apart."""

_KS_PIECE = 1 << 20


def reduction_matrix(d_hidden: int) -> NDArray[np.float32]:
    """Return the [d, r] matrix that difference vectors are stored through, r at most 256; the same in every run.

    A Gaussian random projection keeps distances (Johnson-Lindenstrauss); differences of narrower models stay as they
    are, r = d.
    """
    if d_hidden <= DIFFERENCE_DIMENSIONS:
        return np.eye(d_hidden, dtype=np.float32)
    gaussian = np.random.default_rng([0, d_hidden]).standard_normal((d_hidden, DIFFERENCE_DIMENSIONS))
    return np.asarray(gaussian / np.sqrt(DIFFERENCE_DIMENSIONS), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % interval, normal approximation with the sample's own standard error."""

    mean: float
    low: float
    high: float
    sd: float
    n: int
    error: float | None = None
    """Standard error of a mean that was not taken over all n values."""

    @property
    def standard_error(self) -> float:
        """Standard error of the mean."""
        if self.error is not None:
            return self.error
        return self.sd / float(np.sqrt(self.n)) if self.n else float("nan")


def mean_interval(values_n: Floats) -> Interval | None:
    """Return mean and 95 % interval of finite values; None for fewer than two."""
    values = np.asarray(values_n, dtype=np.float64)
    if values.size < 2:
        return None
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = 1.959964 * sd / float(np.sqrt(values.size))
    return Interval(mean, mean - half, mean + half, sd, int(values.size))


def shift_interval(sample: Interval, reference: Interval) -> Interval:
    """Return the difference of two means (sample minus reference) with Welch's 95 % interval."""
    shift = sample.mean - reference.mean
    half = 1.959964 * float(np.hypot(sample.standard_error, reference.standard_error))
    return Interval(shift, shift - half, shift + half, pooled_sd(sample, reference), sample.n)


def pooled_sd(one: Interval, other: Interval) -> float:
    """Return the pooled standard deviation of two samples."""
    weight = (one.n - 1) * one.sd**2 + (other.n - 1) * other.sd**2
    return float(np.sqrt(weight / (one.n + other.n - 2)))


def cohens_d(sample: Interval, reference: Interval) -> float | None:
    """Return the shift in pooled standard deviations; None where nothing varies."""
    sd = pooled_sd(sample, reference)
    return (sample.mean - reference.mean) / sd if sd > 0 else None


def exceedance_p(values_n: Floats, reference_sorted: Floats) -> NDArray[np.float64]:
    """Return P(clean ≥ value) for each value, by rank in a sorted clean reference of size m.

    (1 + #{clean ≥ value}) / (m + 1): exact for exchangeable data and never zero.
    """
    reference = np.asarray(reference_sorted, dtype=np.float64)
    at_least = reference.size - np.searchsorted(reference, np.asarray(values_n, dtype=np.float64), side="left")
    return np.asarray((1.0 + at_least) / (reference.size + 1.0), dtype=np.float64)


def percentile_of(values_n: Floats, reference_sorted: Floats) -> NDArray[np.float64]:
    """Return the share of the reference at or below each value, in percent."""
    reference = np.asarray(reference_sorted, dtype=np.float64)
    below = np.searchsorted(reference, np.asarray(values_n, dtype=np.float64), side="right")
    return np.asarray(100.0 * below / reference.size, dtype=np.float64)


def benjamini_hochberg(p_n: Floats) -> NDArray[np.float64]:
    """Return q-values (Benjamini and Hochberg 1995): the smallest false discovery rate at which each is kept."""
    p = np.asarray(p_n, dtype=np.float64)
    if p.size == 0:
        return p.copy()
    order = np.argsort(p)
    # In place, as there may be ten million.
    scaled = p[order]
    scaled *= p.size
    scaled /= np.arange(1, p.size + 1)
    np.minimum.accumulate(scaled[::-1], out=scaled[::-1])
    q = np.empty_like(p)
    q[order] = np.minimum(scaled, 1.0, out=scaled)
    return q


def rank_auc(scores_n: Floats, labels_n: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve: P(a positive scores above a negative), ties counted half."""
    scores, labels = np.asarray(scores_n, dtype=np.float64), np.asarray(labels_n, dtype=bool)
    n_positive, n_negative = int(labels.sum()), int((~labels).sum())
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    return float((midranks(scores)[labels].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def midranks(values_n: Floats) -> NDArray[np.float64]:
    """Return ranks from 1, ties at their mean."""
    _, inverse, counts = np.unique(np.asarray(values_n, dtype=np.float64), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2.0)[inverse], dtype=np.float64)


def ks_distance(a_n: Floats, b_n: Floats) -> float:
    """Return the largest distance between two empirical distribution functions (Kolmogorov-Smirnov), 0 to 1.

    NaN where one has no values. Both distribution functions count ties at once, so discrete scores are no exception.
    """
    a, b = np.sort(np.asarray(a_n)), np.sort(np.asarray(b_n))
    if a.size == 0 or b.size == 0:
        return float("nan")
    largest = 0.0
    # A piece at a time, as there may be ten million of each.
    for places in (a, b):
        for start in range(0, places.size, _KS_PIECE):
            piece = places[start : start + _KS_PIECE]
            share_a = np.searchsorted(a, piece, side="right") / a.size
            share_b = np.searchsorted(b, piece, side="right") / b.size
            largest = max(largest, float(np.abs(share_a - share_b).max()))
    return largest


def ks_spread(n_a: int, n_b: int, n_same: int = 0) -> float:
    """Return what √n is to one sample: √(1/n_a + 1/n_b - 2 n_same/(n_a n_b)), for the distance of two.

    `n_same` values are in both samples, and cannot part them: the difference of the two distribution functions is then
    a Brownian bridge scaled by this, as the weights of all values, squared, sum to its square. 0 for equal samples.
    """
    return float(np.sqrt(max(1 / n_a + 1 / n_b - 2 * n_same / (n_a * n_b), 0.0)))


def ks_p(distance: float, spread: float) -> float:
    """Return the chance of a distance as large or larger between samples of one distribution (Kolmogorov's series).

    Exact for many continuous values, with the correction of Stephens (1970) for few; with ties it is too large, which
    is the safe side. `spread` is that of `ks_spread`.
    """
    if distance <= 0 or spread <= 0:
        return 1.0
    x = distance * (1 / spread + 0.12 + 0.11 * spread)
    if x < 0.2:
        # The series does not converge there, and the chance of less is below 1e-12.
        return 1.0
    k = np.arange(1, 101, dtype=np.float64)
    return float(np.clip(2 * np.sum((-1.0) ** (k - 1) * np.exp(-2 * k**2 * x**2)), 0.0, 1.0))


def ks_critical(spread: float) -> float:
    """Return the distance that samples of one distribution exceed in 5 % of the cases; inverse of `ks_p`."""
    return 1.3581015 / (1 / spread + 0.12 + 0.11 * spread) if spread > 0 else 0.0


def correlation(a_n: Floats, b_n: Floats) -> float | None:
    """Return Pearson's r over pairs that are both finite; None for fewer than three or where one is constant."""
    a, b = np.asarray(a_n, dtype=np.float64), np.asarray(b_n, dtype=np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    if a.size < 3 or a.std() == 0 or b.std() == 0:
        return None
    return float(np.clip(np.corrcoef(a, b)[0, 1], -1.0, 1.0))
