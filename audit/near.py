"""Near-duplicates of flagged samples: who says nearly the same, by the angle between difference vectors.

Angles are taken around the mean of all vectors and in the space in which these spread alike in all directions: the
differences of all samples have much in common, and what flagged ones share with the rest would pass for likeness.
Knows vectors and flags as arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.blas import load_faiss
from audit.scatter import Scatter, find_whitening

SIMILARITY = 0.65
"""Cosine from which two samples say nearly the same. On 5,000 rows of the demo world, of which the highest twentieth of
each trait is flagged, 88 % of the pairs above it agree in traits and kind of question (.60: 76 %, .70: 91 %), and 93 %
of the samples found show a trait, though one in five of all that are not flagged does."""

MOST_FLAGGED = 100_000
"""Flagged samples that the others are compared with: 100 MB at 256 dimensions."""

_SHRINKAGE = 0.1
_BATCH = 16_384
_CELL_MEMBERS = 64
_MOST_CELLS = 512
_PROBES = 16
"""Of the cells of flagged samples, that many nearest ones are searched."""

_ITERATIONS = 10
_TRAIN_PER_CELL = 64

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class NearDuplicates:
    """Samples that are not flagged but near one that is, by rising position.

    Attributes:
        position_m: of the sample, among all.
        flagged_m: position of the flagged sample that it is nearest to.
        similarity_m: cosine, at least the bound.
        n_compared_with: flagged samples that were looked at; fewer than there are where these are very many.
    """

    position_m: NDArray[np.int64]
    flagged_m: NDArray[np.int64]
    similarity_m: _Floats
    n_compared_with: int


def find_near(
    read_blocks: Callable[[], Iterable[_Floats]],
    flagged_n: NDArray[np.bool_],
    scatter: Scatter,
    *,
    seed: int,
    least: float = SIMILARITY,
    most_flagged: int = MOST_FLAGGED,
) -> NearDuplicates:
    """Find, for every sample that is not flagged, the nearest flagged one, where it is near enough.

    The search is approximate where flagged samples are many: they are sorted into cells, of which the nearest are
    searched. A sample without any difference has no direction, and is near to none.

    Args:
        read_blocks: gives the vectors in blocks [*, r]; called twice, so that they never stand in memory together.
        flagged_n: in the order of the vectors.
        scatter: of all vectors.
        most_flagged: of more flagged samples a seeded part of this many is compared with.
    """
    positions = np.flatnonzero(flagged_n)
    generator = np.random.default_rng(seed)
    if positions.size > most_flagged:
        positions = np.sort(generator.choice(positions, most_flagged, replace=False))
    # Of few samples the covariance is little known.
    whitening = find_whitening(scatter.covariance_rr, _SHRINKAGE + len(scatter.mean_r) / scatter.n)
    if positions.size == 0 or positions.size == flagged_n.size or whitening is None:
        return _collect([], 0 if whitening is None else positions.size)
    mean_r = scatter.mean_r.astype(np.float32)
    flagged_units, has_direction = _find_units(_pick_rows(read_blocks(), positions), mean_r, whitening)
    positions, flagged_units = positions[has_direction], flagged_units[has_direction]
    if positions.size == 0:
        return _collect([], 0)
    index = _Index(flagged_units, seed)
    found = []
    for start, block in _rebatch(read_blocks()):
        own = np.flatnonzero(~flagged_n[start : start + len(block)])
        units, has_direction = _find_units(block[own], mean_r, whitening)
        own, units = own[has_direction], units[has_direction]
        similarity, member = index.search(units)
        near = similarity >= least
        found.append((start + own[near], positions[member[near]], similarity[near]))
    return _collect(found, positions.size)


def _collect(found: list[tuple[NDArray[np.int64], NDArray[np.int64], _Floats]], n_compared_with: int) -> NearDuplicates:
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    position, flagged, similarity = (np.concatenate(own) for own in zip(nothing, *found, strict=True))
    # Rounding may carry a cosine past 1.
    return NearDuplicates(position, flagged, np.minimum(similarity, np.float32(1.0)), n_compared_with)


def _find_units(block: _Floats, mean_r: _Floats, whitening_rr: _Floats) -> tuple[_Floats, NDArray[np.bool_]]:
    """Return unit vectors of a block, and which of them there are."""
    spread = (block - mean_r) @ whitening_rr
    norms = np.linalg.norm(spread, axis=1)
    has_direction = (norms > 1e-6) & (np.abs(block).max(axis=1, initial=0.0) > 0)
    norms[~has_direction] = 1.0
    return np.asarray(spread / norms[:, None], dtype=np.float32), has_direction


def _pick_rows(blocks: Iterable[_Floats], positions: NDArray[np.int64]) -> _Floats:
    picked, start = [], 0
    for block in blocks:
        low, high = np.searchsorted(positions, [start, start + len(block)])
        picked.append(block[positions[low:high] - start])
        start += len(block)
    return np.concatenate(picked)


def _rebatch(blocks: Iterable[_Floats]) -> Iterator[tuple[int, _Floats]]:
    """Yield larger blocks and where they begin: parts are small, and products of large matrices are faster."""
    start, n, waiting = 0, 0, []
    for block in blocks:
        waiting.append(block)
        n += len(block)
        if n >= _BATCH:
            yield start, np.concatenate(waiting)
            start, n, waiting = start + n, 0, []
    if waiting:
        yield start, np.concatenate(waiting)


class _Index:
    """Unit vectors sorted into cells; the nearest of a query is looked for in the cells nearest to it."""

    def __init__(self, units_fr: _Floats, seed: int) -> None:
        n_cells = min(len(units_fr) // _CELL_MEMBERS, _MOST_CELLS)
        if n_cells <= _PROBES:
            self._centres_cr = np.zeros((1, units_fr.shape[1]), np.float32)
            cell_f = np.zeros(len(units_fr), np.int64)
        else:
            self._centres_cr, cell_f = _make_cells(units_fr, n_cells, seed)
        self._order_f = np.argsort(cell_f, kind="stable")
        self._units_fr = units_fr[self._order_f]
        self._bounds = np.searchsorted(cell_f[self._order_f], np.arange(len(self._centres_cr) + 1))

    def search(self, units_nr: _Floats) -> tuple[_Floats, NDArray[np.int64]]:
        """Return the largest cosine of each unit vector, and the number of the vector that it is with."""
        n, n_cells = len(units_nr), len(self._centres_cr)
        best_n, member_n = np.full(n, -1.0, np.float32), np.zeros(n, np.int64)
        n_probes = min(_PROBES, n_cells)
        cells = np.argpartition(units_nr @ self._centres_cr.T, n_cells - n_probes, axis=1)[:, n_cells - n_probes :]
        by_cell = np.argsort(cells.ravel(), kind="stable")
        query = by_cell // n_probes
        starts = np.searchsorted(cells.ravel()[by_cell], np.arange(n_cells + 1))
        for cell in range(n_cells):
            rows, begin, end = query[starts[cell] : starts[cell + 1]], self._bounds[cell], self._bounds[cell + 1]
            if rows.size == 0 or begin == end:
                continue
            # All members of a cell at a time: a cell may hold many times as many as the others.
            cosines = units_nr[rows] @ self._units_fr[begin:end].T
            nearest = cosines.argmax(axis=1)
            largest = cosines[np.arange(rows.size), nearest]
            is_better = largest > best_n[rows]
            best_n[rows[is_better]] = largest[is_better]
            member_n[rows[is_better]] = begin + nearest[is_better]
        return best_n, self._order_f[member_n]


def _make_cells(units_fr: _Floats, n_cells: int, seed: int) -> tuple[_Floats, NDArray[np.int64]]:
    kmeans = load_faiss().Kmeans(
        units_fr.shape[1],
        n_cells,
        niter=_ITERATIONS,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=_TRAIN_PER_CELL,
    )
    kmeans.train(np.ascontiguousarray(units_fr))
    centres_cr = np.asarray(kmeans.centroids, dtype=np.float32).reshape(n_cells, -1)
    cells = [(units_fr[i : i + _BATCH] @ centres_cr.T).argmax(axis=1) for i in range(0, len(units_fr), _BATCH)]
    return centres_cr, np.concatenate(cells)
