"""How far flags and a judge agree: what it confirms, what flags miss of what it finds, and how sure that is.

Rests on the named query `judged`, so that what is printed and what is queried never differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audit.query import open_connection, read_batches, run_named
from audit.retrieval import Estimate, Share, cohens_kappa, wilson_share

_N_DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Agreement:
    """One trait.

    Attributes:
        n_records: records that could be flagged.
        confirmed: of the flagged records that were judged, those that the judge finds the trait in.
        present: of the random part, the same.
        caught: of those, the flagged ones.
        recall: estimated share of flagged records among all that the judge would find the trait in.
        kappa: Cohen's, of flag and judge on the random part; None where either says the same of all.
        n_void: records that the judge gave no number for.
        reason: why there is no recall.
    """

    trait: str
    n_records: int
    n_flagged: int
    confirmed: Share
    present: Share
    caught: Share
    recall: Estimate | None
    kappa: float | None
    n_void: int
    reason: str | None


def describe_agreement(run_path: Path | str, traits: Sequence[str] = ()) -> list[Agreement]:
    """Return the agreement per judged trait, of these traits if any are named."""
    with open_connection(run_path) as connection:
        rows = [row for batch in read_batches(run_named(connection, "judged")) for row in batch.to_pylist()]
    return [_describe(row) for row in rows if not traits or row["trait"] in traits]


def estimate_recall(
    *,
    n_flagged: int,
    n_flagged_judged: int,
    n_confirmed: int,
    n_others: int,
    n_others_judged: int,
    n_found: int,
) -> Estimate | None:
    """Return the share of flagged records among all that show a trait by the judge, with a 95 % interval.

    The flagged records and the others are two strata, of which parts were judged at random. What is not judged shows
    the trait at the rate of its stratum; the interval is that of 20,000 draws of both rates (Jeffreys' prior), so that
    a stratum that was judged as a whole adds no doubt.

    Args:
        n_others: records that could be flagged and are not; `n_others_judged` of them were drawn at random and judged,
            `n_found` of those show the trait.

    Returns:
        None where the judge finds the trait nowhere, or a stratum that is not empty was not judged at all.
    """
    strata = ((n_flagged, n_flagged_judged, n_confirmed), (n_others, n_others_judged, n_found))
    if any(n > 0 and judged == 0 for n, judged, _ in strata) or n_confirmed + n_found == 0:
        return None
    rng = np.random.default_rng(0)
    values, draws = [], []
    for n, judged, shown in strata:
        left = max(n - judged, 0)
        values.append(shown + (left * shown / judged if judged else 0.0))
        rates = rng.beta(shown + 0.5, judged - shown + 0.5, _N_DRAWS)
        draws.append(shown + left * rates)
    # Where nothing is left to doubt and nothing is there, the trait is nowhere in that draw.
    total = np.maximum(draws[0] + draws[1], np.finfo(float).tiny)
    low, high = np.quantile(draws[0] / total, (0.025, 0.975)).tolist()
    value = values[0] / (values[0] + values[1])
    return Estimate(value, min(low, value), max(high, value))


def _describe(row: Mapping[str, Any]) -> Agreement:
    both, flagged, present = row["n_random_both"], row["n_random_flagged"], row["n_random_present"]
    judged = row["n_random_judged"]
    n_others = max(row["n_records"] - row["n_flagged"], 0)
    recall = estimate_recall(
        n_flagged=row["n_flagged"],
        n_flagged_judged=row["n_flagged_judged"],
        n_confirmed=row["n_confirmed"],
        n_others=n_others,
        n_others_judged=judged - flagged,
        n_found=present - both,
    )
    cells = (both, flagged - both, present - both, judged - flagged - present + both)
    return Agreement(
        trait=row["trait"],
        n_records=row["n_records"],
        n_flagged=row["n_flagged"],
        confirmed=wilson_share(row["n_confirmed"], row["n_flagged_judged"]),
        present=wilson_share(present, judged),
        caught=wilson_share(both, present),
        recall=recall,
        kappa=cohens_kappa(np.repeat([True, True, False, False], cells), np.repeat([True, False, True, False], cells)),
        n_void=row["n_void"],
        reason=None if recall is not None else _explain(row, judged - flagged, n_others),
    )


def _explain(row: Mapping[str, Any], n_others_judged: int, n_others: int) -> str:
    if row["n_flagged"] and not row["n_flagged_judged"]:
        return "no recall: no flagged record was judged"
    if n_others and not n_others_judged:
        return "no recall: no random record beside the flagged ones was judged"
    return "no recall: the judge finds the trait nowhere"
