"""Areas under ROC curves with paired bootstrap intervals: every score is judged on the same resampled rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

N_RESAMPLES: Final = 500


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ResampledAucs:
    """AUC of each score on the rows themselves (`whole`) and on each resample [b]."""

    whole: Mapping[str, float]
    resampled: Mapping[str, Floats]

    def estimate(self, name: str) -> Estimate:
        """Return one score's AUC with its interval."""
        low, high = np.quantile(self.resampled[name], (0.025, 0.975)).tolist()
        return Estimate(self.whole[name], low, high)

    def gain(self, name: str, rival: str) -> Estimate:
        """Return how far one score's AUC lies above a rival's, with the paired interval."""
        low, high = np.quantile(self.resampled[name] - self.resampled[rival], (0.025, 0.975)).tolist()
        return Estimate(self.whole[name] - self.whole[rival], low, high)


def resample_aucs(
    scores: Mapping[str, Floats], shown_n: Bools, *, seed: int, n_resamples: int = N_RESAMPLES
) -> ResampledAucs:
    """Compute the AUC of each score on all rows and on resamples of them, drawn with replacement.

    Rows on which any score is NaN are left out for all of them.
    """
    has_all = np.all([np.isfinite(values) for values in scores.values()], axis=0)
    shown = shown_n[has_all]
    n = len(shown)
    drawn_bn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_resamples)
    weights_bn = np.concatenate([np.ones((1, n), dtype=np.float32), drawn_bn.astype(np.float32)])
    aucs = {name: _weigh_auc(values[has_all], shown, weights_bn) for name, values in scores.items()}
    return ResampledAucs(
        whole={name: float(auc_b[0]) for name, auc_b in aucs.items()},
        resampled={name: auc_b[1:] for name, auc_b in aucs.items()},
    )


def _weigh_auc(values_n: Floats, shown_n: Bools, weights_bn: npt.NDArray[np.float32]) -> Floats:
    """Return P(a positive scores above a negative) under each row of weights; ties count half."""
    _, value_n = np.unique(values_n, return_inverse=True)
    order = np.argsort(value_n, kind="stable")
    starts = np.flatnonzero(np.diff(value_n[order], prepend=-1))
    positive_bn = np.where(shown_n, weights_bn, np.float32(0))[:, order]
    # Sums of one value's rows, so that ties share what lies below them.
    positive_bv = np.add.reduceat(positive_bn, starts, axis=1)
    all_bv = np.add.reduceat(weights_bn[:, order], starts, axis=1)
    negative_bv = all_bv - positive_bv
    below_bv = np.cumsum(negative_bv, axis=1, dtype=np.float64) - negative_bv / 2
    n_pairs_b = positive_bv.sum(axis=1, dtype=np.float64) * negative_bv.sum(axis=1, dtype=np.float64)
    auc_b: Floats = (positive_bv * below_bv).sum(axis=1) / n_pairs_b
    return auc_b
