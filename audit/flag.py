"""Flags per sample and trait, made by holding a run's scores against a clean reference.

A sample's risk is its combined score where run and reference have one (see `risk`), else its plain score (projection
difference where there is a baseline). It is flagged above the 95th percentile of a clean reference (arXiv 2507.21509,
appendix K). What is found of the dataset as a whole is another question, see `verdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.reference import TraitReference, TraitRisks, TraitScores
from audit.risk import Moments
from audit.schema import FLAGS
from audit.score import benjamini_hochberg, exceedance_p, percentile_of
from audit.store import ROW_GROUP_ROWS


def flag_trait(
    name: str,
    scores: TraitScores,
    reference: TraitReference | None,
    *,
    sample_ids: NDArray[np.int64],
    has_difference: bool,
    judged_n: NDArray[np.bool_],
    predicted_n: NDArray[np.bool_],
    risks: TraitRisks | None = None,
) -> Iterator[pa.Table]:
    """Yield the rows of `flags` for one trait, for every sample with a score, a row group at a time.

    Args:
        judged_n: False where the sample lies outside the model's domain: scored, never flagged.
        predicted_n: True where a baseline of the sample is predicted. It is never flagged, and is compared with clean
            scores of its own kind or none.
        has_difference: the scores are differences; otherwise that column stays null.
        risks: what is known beside the plain scores; with combined ones among it, flags are made from these.
    """
    rows = np.flatnonzero(np.isfinite(scores.max_n))
    is_combined = risks is not None and risks.risk_n is not None
    risk_n = risks.risk_n if risks is not None and risks.risk_n is not None else scores.max_n
    clean = reference.flagged_with(is_combined=is_combined) if reference is not None else None
    known = np.asarray(clean.scores_sorted if clean is not None else ())
    known_predicted = np.asarray(clean.predicted_sorted if clean is not None else ())
    q_n = np.full(rows.size, np.nan)
    if clean is not None:
        is_judged = judged_n[rows] & np.isfinite(risk_n[rows])
        is_predicted = predicted_n[rows[is_judged]]
        # What was not generated was found unlikely to pass: it counts among the tests and is never discovered.
        q = benjamini_hochberg(np.where(is_predicted, 1.0, exceedance_p(risk_n[rows[is_judged]], known)))
        q_n[is_judged] = np.where(is_predicted, np.nan, q)
    for start in range(0, max(rows.size, 1), ROW_GROUP_ROWS):
        own = rows[start : start + ROW_GROUP_ROWS]
        risk = risk_n[own]
        nothing = pa.nulls(own.size, pa.float32())
        columns: dict[str, Any] = {
            "sample_id": sample_ids[own],
            "trait": pa.repeat(pa.scalar(name, pa.string()), own.size),
            "projection_difference": _floats(scores.max_n[own]) if has_difference else nothing,
            "orthogonal_difference": nothing if risks is None else _floats(risks.orthogonal_n[own]),
            "evidence_z": nothing if risks is None else _floats(risks.evidence_z_n[own]),
            "risk": _floats(risk),
        }
        if reference is None or clean is None:
            columns |= {"z": nothing, "percentile": nothing, "q_value": nothing}
            columns["flagged"] = pa.repeat(pa.scalar(False), own.size)
            columns["reason"] = pa.repeat(pa.scalar("no clean reference", pa.string()), own.size)
        else:
            judged, predicted = judged_n[own], predicted_n[own]
            flagged = (risk > clean.threshold) & judged & ~predicted
            place_n = np.where(judged, np.where(predicted, _PREDICTED, _FLAGGED), _OUTSIDE)
            if risks is not None and is_combined and reference.combined is not None:
                place_n += np.where(place_n == _FLAGGED, _lead(risks, own, reference.combined.moments, scores), 0)
            columns |= {
                "z": _compare(_z, risk, predicted, known, known_predicted),
                "percentile": _compare(percentile_of, risk, predicted, known, known_predicted),
                "q_value": _floats(q_n[start : start + ROW_GROUP_ROWS]),
                "flagged": flagged,
                "reason": _REASONS.take(pa.array(place_n, mask=(place_n >= _FLAGGED) & ~flagged)),
            }
        missing = {name: pa.nulls(own.size, FLAGS.field(name).type) for name in FLAGS.names if name not in columns}
        yield pa.table(columns | missing).select(FLAGS.names).cast(FLAGS)


_REASONS = pa.array(
    [
        "outside the model's domain",
        "its baseline is predicted: a flag was found too unlikely to generate one",
        "above the clean 95th percentile",
        "above the clean 95th percentile: difference and evidence",
        "above the clean 95th percentile: mostly the difference",
        "above the clean 95th percentile: mostly the evidence",
    ]
)
_OUTSIDE, _PREDICTED, _FLAGGED = range(3)

_CLEAR_LEAD = 3.0
"""A part of the combined score that is this many times the other made the flag by itself."""


def _lead(risks: TraitRisks, own: NDArray[np.int64], moments: Moments, scores: TraitScores) -> NDArray[np.int64]:
    """Return what a flag rests on: 1 both parts of the combined score, 2 the difference, 3 the evidence."""
    # Where no traits are parted, the projection difference is what was combined.
    differences = np.where(np.isfinite(risks.orthogonal_n[own]), risks.orthogonal_n[own], scores.max_n[own])
    difference = np.maximum((differences - moments.difference_mean) / moments.difference_sd, 0.0)
    evidence = np.maximum((np.nan_to_num(risks.evidence_z_n[own]) - moments.z_mean) / moments.z_sd, 0.0)
    leads = [difference > _CLEAR_LEAD * evidence, evidence > _CLEAR_LEAD * difference]
    return np.select(leads, [2, 3], default=1)


def _floats(values_n: NDArray[np.float64]) -> pa.Array:
    """Return a column in which NaN is null."""
    return pa.array(values_n, pa.float32(), from_pandas=True)


def _compare(
    measure: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    risk_n: NDArray[np.float64],
    predicted_n: NDArray[np.bool_],
    clean: NDArray[np.float64],
    clean_predicted: NDArray[np.float64],
) -> pa.Array:
    """Return where each score lies among clean scores of its own kind; null where there are none."""
    values_n = np.full(risk_n.size, np.nan)
    for is_own, own_clean in ((~predicted_n, clean), (predicted_n, clean_predicted)):
        if own_clean.size:
            values_n[is_own] = measure(risk_n[is_own], own_clean)
    return _floats(values_n)


def _z(risk_n: NDArray[np.float64], clean: NDArray[np.float64]) -> NDArray[np.float64]:
    sd = clean.std()
    return np.asarray((risk_n - clean.mean()) / sd) if sd > 0 else np.full(risk_n.size, np.nan)
