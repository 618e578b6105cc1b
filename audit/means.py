"""The mean score of a run some of whose baselines are predicted, with an interval that knows it.

The difference estimator: the mean of what is predicted for all records, less what the prediction is off on the records
whose baselines were drawn at random. Records whose baselines were generated because their scores might be high play no
part in the correction, as they are not like the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from audit.query import open_connection
from audit.schema import SCORED_SIDES
from audit.score import Interval
from audit.store import RunStore
from audit.wide import group_parts

_DRAWN = """
    SELECT sample_id, trait, bool_and(baseline_draw = 'random') AS is_random,
        max(projection::DOUBLE - predicted_baseline_projection) AS predicted
    FROM scores JOIN turns USING (sample_id, side, turn, part)
    WHERE part = 'answer' AND list_contains($1, side)
    GROUP BY sample_id, trait
"""

_SUMS = """
    WITH own AS (
        SELECT sample_id, trait, avg(projection_difference::DOUBLE) AS score,
            avg(projection::DOUBLE - predicted_baseline_projection) AS predicted,
            count(predicted_baseline_projection) = count(*) AS is_predictable,
            bool_and(baseline_draw = 'random') AS is_random,
            coalesce(bool_or(response_nll > $1), false) AS is_outside
        FROM scores JOIN turns USING (sample_id, side, turn, part)
        WHERE part = 'answer' AND list_contains($2, side) AND projection_difference IS NOT NULL
        GROUP BY sample_id, trait
    ),
    kept AS (SELECT *, predicted - score AS off FROM own WHERE NOT is_outside)
    SELECT trait,
        count(*) FILTER (is_predictable) AS n_predictable, sum(predicted) FILTER (is_predictable) AS sum_predicted,
        count(*) FILTER (NOT is_predictable) AS n_other, sum(score) FILTER (NOT is_predictable) AS sum_other,
        sum(score * score) FILTER (NOT is_predictable) AS squares_other,
        count(*) FILTER (is_predictable AND is_random) AS n_random,
        sum(off) FILTER (is_predictable AND is_random) AS sum_off,
        sum(off * off) FILTER (is_predictable AND is_random) AS squares_off,
        sum(score) FILTER (is_predictable AND is_random) AS sum_random,
        sum(score * score) FILTER (is_predictable AND is_random) AS squares_random
    FROM kept GROUP BY trait
"""


def read_drawn(
    store: RunStore, sample_ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Return which of some records had all their baselines drawn at random, and all their predicted scores by trait."""
    random_ids: list[NDArray[np.int64]] = []
    predicted: dict[str, list[NDArray[np.float64]]] = {}
    for parts in group_parts(store.parts()):
        with open_connection(store.path, only=parts) as connection:
            table = connection.sql(_DRAWN, params=[list(SCORED_SIDES)]).to_arrow_table()
        table = table.filter(np.isin(table["sample_id"].to_numpy(), sample_ids))
        random_ids.append(np.unique(table.filter(table["is_random"])["sample_id"].to_numpy()))
        for trait in table["trait"].unique().to_pylist():
            own = table.filter(pc.equal(table["trait"], trait))["predicted"].drop_null()
            predicted.setdefault(trait, []).append(own.to_numpy())
    return np.concatenate([np.zeros(0, np.int64), *random_ids]), {
        trait: np.concatenate(values) for trait, values in predicted.items()
    }


def estimate_means(store: RunStore, manifest: Mapping[str, Any]) -> dict[str, Interval]:
    """Return, per trait, the mean over records of the mean score over turns, with its 95 % interval.

    Records outside the model's domain are left out. A trait with fewer than two random records has none.
    """
    sums: dict[str, dict[str, float]] = {}
    # Parts share no record, so their sums add up.
    for parts in group_parts(store.parts()):
        with open_connection(store.path, only=parts) as connection:
            found = connection.sql(_SUMS, params=[manifest["domain"]["threshold"], list(SCORED_SIDES)])
            for row in found.to_arrow_table().to_pylist():
                own = sums.setdefault(row.pop("trait"), dict.fromkeys(row, 0.0))
                for name, value in row.items():
                    own[name] += value or 0.0
    return {trait: interval for trait, own in sums.items() if (interval := _combine(own)) is not None}


def _combine(own: Mapping[str, float]) -> Interval | None:
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
    sd = math.sqrt((within + between) / n)
    # Of the records that were drawn nothing is uncertain; the more of all they are, the less the correction is.
    correction = (n_predictable / n) ** 2 * off_variance * max(1 / n_random - 1 / n_predictable, 0.0)
    error = math.sqrt(sd**2 / n + correction)
    return Interval(mean, mean - 1.959964 * error, mean + 1.959964 * error, sd, int(n), error)


def _variance(squares: float, total: float, n: float) -> float:
    return max(squares - total**2 / n, 0.0) / (n - 1)
