"""Which records are judged, per trait: the flagged ones, and a seeded random part of all that could be flagged.

Records are taken in the order of a seeded hash of their ids: a larger part holds a smaller one, and traits share most
of theirs, so that texts are read once. Pure arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLAGGED = "flagged"
"""The draw of a flagged record that is not in the random part as well."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Records of one trait to be judged.

    Attributes:
        random: drawn from all records that could be flagged; some of them are.
        flagged: further flagged records.
    """

    random: Ids
    flagged: Ids

    @property
    def n(self) -> int:
        """Records in all."""
        return self.random.size + self.flagged.size


def draw_records(could_ids: Ids, flagged_ids: Ids, *, n_random: int, limit: int | None, seed: int) -> Drawn:
    """Return at most `n_random` of the records that could be flagged, and at most `limit` flagged ones (None: all)."""
    random = _first(could_ids, n_random, seed)
    flagged = _first(flagged_ids, limit, seed)
    return Drawn(random, np.setdiff1d(flagged, random))


def _first(ids: Ids, n: int | None, seed: int) -> Ids:
    if n is None or n >= ids.size:
        return np.sort(ids)
    order = np.lexsort((ids, _hash(ids, seed)))
    return np.sort(ids[order[:n]])


def _hash(ids: Ids, seed: int) -> NDArray[np.uint64]:
    """Return splitmix64 of each id: as good as random, and the same for an id whatever stands beside it."""
    start = np.uint64(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    mixed = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
