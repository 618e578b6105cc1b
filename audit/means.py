"""Means over a run of its scores where some baselines are predicted.

The difference estimator: the mean of what is predicted for all records, less what the prediction is off on the records
whose baselines were drawn at random. Records whose baselines were generated because their scores might be high play no
part in the correction, as they are not like the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from audit.query import open_connection
from audit.schema import SCORED_SIDES
from audit.score import Interval
from audit.store import RunStore
from audit.wide import group_parts

_MEANS = """
    SELECT sample_id, trait, avg(projection_difference::DOUBLE ORDER BY turn) AS score,
        avg(projection::DOUBLE - predicted_baseline_projection ORDER BY turn) AS predicted,
        count(predicted_baseline_projection) = count(*) AS is_predictable,
        bool_and(baseline_draw = 'random') IS TRUE AS is_random
    FROM scores JOIN turns USING (sample_id, side, turn, part)
    WHERE part = 'answer' AND list_contains($2, side) AND projection_difference IS NOT NULL
    GROUP BY sample_id, trait
    HAVING NOT coalesce(bool_or(response_nll > $1), false)
    ORDER BY trait, sample_id
"""


def estimate_means(store: RunStore, manifest: Mapping[str, Any]) -> dict[str, Interval]:
    """Return, per trait, the mean over records of the mean score over turns, with its 95 % interval.

    Records outside the model's domain are left out. A trait with fewer than two random records has none.
    """
    return estimate_group_means(store, manifest, lambda ids: np.zeros(len(ids), dtype=np.int64), 1)[0]


def estimate_group_means(
    store: RunStore,
    manifest: Mapping[str, Any],
    group_of: Callable[[NDArray[np.int64]], NDArray[np.integer]],
    n_groups: int,
) -> list[dict[str, Interval]]:
    """Return what `estimate_means` gives, for each of several groups of records.

    Args:
        group_of: the group of each of some sample ids, from 0; negative where the record is in none.
    """
    sums: list[dict[str, Counter[str]]] = [{} for _ in range(n_groups)]
    # Parts share no record, so their sums add up.
    for parts in group_parts(store.parts()):
        with open_connection(store.path, only=parts) as connection:
            query = connection.sql(_MEANS, params=[manifest["domain"]["threshold"], list(SCORED_SIDES)])
            table = query.to_arrow_table()
        group_n = group_of(table["sample_id"].to_numpy())
        for group in np.unique(group_n[group_n >= 0]).tolist():
            own = table.filter(pa.array(group_n == group))
            for trait in own["trait"].unique().to_pylist():
                counter = sums[group].setdefault(trait, Counter())
                counter.update(_add_up(own.filter(pc.equal(own["trait"], trait))))
    return [
        {trait: interval for trait, own in group.items() if (interval := _combine(own)) is not None} for group in sums
    ]


def _add_up(table: pa.Table) -> dict[str, Any]:
    """Return the sums of one trait, in the widest type: how a run was cut into parts must not show in its verdicts."""
    score_n = table["score"].to_numpy().astype(np.longdouble)
    predicted_n = table["predicted"].to_numpy().astype(np.longdouble)
    is_predictable_n = table["is_predictable"].to_numpy()
    is_random_n = is_predictable_n & table["is_random"].to_numpy()
    other_n, random_n = score_n[~is_predictable_n], score_n[is_random_n]
    off_n = predicted_n[is_random_n] - random_n
    return {
        "n_predictable": int(is_predictable_n.sum()),
        "sum_predicted": predicted_n[is_predictable_n].sum(),
        "n_other": len(other_n),
        "sum_other": other_n.sum(),
        "squares_other": (other_n**2).sum(),
        "n_random": len(random_n),
        "sum_off": off_n.sum(),
        "squares_off": (off_n**2).sum(),
        "sum_random": random_n.sum(),
        "squares_random": (random_n**2).sum(),
    }


def _combine(own: Mapping[str, Any]) -> Interval | None:
    n_random, n_predictable, n_other = own["n_random"], own["n_predictable"], own["n_other"]
    if n_random < 2:
        return None
    n = n_predictable + n_other
    off = own["sum_off"] / n_random
    off_variance = _variance(own["squares_off"], own["sum_off"], n_random)
    mean_predictable = own["sum_predicted"] / n_predictable - off
    mean = (n_predictable * mean_predictable + own["sum_other"]) / n
    # The spread of the records: within the two groups, and between their means.
    within = n_predictable * _variance(own["squares_random"], own["sum_random"], n_random)
    between = n_predictable * (mean_predictable - mean) ** 2
    if n_other:
        mean_other = own["sum_other"] / n_other
        within += max(own["squares_other"] - n_other * mean_other**2, 0.0)
        between += n_other * (mean_other - mean) ** 2
    sd = float((within + between) / n) ** 0.5
    # Of the records that were drawn nothing is uncertain; the more of all they are, the less the correction is.
    correction = (n_predictable / n) ** 2 * off_variance * max(1 / n_random - 1 / n_predictable, 0.0)
    error = float(sd**2 / n + correction) ** 0.5
    mean, sd, error = (float(f"{value:.12g}") for value in (mean, sd, error))
    return Interval(mean, mean - 1.959964 * error, mean + 1.959964 * error, sd, n, error)


def _variance(squares: Any, total: Any, n: int) -> Any:
    return max(squares - total**2 / n, 0.0) / (n - 1)
