"""Directions that no known trait explains: samples lie further apart there than clean ones do, or a few stand out.

Knows vectors as arrays. What is known is taken out first: only what is orthogonal to the traits' directions is looked
at. Held against clean samples, the directions are those whose spread is largest in units of theirs; without them, those
along which the data have the heaviest tails, as a minority makes them.

Source: generalised eigenvectors of two covariances, and fourth-order blind identification (Cardoso 1989; Tyler et al.
2009, invariant coordinate selection). Departure: covariances are shrunk, as directions in which next to nothing happens
say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.scatter import Scatter, find_whitening

DIRECTIONS = 5
ENDS = 50
"""Samples that are kept from either end of a direction."""

_CLEAN_SHRINKAGE = 0.1
_OWN_SHRINKAGE = 1.0
_LARGEST_RELATIVE_SQUARE = 10.0
"""A sample's square, relative to the mean, counts up to here: no single one makes a direction of its own."""

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class UnnamedDirection:
    """A direction and what lies along it.

    Attributes:
        unit_r: unit vector [r]; its sign is such that the heavier tail is high.
        spread: mean square around the clean mean over the clean variance; None without clean samples.
        skew: third standardised moment, 0 or above.
        high, low: positions of the samples furthest along it and against it, the furthest first.
    """

    unit_r: NDArray[np.float64]
    spread: float | None
    skew: float
    high: NDArray[np.int64]
    low: NDArray[np.int64]


def find_unnamed(
    read_blocks: Callable[[], Iterable[_Floats]],
    known_kr: NDArray[np.float64],
    scatter: Scatter,
    *,
    clean_mean_r: NDArray[np.float64] | None = None,
    clean_covariance_rr: NDArray[np.float64] | None = None,
    keep_n: int = DIRECTIONS,
) -> list[UnnamedDirection]:
    """Find the leading directions that the known ones do not explain, the most unusual first.

    Args:
        read_blocks: gives the vectors in blocks [*, r]; called once with clean moments, twice without.
        known_kr: directions of the known traits, of any length.
        scatter: of all vectors.
        clean_mean_r, clean_covariance_rr: of clean samples' vectors in the same space.

    Returns:
        as many directions as asked for, or as there are; none where nothing varies.
    """
    basis_rm = _find_complement(known_kr, len(scatter.mean_r))
    if basis_rm.shape[1] == 0:
        return []
    own_mm = basis_rm.T @ scatter.covariance_rr @ basis_rm
    if clean_mean_r is not None and clean_covariance_rr is not None:
        offset_m = basis_rm.T @ (scatter.mean_r - clean_mean_r)
        around_mm = own_mm + np.outer(offset_m, offset_m)
        clean_mm = basis_rm.T @ clean_covariance_rr @ basis_rm
        whitening = find_whitening(clean_mm, _CLEAN_SHRINKAGE)
        if whitening is None or not np.trace(own_mm) > 0:
            return []
        spread_mm = whitening.T @ around_mm @ whitening
    else:
        clean_mm = None
        whitening = find_whitening(own_mm, _OWN_SHRINKAGE)
        if whitening is None:
            return []
        spread_mm = _measure_tails(read_blocks(), scatter, basis_rm @ whitening)
    leading = np.linalg.eigh(spread_mm)[1][:, ::-1][:, :keep_n]
    units_rj = basis_rm @ whitening @ leading
    units_rj /= np.linalg.norm(units_rj, axis=0)
    spreads: list[float | None] = [None] * units_rj.shape[1]
    if clean_mm is not None:
        along_mj = basis_rm.T @ units_rj
        clean_j, around_j = (np.einsum("mj,mi,ij->j", along_mj, own, along_mj) for own in (clean_mm, around_mm))
        spreads = [float(a / c) if c > 0 else None for a, c in zip(around_j, clean_j, strict=True)]
    return _describe(read_blocks(), scatter, units_rj, spreads)


def _find_complement(known_kr: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return an orthonormal basis [r, m] of what is orthogonal to all known directions."""
    known = known_kr[np.isfinite(known_kr).all(axis=1)] if known_kr.size else np.zeros((0, width))
    norms = np.linalg.norm(known, axis=1)
    known = known[norms > 0] / norms[norms > 0][:, None]
    if len(known) == 0:
        return np.eye(width)
    _, lengths, axes_rr = np.linalg.svd(known, full_matrices=True)
    rank = int((lengths > 1e-6).sum())
    return np.asarray(axes_rr[rank:].T)


def _measure_tails(
    blocks: Iterable[_Floats], scatter: Scatter, whitening_rm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the covariance of the whitened vectors [m, m], each weighted with its own square, up to a bound."""
    mean_r, whitening = scatter.mean_r.astype(np.float32), whitening_rm.astype(np.float32)
    mean_square = float(np.einsum("rm,rs,sm->", whitening_rm, scatter.covariance_rr, whitening_rm))
    tails_mm = np.zeros((whitening.shape[1], whitening.shape[1]))
    for block in blocks:
        spread = (block - mean_r) @ whitening
        square_n = np.minimum((spread**2).sum(axis=1) / mean_square, _LARGEST_RELATIVE_SQUARE)
        # A sample beyond the bound counts as if it lay on it, in the same direction.
        weight_n = square_n**2 / np.maximum((spread**2).sum(axis=1) / mean_square, 1e-12)
        tails_mm += (spread * weight_n[:, None]).T @ spread
    return tails_mm / scatter.n


def _describe(
    blocks: Iterable[_Floats], scatter: Scatter, units_rj: NDArray[np.float64], spreads: list[float | None]
) -> list[UnnamedDirection]:
    n_directions = units_rj.shape[1]
    units, mean_r = units_rj.astype(np.float32), scatter.mean_r.astype(np.float32)
    squares, cubes, start = np.zeros(n_directions), np.zeros(n_directions), 0
    highest, lowest = [_NOTHING] * n_directions, [_NOTHING] * n_directions
    for block in blocks:
        along_nj = ((block - mean_r) @ units).astype(np.float64)
        squares += (along_nj**2).sum(axis=0)
        cubes += (along_nj**3).sum(axis=0)
        positions = np.arange(start, start + len(block))
        for j, along_n in enumerate(along_nj.T):
            highest[j] = _keep_largest(highest[j], positions, along_n)
            lowest[j] = _keep_largest(lowest[j], positions, -along_n)
        start += len(block)
    found = []
    for j, spread in enumerate(spreads):
        variance = squares[j] / max(start, 1)
        skew = cubes[j] / max(start, 1) / variance**1.5 if variance > 0 else 0.0
        # Of few samples, none lies at both ends.
        high, low = highest[j][0][: start // 2], lowest[j][0][: start // 2]
        if skew < 0:
            high, low = low, high
        found.append(UnnamedDirection(units_rj[:, j] * (-1.0 if skew < 0 else 1.0), spread, abs(skew), high, low))
    return found


_End = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Positions and values, the largest first."""

_NOTHING: _End = (np.zeros(0, np.int64), np.zeros(0))


def _keep_largest(kept: _End, positions: NDArray[np.int64], values: NDArray[np.float64]) -> _End:
    every, every_value = np.concatenate([kept[0], positions]), np.concatenate([kept[1], values])
    # Stable, so that of equal ones the first stay.
    order = np.argsort(-every_value, kind="stable")[:ENDS]
    return every[order], every_value[order]
