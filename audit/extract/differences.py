"""Differences of means as they are streamed: sums over pairs of answers, in memory that no number of pairs moves.

Axes: i pairs in a block, b shuffles, l layers from the embeddings on, d hidden.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audit.extract.statistics import N_NULL, cosine

_Array = npt.NDArray[np.float32]
_Sums = npt.NDArray[np.float64]


class DifferenceSums:
    """Sums of differences of answers: over all pairs, over those of either half of the questions, and shuffled.

    `shuffled_bld` holds sums with a sign drawn at random for each pair: what the vector would be if the labels meant
    nothing.
    """

    def __init__(self, n_rows: int, d_hidden: int, *, seed: int) -> None:
        self._half_2ld: _Sums = np.zeros((2, n_rows, d_hidden))
        self.n_2 = np.zeros(2, dtype=np.int64)
        self.shuffled_bld: _Array = np.zeros((N_NULL, n_rows, d_hidden), dtype=np.float32)
        self._draw = np.random.default_rng(seed)

    def add(self, difference_ild: _Array, question_i: npt.NDArray[np.int64]) -> None:
        """Add pairs; halves are even and odd questions."""
        for half in (0, 1):
            own = question_i % 2 == half
            self._half_2ld[half] += difference_ild[own].sum(axis=0, dtype=np.float64)
            self.n_2[half] += int(own.sum())
        sign_bi = self._draw.choice(np.array([-1, 1], dtype=np.float32), size=(N_NULL, len(difference_ild)))
        flat = difference_ild.reshape(len(difference_ild), -1)
        self.shuffled_bld += (sign_bi @ flat).reshape(self.shuffled_bld.shape)

    @property
    def mean_ld(self) -> _Array:
        """Mean difference over all pairs, [l, d]."""
        mean_ld: _Array = (self._half_2ld.sum(axis=0) / self.n_2.sum()).astype(np.float32)
        return mean_ld

    @property
    def half_cosine_l(self) -> _Array:
        """Cosine of the vectors of the two halves, a row each; NaN where one half is empty."""
        first, second = self._half_2ld
        return np.array([cosine(a, b) for a, b in zip(first, second, strict=True)], dtype=np.float32)
