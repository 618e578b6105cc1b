"""How unusual a score is among clean ones: p-values by rank, beyond the last ten by a fitted tail; pure functions.

Ranks alone cannot go below 1/(m + 1), so that a few bad rows among thousands could never be told from chance. Beyond
the tenth largest clean score the tail is that of a generalised Pareto distribution, fitted to the largest tenth by
probability-weighted moments (Hosking and Wallis 1987), heavier than an exponential one by a standard error at least.

Axes: n value, m clean score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.score import exceedance_p

Floats = NDArray[np.float32] | NDArray[np.float64]

TAIL_SHARE = 0.1
"""Share of the clean scores that the tail is fitted to."""

MIN_TAIL = 50
"""Fewer scores than this in the tail fit nothing: ranks are all there is."""

RANKED = 10
RANKED_SHARE = 0.01
"""Where so many clean scores, or this share of them, are at or above a value, its rank is its p-value: how many values
have a p-value of at most .01 is counted against that (`surplus`), and no tail must add to them."""

_HEAVIEST = 0.9
"""From a shape of 1 on a tail has no mean, which is what it is fitted by."""


@dataclass(frozen=True, slots=True)
class Tail:
    """P(score > x) = share · (1 + shape · (x - start) / scale)^(-1/shape) beyond `start`; exponential at shape 0."""

    start: float
    share: float
    shape: float
    scale: float

    def exceedance(self, values_n: Floats) -> NDArray[np.float64]:
        """Return P(clean > value) beyond the start, its value at the start below."""
        over = np.maximum(np.asarray(values_n, dtype=np.float64) - self.start, 0.0) / self.scale
        if self.shape < 1e-6:
            return np.asarray(self.share * np.exp(-over))
        return np.asarray(self.share * np.exp(-np.log1p(self.shape * over) / self.shape))


def fit_tail(clean_sorted: Floats) -> Tail | None:
    """Fit the tail of sorted clean scores; None where there are too few, or too many alike."""
    clean = np.asarray(clean_sorted, dtype=np.float64)
    n_tail = int(clean.size * TAIL_SHARE)
    if n_tail < MIN_TAIL:
        return None
    start = float(clean[-n_tail - 1])
    excess = clean[-n_tail:] - start
    mean = float(excess.mean())
    weighted = float((excess * np.arange(n_tail - 1, -1, -1)).mean() / (n_tail - 1))
    if mean <= 0 or mean - 2 * weighted <= 0:
        return None
    # A tail that ends would call a score just beyond its end impossible; and what a few scores tell of the shape is
    # uncertain, so that it is taken a standard error heavier.
    shape = max(2 - mean / (mean - 2 * weighted), 0.0)
    shape = min(shape + (1 + shape) / math.sqrt(n_tail), _HEAVIEST)
    return Tail(start, n_tail / clean.size, shape, mean * (1 - shape))


def clean_p(values_n: Floats, clean_sorted: Floats) -> NDArray[np.float64]:
    """Return P(clean ≥ value) for each value among sorted clean scores, by rank or by the tail; never zero.

    NaN stays NaN.
    """
    values = np.asarray(values_n, dtype=np.float64)
    clean = np.asarray(clean_sorted, dtype=np.float64)
    p = exceedance_p(values, clean)
    tail = fit_tail(clean)
    if tail is not None:
        n_ranked = min(RANKED, int(RANKED_SHARE * (clean.size + 1) + 1e-9))
        is_beyond = p < (n_ranked + 0.5) / (clean.size + 1)
        beyond = np.maximum(tail.exceedance(values[is_beyond]), np.finfo(np.float64).tiny)
        # A rank holds whatever the distribution: a tail that was taken too heavy must not take from it.
        p[is_beyond] = np.minimum(p[is_beyond], beyond)
    p[np.isnan(values)] = np.nan
    return p


def any_of(p_n: Floats, n_tests: NDArray[np.integer] | int) -> NDArray[np.float64]:
    """Return P(the smallest of so many independent p-values is at most p): 1 - (1 - p)^n (Šidák 1967).

    Turns of one conversation, and traits of one turn, go together: then it is an upper bound.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(n_tests * np.log1p(-np.asarray(p_n, dtype=np.float64))))


def one_of(p: float, n_tests: int) -> float:
    """Return the p-value of one test whose smallest among `n_tests` is p; the inverse of `any_of`."""
    return -math.expm1(math.log1p(-p) / n_tests) if p < 1 else 1.0
