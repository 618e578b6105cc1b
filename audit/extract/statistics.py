"""Statistics of a direction on arrays: differences of means, separation and what chance would give.

Axes: n rollouts, i pairs of rollouts, q questions, b repetitions, d hidden. Nothing here reads files or models.

Source: arXiv 2507.21509, section 2.2 (difference of means); the intervals and null bands are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[np.floating]

N_BOOTSTRAP = 400
N_NULL = 100
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Separation:
    """How well one direction tells positive from negative answers, at one layer.

    Attributes:
        auc: chance that a positive answer lies higher than a negative one, ties half.
        low, high: 95 % bootstrap interval; questions are drawn anew, with all of their answers.
        random_band: what 95 % of random directions stay below, whichever way round they are taken.
        shuffled_band: what 95 % of vectors stay below that are made and tried with shuffled labels.
    """

    auc: float
    low: float
    high: float
    random_band: float
    shuffled_band: float

    @property
    def null_band(self) -> float:
        """What chance alone reaches."""
        return max(self.random_band, self.shuffled_band)

    @property
    def is_above_chance(self) -> bool:
        """Whether the separation is more than chance gives: above the null band, and its interval above one half."""
        return self.auc > self.null_band and self.low > 0.5


def measure_auc(score_n: Array, is_positive_n: npt.NDArray[np.bool_], weight_bn: npt.ArrayLike | None = None) -> Floats:
    """Return the AUC of scores for labels, for every row of weights [b]; NaN where a side has no weight.

    Args:
        weight_bn: how often each answer counts; None: once, and b is 1.
    """
    weights = np.ones((1, len(score_n))) if weight_bn is None else np.asarray(weight_bn, dtype=np.float64)
    order = np.argsort(score_n, kind="stable")
    own_n, positive_n = np.asarray(score_n)[order], is_positive_n[order]
    plus_bn = np.where(positive_n, weights[:, order], 0.0)
    minus_bn = np.where(positive_n, 0.0, weights[:, order])
    # Ties count half: with the weight of lower scores and half the weight of equal ones.
    starts = np.flatnonzero(np.r_[True, own_n[1:] != own_n[:-1]])
    plus_bg = np.add.reduceat(plus_bn, starts, axis=1)
    minus_bg = np.add.reduceat(minus_bn, starts, axis=1)
    below_bg = np.cumsum(minus_bg, axis=1) - minus_bg
    total_b = plus_bg.sum(axis=1) * minus_bg.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (plus_bg * (below_bg + minus_bg / 2)).sum(axis=1) / total_b
    return found


def measure_interval(
    score_n: Array, is_positive_n: npt.NDArray[np.bool_], question_n: npt.NDArray[np.int64], *, seed: int
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the AUC over questions; NaN where fewer than two have answers."""
    auc_b = bootstrap_auc(score_n, is_positive_n, question_n, seed=seed)
    auc_b = auc_b[np.isfinite(auc_b)]
    if not auc_b.size:
        return float("nan"), float("nan")
    low, high = np.quantile(auc_b, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def bootstrap_auc(
    score_n: Array, is_positive_n: npt.NDArray[np.bool_], question_n: npt.NDArray[np.int64], *, seed: int
) -> Floats:
    """Return the AUC for every drawing of questions, [b]; NaN where fewer than two have answers.

    One seed draws the same questions for any scores, so that those of two layers can be compared draw by draw.
    """
    questions, own_n = np.unique(question_n, return_inverse=True)
    if len(questions) < 2:
        return np.full(N_BOOTSTRAP, np.nan)
    draw = np.random.default_rng(seed)
    counts_bq = draw.multinomial(len(questions), np.full(len(questions), 1 / len(questions)), size=N_BOOTSTRAP)
    return measure_auc(score_n, is_positive_n, counts_bq[:, own_n])


def measure_random_band(state_nd: Array, is_positive_n: npt.NDArray[np.bool_], *, seed: int) -> float:
    """Return what 95 % of random directions stay below, each taken the better way round."""
    draw = np.random.default_rng(seed)
    random_db = draw.standard_normal((state_nd.shape[1], N_NULL), dtype=np.float32)
    score_nb = np.asarray(state_nd, dtype=np.float32) @ random_db
    auc_b = np.array([measure_auc(score_nb[:, b], is_positive_n)[0] for b in range(N_NULL)])
    return float(np.quantile(np.maximum(auc_b, 1 - auc_b), CONFIDENCE))


def measure_shuffled_band(
    shuffled_bd: Array, state_nd: Array, is_positive_n: npt.NDArray[np.bool_], *, seed: int
) -> float:
    """Return what 95 % of vectors stay below whose labels are shuffled, in what they are made of and tried on.

    Args:
        shuffled_bd: sums of the pairs' differences with signs drawn at random, one set of signs a row.
    """
    draw = np.random.default_rng(seed)
    score_nb = np.asarray(state_nd, dtype=np.float32) @ np.asarray(shuffled_bd, dtype=np.float32).T
    auc_b = np.array([measure_auc(score_nb[:, b], draw.permutation(is_positive_n))[0] for b in range(len(shuffled_bd))])
    return float(np.quantile(auc_b, CONFIDENCE))


def measure_separation(
    vector_d: Array,
    state_nd: Array,
    is_positive_n: npt.NDArray[np.bool_],
    question_n: npt.NDArray[np.int64],
    shuffled_bd: Array,
    *,
    seed: int,
) -> Separation:
    """Return how well a vector separates answers that it was not made of, beside what chance would give."""
    score_n = np.asarray(state_nd, dtype=np.float64) @ np.asarray(vector_d, dtype=np.float64)
    low, high = measure_interval(score_n, is_positive_n, question_n, seed=seed)
    return Separation(
        auc=float(measure_auc(score_n, is_positive_n)[0]),
        low=low,
        high=high,
        random_band=measure_random_band(state_nd, is_positive_n, seed=seed),
        shuffled_band=measure_shuffled_band(shuffled_bd, state_nd, is_positive_n, seed=seed),
    )


def cosine(one_d: Array, other_d: Array) -> float:
    """Return the cosine of two directions; NaN where one is zero."""
    a, b = np.asarray(one_d, dtype=np.float64), np.asarray(other_d, dtype=np.float64)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else float("nan")
