"""Which kinds of records the flags fall on: the share of each value of a label column among them, beside the data's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from audit.retrieval import Bools, wilson_share
from audit.validation.labels import SHOWN
from audit.validation.values import GroupShare

MOST_GROUPS = 50
OTHERS = "(others)"


def compare_groups(
    values: Sequence[str | None],
    shown: Mapping[str, NDArray[np.int8]],
    flagged: Mapping[str, Bools],
    is_scored: Bools,
) -> list[GroupShare]:
    """Return a row per value, the largest first; rare values beyond the first 50 are one row.

    Args:
        values: [n] of the column, per labelled record.
        shown, flagged: per trait, [n]; a record is flagged if it is for any of them.
        is_scored: [n] records that could be flagged; all others are left out.
    """
    if not flagged:
        return []
    is_flagged = np.any(list(flagged.values()), axis=0) & is_scored
    is_innocent = ~np.any([own == SHOWN for trait, own in shown.items() if trait in flagged], axis=0)
    counts = Counter(value for value, own in zip(values, is_scored, strict=True) if own)
    ordered = [
        value for value, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0] is None, item[0] or ""))
    ]
    kept = ordered if len(ordered) <= MOST_GROUPS else ordered[: MOST_GROUPS - 1]
    number = {value: place for place, value in enumerate(kept)}
    group_n = np.array([number.get(value, len(kept)) for value in values], dtype=np.int64)
    names = kept if len(kept) == len(ordered) else [*kept, OTHERS]
    n, n_flagged = int(is_scored.sum()), int(is_flagged.sum())
    rows = []
    for place, name in enumerate(names):
        own = (group_n == place) & is_scored
        rows.append(
            GroupShare(
                value=name,
                data=wilson_share(int(own.sum()), n),
                flagged=wilson_share(int((own & is_flagged).sum()), n_flagged),
                innocent_data=wilson_share(int((own & is_innocent).sum()), n),
                innocent_flagged=wilson_share(int((own & is_innocent & is_flagged).sum()), n_flagged),
            )
        )
    return rows
