"""How far a set's difference vectors lie from the clean ones along directions that mean nothing: a band for Cohen's d.

A set of other topics, or in another voice, moves along every direction a little. A trait's shift says something about
the trait only where it is larger than that. Directions are drawn isotropically in the space of the stored differences
(seeded); the mean and covariance of a set are all that it takes, measured in one pass over the parts.

Axes: n record, r stored dimension, u random direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.calibration import BAND_LEVEL
from audit.differences import read_difference_ids, read_differences
from audit.reference import CleanDifferences
from audit.store import RunStore

N_DIRECTIONS = 200

MAX_MEASURED = 200_000
"""Records that a pass takes into account, over all groups: means are then known to .002 standard deviations."""

MIN_MEASURED = 20


@dataclass(frozen=True, slots=True)
class DifferenceMoments:
    """Mean [r] and covariance [r, r] of the difference vectors of n records."""

    mean_r: NDArray[np.float64]
    covariance_rr: NDArray[np.float64]
    n: int


def random_shift_band(set_: DifferenceMoments, clean: DifferenceMoments, *, seed: int) -> float | None:
    """Return the 97.5 % quantile of the Cohen's d of a set against clean data along random directions (one-sided).

    A direction and its opposite are equally likely, so both count: it is the 95 % quantile of |d|. None where the two
    were stored through different reductions, or nothing varies.
    """
    if len(set_.mean_r) != len(clean.mean_r) or set_.n < MIN_MEASURED or clean.n < MIN_MEASURED:
        return None
    directions_ur = np.random.default_rng([seed, 200]).standard_normal((N_DIRECTIONS, len(clean.mean_r)))
    directions_ur /= np.linalg.norm(directions_ur, axis=1, keepdims=True)
    own_u, clean_u = (_variances(directions_ur, each.covariance_rr) for each in (set_, clean))
    pooled_u = np.sqrt(((set_.n - 1) * own_u + (clean.n - 1) * clean_u) / (set_.n + clean.n - 2))
    shift_u = directions_ur @ (set_.mean_r - clean.mean_r)
    d_u = np.abs(shift_u[pooled_u > 0] / pooled_u[pooled_u > 0])
    return float(np.quantile(d_u, 2 * BAND_LEVEL - 1)) if len(d_u) else None


def find_random_bands(
    store: RunStore,
    clean: CleanDifferences | None,
    sample_ids: NDArray[np.int64],
    group_n: NDArray[np.integer],
    n_groups: int,
    *,
    seed: int,
) -> list[float | None]:
    """Return the band of each group of records against a clean reference's difference vectors; None where unknown.

    Args: see `measure_moments`.
    """
    if clean is None:
        return [None] * n_groups
    held_against = DifferenceMoments(np.asarray(clean.mean_r), np.asarray(clean.covariance_rr), clean.n)
    return [
        random_shift_band(own, held_against, seed=seed) if own is not None else None
        for own in measure_moments(store, sample_ids, group_n, n_groups, seed=seed)
    ]


def measure_moments(
    store: RunStore, sample_ids: NDArray[np.int64], group_n: NDArray[np.integer], n_groups: int, *, seed: int
) -> list[DifferenceMoments | None]:
    """Return the moments of the records' mean difference vectors, of each of several groups, in one pass.

    A seeded part of a group that is large; None for fewer than 20 records with difference vectors.

    Args:
        sample_ids: all records, rising.
        group_n: the group of each, from 0; negative where it does not count.
    """
    chosen_n = _choose(group_n, n_groups, seed)
    counts = np.zeros(n_groups, dtype=np.int64)
    sums: dict[int, NDArray[np.float64]] = {}
    products: dict[int, NDArray[np.float64]] = {}
    start, ids = 0, read_difference_ids(store)
    for vectors_nr in read_differences(store):
        rows = np.searchsorted(sample_ids, ids[start : start + len(vectors_nr)])
        start += len(vectors_nr)
        own_n = np.where(chosen_n[rows], group_n[rows], -1)
        for group in np.unique(own_n[own_n >= 0]).tolist():
            own_nr = vectors_nr[own_n == group].astype(np.float64)
            counts[group] += len(own_nr)
            sums[group] = sums.get(group, 0.0) + own_nr.sum(axis=0)
            products[group] = products.get(group, 0.0) + own_nr.T @ own_nr
    return [_conclude(int(counts[group]), sums.get(group), products.get(group)) for group in range(n_groups)]


def _conclude(
    n: int, sum_r: NDArray[np.float64] | None, products_rr: NDArray[np.float64] | None
) -> DifferenceMoments | None:
    if n < MIN_MEASURED or sum_r is None or products_rr is None:
        return None
    mean_r = sum_r / n
    return DifferenceMoments(mean_r, (products_rr - n * np.outer(mean_r, mean_r)) / (n - 1), n)


def _variances(directions_ur: NDArray[np.float64], covariance_rr: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.maximum(((directions_ur @ covariance_rr) * directions_ur).sum(axis=1), 0.0))


def _choose(group_n: NDArray[np.integer], n_groups: int, seed: int) -> NDArray[np.bool_]:
    """Choose the records that are measured: all of a small group, a seeded part of a large one."""
    size_g = np.bincount(group_n[group_n >= 0], minlength=n_groups)
    share_g = np.minimum(1.0, MAX_MEASURED / n_groups / np.maximum(size_g, 1))
    is_chosen = np.random.default_rng([seed, 201]).random(len(group_n), dtype=np.float32) < share_g[group_n]
    return np.asarray(is_chosen & (group_n >= 0))
