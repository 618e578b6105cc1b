"""How difference vectors lie around their mean, and the space in which they spread alike in all directions.

Hidden states have a few dimensions that hold a fifth of the square and more; distances and angles that are not to be
about those alone are taken in that space. Knows vectors as arrays that come block by block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """Moments of n vectors.

    Attributes:
        mean_r: [r]
        covariance_rr: [r, r], divided by n; 0 without vectors.
        cross_rk: covariance with k numbers of each vector, [r, k].
    """

    n: int
    mean_r: NDArray[np.float64]
    covariance_rr: NDArray[np.float64]
    cross_rk: NDArray[np.float64]


def measure_scatter(
    blocks: Iterable[NDArray[np.float32]], numbers_nk: NDArray[np.float32] | None = None
) -> Scatter | None:
    """Measure vectors that come in blocks [*, r]; None where there are none.

    Args:
        numbers_nk: k numbers of each vector in the same order, taken for their mean where they are not finite.
    """
    shift_r: NDArray[np.float32] | None = None
    n = 0
    for block in blocks:
        if len(block) == 0:
            continue
        if shift_r is None:
            # Products of what lies far from 0 would lose what it differs in.
            shift_r = block.mean(axis=0, dtype=np.float64).astype(np.float32)
            width = block.shape[1]
            sum_r, products_rr = np.zeros(width), np.zeros((width, width))
            centred_nk = _centre(numbers_nk)
            cross_rk = np.zeros((width, centred_nk.shape[1]))
        shifted = block - shift_r
        sum_r += shifted.sum(axis=0, dtype=np.float64)
        products_rr += shifted.T @ shifted
        cross_rk += shifted.T @ centred_nk[n : n + len(block)] if centred_nk.size else 0.0
        n += len(block)
    if shift_r is None:
        return None
    offset_r = sum_r / n
    covariance_rr = products_rr / n - np.outer(offset_r, offset_r)
    return Scatter(n, shift_r + offset_r, covariance_rr, cross_rk / n)


def _centre(numbers_nk: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if numbers_nk is None:
        return np.zeros((0, 0), np.float32)
    centred_nk = np.zeros_like(numbers_nk)
    for k, own in enumerate(numbers_nk.T):
        finite = np.isfinite(own)
        if finite.any():
            centred_nk[finite, k] = own[finite] - own[finite].mean(dtype=np.float64)
    return centred_nk


def find_whitening(covariance_rr: NDArray[np.float64], shrinkage: float) -> NDArray[np.float32] | None:
    """Return the matrix [r, r] that vectors are multiplied with from the right; None where nothing varies.

    Args:
        shrinkage: how much of the mean variance is added to that of every direction, so that directions in which
            next to nothing happens, or of which little is known, are not blown up.
    """
    mean = float(np.trace(covariance_rr)) / len(covariance_rr)
    if not mean > 0:
        return None
    variances, axes_rr = np.linalg.eigh(covariance_rr)
    return np.asarray(axes_rr / np.sqrt(np.maximum(variances, 0.0) + shrinkage * mean), dtype=np.float32)
