"""What evidence amounts to over many turns, held against chance: pure functions and running sums, no files, no models.

Evidence S of a turn has mean 0 and a known variance W under the model itself, so a set has an exact pooled Z. Text that
the model finds unlikely for any reason moves along random directions too; how far is measured here, as a band for the
pooled Z and as an inflation factor of row-wise z (an empirical null, Efron 2004), overall and by the response's loss.

Along a random direction W is estimated by the square of S~, the same sum over tokens that the model draws in the
response's place (mean 0, variance W, one draw). Squares of S~ are therefore summed, never divided by alone.

Sums run in the widest type, so that how rows were cut into parts does not show in what is printed.
Axes: n turn, r random direction, b step of loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.score import Interval

Floats = NDArray[np.float32] | NDArray[np.float64]

BAND_LEVEL = 0.975
"""Share of random directions that the band covers, on the side of the trait."""

N_INFLATION_BINS = 10
MIN_INFLATION_TURNS = 50
"""Turns that a bin of the table of inflation has at least: a ratio of two sums of squares over them and all random
directions is known to about a tenth."""

_NLL_STEP = 0.005
_N_STEPS = 4_096


def pooled_z(score_n: Floats, variance_n: Floats) -> float | None:
    """Return ΣS / √ΣW over turns that have both: N(0, 1) for the model's own samples; None without variance."""
    sums = EvidenceSums()
    sums.add(score_n, variance_n)
    return sums.pooled_z


def random_band(z_r: Floats) -> float:
    """Return how large the pooled Z of a set may be along a direction that means nothing (one-sided, 97.5 %).

    Random directions are symmetric around 0, so their spread is the root of their mean square, with one degree of
    freedom each; a fresh direction lies below Student's quantile times that. Noise alone has a spread of 1, so the band
    is never below the normal quantile.

    Args:
        z_r: pooled Z of the set along random directions.
    """
    spread = math.sqrt(float(np.mean(np.square(z_r, dtype=np.float64))))
    return max(student_quantile(BAND_LEVEL, len(z_r)) * spread, NormalDist().inv_cdf(BAND_LEVEL))


def student_quantile(p: float, freedom: int) -> float:
    """Return a quantile of Student's t, to .001 from eight degrees of freedom on.

    Source: the expansion in 1/freedom of Abramowitz and Stegun, 26.7.5.
    """
    x = NormalDist().inv_cdf(p)
    terms = (
        x,
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92_160,
    )
    return sum(term / float(freedom) ** place for place, term in enumerate(terms))


