"""How well a score finds the rows that labels mark: areas, precisions and shares, each with its 95 % interval.

Pure functions on arrays: scores [n] and labels [n]. A value that cannot be told is None, never NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.score import rank_auc

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; without one where there is too little to tell how sure it is."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `n` with Wilson's 95 % interval; all None where n is 0. `hits` may be an expected number."""

    hits: float
    n: int
    value: float | None
    low: float | None
    high: float | None


def wilson_share(hits: float, n: int) -> Share:
    """Return a share with Wilson's interval, which is never empty and never leaves 0 to 1."""
    if n == 0:
        return Share(hits, 0, None, None, None)
    share = hits / n
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Share(hits, n, share, max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0))


def estimate_auc(scores_n: Floats, labels_n: Bools) -> Estimate | None:
    """Return the area under the ROC curve with DeLong's interval; None without a positive or without a negative.

    The interval is taken on the scale of the logit, which keeps it inside 0 to 1 and covers better near them. Where
    positives and negatives are fully parted DeLong's variance is 0; then the bound is Wilson's for as many tries as the
    rarer kind has rows. With one row of a kind there is no interval.

    Source: DeLong, DeLong and Clarke-Pearson 1988, computed from ranks (Sun and Xu 2014).
    """
    scores, labels = np.asarray(scores_n, dtype=np.float64), np.asarray(labels_n, dtype=bool)
    positives, negatives = scores[labels], scores[~labels]
    if not positives.size or not negatives.size:
        return None
    auc = rank_auc(scores, labels)
    if min(positives.size, negatives.size) < 2:
        return Estimate(auc, None, None)
    # Of each row the share of the other kind that it is ranked right against.
    above_p = _share_below(positives, negatives)
    below_n = 1.0 - _share_below(negatives, positives)
    variance = above_p.var(ddof=1) / positives.size + below_n.var(ddof=1) / negatives.size
    if variance <= 0 or auc in (0.0, 1.0):
        bound = wilson_share(auc * (n := min(positives.size, negatives.size)), n)
        return Estimate(auc, bound.low, bound.high)
    half = _Z * math.sqrt(variance) / (auc * (1 - auc))
    logit = math.log(auc / (1 - auc))
    return Estimate(auc, _logistic(logit - half), _logistic(logit + half))


def average_precision(scores_n: Floats, labels_n: Bools) -> float | None:
    """Return the area under the precision-recall curve as a sum of steps; rows of one score enter together."""
    scores, labels = np.asarray(scores_n, dtype=np.float64), np.asarray(labels_n, dtype=bool)
    if not labels.any():
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), scores.size - 1)
    found = np.cumsum(labels[order])[last]
    precision = found / (last + 1)
    return float(np.sum(np.diff(found, prepend=0) * precision) / labels.sum())


def precision_at(scores_n: Floats, labels_n: Bools, k: int) -> Share | None:
    """Return the share of positives among the k highest scores; None where there are fewer than k rows.

    Of rows with the same score that only partly fit in, as many count as chance would take.
    """
    scores, labels = np.asarray(scores_n, dtype=np.float64), np.asarray(labels_n, dtype=bool)
    if k > scores.size:
        return None
    bound = np.partition(scores, scores.size - k)[scores.size - k]
    above, tied = scores > bound, scores == bound
    room = k - int(above.sum())
    hits = float(labels[above].sum()) + room * float(labels[tied].mean())
    return wilson_share(hits, k)


def cohens_kappa(one_n: Bools, other_n: Bools) -> float | None:
    """Return how far two verdicts agree beyond chance; None where both are the same for all rows."""
    one, other = np.asarray(one_n, dtype=bool), np.asarray(other_n, dtype=bool)
    if not one.size:
        return None
    expected = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    return None if expected >= 1 else float(((one == other).mean() - expected) / (1 - expected))


def _share_below(values: Floats, others: Floats) -> Floats:
    """Return the share of `others` below each value, ties counted half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(below / (2.0 * ordered.size), dtype=np.float64)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value >= 0 else math.exp(value) / (1.0 + math.exp(value))