def fit_rising(values_b: NDArray[np.float64], weights_b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the closest sequence that never falls (weighted least squares; adjacent violators are pooled)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values_b.tolist(), weights_b.tolist(), strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (left, left_weight, left_n), (right, right_weight, right_n) = blocks[-2:]
            whole = left_weight + right_weight
            mean = (left * left_weight + right * right_weight) / whole if whole else left
            blocks[-2:] = [(mean, whole, left_n + right_n)]
    return np.repeat([value for value, _, _ in blocks], [n for _, _, n in blocks])


@dataclass(slots=True)
class EvidenceSums:
    """Sums of a trait's evidence over turns."""

    n: int = 0
    n_z: int = 0
    sum_score: Any = 0
    sum_variance: Any = 0
    sum_z: Any = 0
    square_z: Any = 0

    def add(self, score_n: Floats, variance_n: Floats, z_n: Floats | None = None) -> None:
        """Add turns; one without a score or a variance is left out, and one without z only of the mean z."""
        known_n = np.isfinite(score_n) & np.isfinite(variance_n)
        self.n += int(known_n.sum())
        self.sum_score += np.asarray(score_n, dtype=np.longdouble)[known_n].sum()
        self.sum_variance += np.asarray(variance_n, dtype=np.longdouble)[known_n].sum()
        if z_n is not None:
            z = np.asarray(z_n, dtype=np.longdouble)[known_n & np.isfinite(z_n)]
            self.n_z += len(z)
            self.sum_z += z.sum()
            self.square_z += (z**2).sum()

    @property
    def pooled_z(self) -> float | None:
        """ΣS / √ΣW."""
        return float(self.sum_score / np.sqrt(self.sum_variance)) if self.sum_variance > 0 else None

    @property
    def mean_z(self) -> Interval | None:
        """Mean z with its 95 % interval; None for fewer than two."""
        if self.n_z < 2:
            return None
        mean = self.sum_z / self.n_z
        sd = float(np.sqrt(max(self.square_z - self.n_z * mean**2, 0.0) / (self.n_z - 1)))
        half = 1.959964 * sd / math.sqrt(self.n_z)
        return Interval(float(mean), float(mean) - half, float(mean) + half, sd, self.n_z)


@dataclass(frozen=True, slots=True)
class TraitEvidence:
    """What evidence says of a set for one trait.

    Attributes:
        n: turns whose evidence is known.
        band: of the pooled Z at the trait's layer, see `random_band`.
        mean_z: the effect size; None with `--evidence score`, where a turn's own variance is not known.
    """

    n: int
    pooled_z: float | None
    band: float | None
    mean_z: Interval | None


@dataclass(frozen=True, slots=True)
class InflationBin:
    """Turns of about the same loss: their mean (nats per token), how many, and the factor that never falls with it."""

    nll: float
    n: int
    inflation: float


@dataclass(slots=True)
class RandomSums:
    """Sums of evidence along random directions over turns, and by steps of the response's loss."""

    n_directions: int
    n: int = 0
    score_r: NDArray[Any] = field(init=False)
    null_square_r: NDArray[Any] = field(init=False)
    sum_square: Any = 0
    step_count_b: NDArray[np.int64] = field(init=False)
    step_sums_b: NDArray[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.score_r = np.zeros(self.n_directions, dtype=np.longdouble)
        self.null_square_r = np.zeros(self.n_directions, dtype=np.longdouble)
        self.step_count_b = np.zeros(_N_STEPS, dtype=np.int64)
        # Loss, ΣS² and ΣS~² of each step of loss: equal bins are made of them once all turns are known.
        self.step_sums_b = np.zeros((3, _N_STEPS), dtype=np.longdouble)

    def add(self, nll_n: Floats, score_nr: Floats, null_nr: Floats) -> None:
        """Add turns: loss in nats per token (NaN: not measured), S and S~ along each direction.

        A turn with a value that is not finite is left out.
        """
        known_n = np.isfinite(score_nr).all(axis=1) & np.isfinite(null_nr).all(axis=1)
        wide_nr = np.asarray(score_nr, dtype=np.longdouble)[known_n]
        null_square_nr = np.asarray(null_nr, dtype=np.longdouble)[known_n] ** 2
        nll = np.asarray(nll_n, dtype=np.longdouble)[known_n]
        self.n += len(nll)
        self.score_r += wide_nr.sum(axis=0)
        self.null_square_r += null_square_nr.sum(axis=0)
        square_n = (wide_nr**2).sum(axis=1)
        self.sum_square += square_n.sum()
        has_nll = np.isfinite(nll)
        step_n = np.clip((nll[has_nll] / _NLL_STEP).astype(np.int64), 0, _N_STEPS - 1)
        np.add.at(self.step_count_b, step_n, 1)
        for place, values_n in enumerate((nll, square_n, null_square_nr.sum(axis=1))):
            np.add.at(self.step_sums_b[place], step_n, values_n[has_nll])

    @property
    def z_r(self) -> NDArray[np.float64]:
        """Pooled Z of the set along every direction that has a variance."""
        has_variance = self.null_square_r > 0
        return np.asarray(self.score_r[has_variance] / np.sqrt(self.null_square_r[has_variance]), dtype=np.float64)

    @property
    def band(self) -> float | None:
        """The band of the pooled Z, see `random_band`; None where no direction has a variance."""
        z_r = self.z_r
        return random_band(z_r) if len(z_r) else None

    @property
    def inflation(self) -> float | None:
        """Variance of row-wise z along random directions, ΣS² / ΣS~²: 1 for the model's own samples."""
        variance = self.null_square_r.sum()
        return float(self.sum_square / variance) if variance > 0 else None

    def inflation_by_loss(self) -> list[InflationBin]:
        """Return the inflation in about equally large bins of loss, made monotone; see `interpolate_inflation`."""
        n = int(self.step_count_b.sum())
        n_bins = max(1, min(N_INFLATION_BINS, n // MIN_INFLATION_TURNS))
        if n == 0:
            return []
        # A step goes where its middle turn would.
        middle_b = np.cumsum(self.step_count_b) - self.step_count_b / 2
        bin_b = np.minimum((middle_b * n_bins / n).astype(np.int64), n_bins - 1)
        counts = np.bincount(bin_b, weights=self.step_count_b, minlength=n_bins)
        sums = np.zeros((3, n_bins), dtype=np.longdouble)
        for place in range(3):
            np.add.at(sums[place], bin_b, self.step_sums_b[place])
        kept = (counts > 0) & (sums[2] > 0)
        nll, square, variance = (np.asarray(each[kept], dtype=np.float64) for each in sums)
        inflation = fit_rising(square / variance, variance)
        return [
            InflationBin(float(total / count), int(count), float(factor))
            for total, count, factor in zip(nll, counts[kept], inflation, strict=True)
        ]


def interpolate_inflation(bins: list[InflationBin], nll_n: Floats) -> NDArray[np.float64]:
    """Return the inflation λ at each loss: z / √λ compares likely rows with unlikely ones.

    Linear between the bins' mean losses and flat outside; NaN for a loss that is NaN, or without bins.
    """
    if not bins:
        return np.full(len(nll_n), np.nan)
    found = np.interp(nll_n, [own.nll for own in bins], [own.inflation for own in bins])
    return np.where(np.isfinite(nll_n), found, np.nan)
