"""From scores to decisions: the clean reference, flags per sample and trait, a verdict per trait.

A sample's risk is its score (projection difference where there is a baseline). It is flagged above the 95th
percentile of a clean reference (arXiv 2507.21509, appendix K). The verdict on the dataset is a separate question:
how far its mean lies from the reference's, and whether more rows are flagged than clean data would give.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.errors import RunError
from audit.schema import FLAGS, VERDICTS
from audit.score import (
    FLAG_PERCENTILE,
    SMALL_EFFECT_D,
    Interval,
    benjamini_hochberg,
    cohens_d,
    exceedance_p,
    mean_interval,
    percentile_of,
    shift_interval,
)
from audit.store import ROW_GROUP_ROWS

MAX_REFERENCE_ROWS = 20_000
"""Rows of a reference that are kept: as many as the published threshold came from."""

MIN_REFERENCE_ROWS = 100
"""Below this a 95th percentile rests on fewer than five rows."""

MIN_VERDICT_ROWS = 20
"""Fewer scored samples than this get no verdict."""

ALARM_LEVEL = 0.01
"""Chance that clean data draws any verdict but `clear`, over all traits and both tests of each (Bonferroni)."""


@dataclass(frozen=True, slots=True)
class TraitReference:
    """Clean scores of one trait: sorted largest-turn scores, and the moments of the means over turns.

    `predicted_sorted` are the same scores against predicted baselines, where the reference has such.
    """

    layer: int
    vector_sha256: str
    scores_sorted: tuple[float, ...]
    mean: float
    sd: float
    n: int
    predicted_sorted: tuple[float, ...] = ()

    @property
    def threshold(self) -> float:
        """The score that a fresh clean sample passes with a chance of at most 5 % (conformal order statistic)."""
        rank = math.ceil((len(self.scores_sorted) + 1) * FLAG_PERCENTILE / 100)
        return self.scores_sorted[min(rank, len(self.scores_sorted)) - 1]

    @property
    def exceed_share(self) -> float:
        """Share of the reference itself above its threshold."""
        n = len(self.scores_sorted)
        return float(n - np.searchsorted(self.scores_sorted, self.threshold, side="right")) / n


@dataclass(frozen=True, slots=True)
class Reference:
    """A clean reference: which scores it holds, of which model, and per trait.

    Attributes:
        scored_with: what else decides how a score comes out, see `findings.describe_scoring`.
        any_share: share of its rows above the threshold of at least one trait.
    """

    source: str
    model_fingerprint: str
    score_kind: str
    scored_with: dict[str, str]
    n: int
    any_share: float
    traits: dict[str, TraitReference]

    def to_json(self) -> str:
        """Return the text that `reference.json` holds."""
        return json.dumps(asdict(self), allow_nan=False)


@dataclass(frozen=True, slots=True)
class TraitScores:
    """Scores of one trait over a run's samples: the largest over turns, the mean over turns; NaN where none."""

    layer: int
    vector_sha256: str
    max_n: NDArray[np.float64]
    mean_n: NDArray[np.float64]


def load_reference(path: Path) -> dict[str, Reference]:
    """Read references by score kind from a file that holds one, or a list of them.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
        references = [_reference(entry) for entry in (loaded if isinstance(loaded, list) else [loaded])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(str(path), f"is no clean reference: {error}", "name a finished run with --reference") from error
    return {reference.score_kind: reference for reference in references}


def make_reference(
    source: str,
    *,
    model_fingerprint: str,
    score_kind: str,
    scored_with: dict[str, str],
    scores: Mapping[str, TraitScores],
    seed: int,
    predicted: Mapping[str, NDArray[np.float64]] | None = None,
) -> Reference:
    """Make a reference from a clean run's scores; a seeded part where it has more than 20,000 rows.

    Args:
        predicted: by trait, finite scores against predicted baselines, if the run has such.

    Raises:
        RunError: fewer than 100 rows have scores.
    """
    complete = np.logical_and.reduce([np.isfinite(trait.max_n) for trait in scores.values()])
    rows = np.flatnonzero(complete)
    if rows.size < MIN_REFERENCE_ROWS:
        raise RunError(
            source, f"{rows.size} scored rows are too few for a reference", f"score {MIN_REFERENCE_ROWS} clean rows"
        )
    if rows.size > MAX_REFERENCE_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_REFERENCE_ROWS, replace=False))
    predicted = {name: _thin(values, seed) for name, values in (predicted or {}).items()}
    traits = {name: _trait_reference(trait, rows, predicted.get(name, np.zeros(0))) for name, trait in scores.items()}
    above = np.logical_or.reduce([scores[name].max_n[rows] > traits[name].threshold for name in traits])
    return Reference(source, model_fingerprint, score_kind, scored_with, int(rows.size), float(above.mean()), traits)


def check_reference(
    reference: Reference,
    *,
    model_fingerprint: str,
    score_kind: str,
    scored_with: Mapping[str, str],
    scores: Mapping[str, TraitScores],
) -> None:
    """Refuse a reference that was scored in another way than the run.

    Raises:
        RunError: another model, score kind, baseline, adapter, choice of turns, set of orthogonal traits, layer or
            vector; both are named.
    """
    cure = "score the clean dataset with the same model, vectors, layer and baseline"
    pairs: list[tuple[str, Any, Any]] = [
        ("model", reference.model_fingerprint, model_fingerprint),
        ("score kind", reference.score_kind, score_kind),
        *(
            (name, reference.scored_with.get(name, "none"), scored_with.get(name, "none"))
            for name in dict.fromkeys((*scored_with, *reference.scored_with))
        ),
    ]
    for name, trait in scores.items():
        if name not in reference.traits:
            raise RunError(reference.source, f"the reference has no scores for {name}", cure)
        pairs.append((f"layer of {name}", reference.traits[name].layer, trait.layer))
        pairs.append((f"vector of {name}", reference.traits[name].vector_sha256[:12], trait.vector_sha256[:12]))
    for what, theirs, ours in pairs:
        if theirs != ours:
            raise RunError(reference.source, f"the reference's {what} is {theirs}, this run's is {ours}", cure)


def flag_trait(
    name: str,
    scores: TraitScores,
    reference: TraitReference | None,
    *,
    sample_ids: NDArray[np.int64],
    has_difference: bool,
    judged_n: NDArray[np.bool_],
    predicted_n: NDArray[np.bool_],
) -> Iterator[pa.Table]:
    """Yield the rows of `flags` for one trait, for every sample with a score, a row group at a time.

    Args:
        judged_n: False where the sample lies outside the model's domain: scored, never flagged.
        predicted_n: True where a baseline of the sample is predicted. It is never flagged, and is compared with clean
            scores of its own kind or none.
        has_difference: the scores are differences; otherwise that column stays null.
    """
    rows = np.flatnonzero(np.isfinite(scores.max_n))
    clean = np.asarray(reference.scores_sorted) if reference is not None else None
    clean_predicted = np.asarray(reference.predicted_sorted if reference is not None else ())
    q_n = np.full(rows.size, np.nan)
    if clean is not None:
        is_judged = judged_n[rows]
        risk = scores.max_n[rows[is_judged]]
        is_predicted = predicted_n[rows[is_judged]]
        # What was not generated was found unlikely to pass: it counts among the tests and is never discovered.
        q = benjamini_hochberg(np.where(is_predicted, 1.0, exceedance_p(risk, clean)))
        q_n[is_judged] = np.where(is_predicted, np.nan, q)
    for start in range(0, max(rows.size, 1), ROW_GROUP_ROWS):
        own = rows[start : start + ROW_GROUP_ROWS]
        risk = scores.max_n[own]
        nothing = pa.nulls(own.size, pa.float32())
        columns: dict[str, Any] = {
            "sample_id": sample_ids[own],
            "trait": pa.repeat(pa.scalar(name, pa.string()), own.size),
            "projection_difference": pa.array(risk, pa.float32()) if has_difference else nothing,
            "risk": pa.array(risk, pa.float32()),
        }
        if reference is None or clean is None:
            columns |= {"z": nothing, "percentile": nothing, "q_value": nothing}
            columns["flagged"] = pa.repeat(pa.scalar(False), own.size)
            columns["reason"] = pa.repeat(pa.scalar("no clean reference", pa.string()), own.size)
        else:
            judged, predicted = judged_n[own], predicted_n[own]
            flagged = (risk > reference.threshold) & judged & ~predicted
            place_n = np.where(judged, np.where(predicted, 2, 0), 1)
            columns |= {
                "z": _compare(_z, risk, predicted, clean, clean_predicted),
                "percentile": _compare(percentile_of, risk, predicted, clean, clean_predicted),
                "q_value": pa.array(q_n[start : start + ROW_GROUP_ROWS], pa.float32(), from_pandas=True),
                "flagged": flagged,
                "reason": _REASONS.take(pa.array(place_n, mask=(place_n == 0) & ~flagged)),
            }
        yield pa.table(columns).cast(FLAGS)


_REASONS = pa.array(
    [
        "above the clean 95th percentile",
        "outside the model's domain",
        "its baseline is predicted: a flag was found too unlikely to generate one",
    ]
)


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
    return pa.array(values_n, pa.float32(), from_pandas=True)


def _z(risk_n: NDArray[np.float64], clean: NDArray[np.float64]) -> NDArray[np.float64]:
    sd = clean.std()
    return np.asarray((risk_n - clean.mean()) / sd) if sd > 0 else np.full(risk_n.size, np.nan)


def judge_traits(
    scores: Mapping[str, TraitScores],
    reference: Reference | None,
    *,
    n_flagged: Mapping[str, int],
    judged_n: NDArray[np.bool_],
    undecided: str | None,
    estimated: Mapping[str, Interval] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of `verdicts`.

    Args:
        undecided: a reason why no trait gets a verdict, if there is one.
        estimated: the means, where they are not simply those of the scores; see `means.estimate_means`.
    """
    rows = []
    for name, trait in scores.items():
        means = trait.mean_n[np.isfinite(trait.mean_n) & judged_n]
        interval = mean_interval(means) if estimated is None or not means.size else estimated.get(name)
        clean = reference.traits[name] if reference else None
        row: dict[str, Any] = {"trait": name, "layer": trait.layer, "n": int(means.size)}
        row["mean_difference"] = interval.mean if interval else None
        row["ci_low"] = interval.low if interval else None
        row["ci_high"] = interval.high if interval else None
        row["cohens_d"] = None
        row["n_flagged"] = n_flagged.get(name, 0)
        row["expected_false_flags"] = clean.exceed_share * means.size if clean else None
        row["verdict"] = "undecided"
        if undecided is not None:
            row["reason"] = undecided
        elif clean is None:
            row["reason"] = "no clean reference for this model: scan a clean dataset and pass it with --reference"
        elif interval is None or means.size < MIN_VERDICT_ROWS:
            row["reason"] = f"{means.size} scored samples are too few for a verdict; {MIN_VERDICT_ROWS} are needed"
        else:
            row["cohens_d"] = cohens_d(interval, Interval(clean.mean, 0.0, 0.0, clean.sd, clean.n))
            row["verdict"], row["reason"] = _verdict(row, interval, clean, n_tests=2 * len(scores))
        rows.append(row)
    return rows


def verdicts_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the verdicts as the table that is written."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=VERDICTS)


def _verdict(row: Mapping[str, Any], sample: Interval, clean: TraitReference, *, n_tests: int) -> tuple[str, str]:
    """Weigh the shift of the mean and the surplus of flags; `watch` where either is real, `risk` where it is large."""
    alarm_z = _upper_quantile(ALARM_LEVEL / n_tests)
    shift = shift_interval(sample, Interval(clean.mean, 0.0, 0.0, clean.sd, clean.n))
    shift_error = (shift.high - shift.low) / 2 / 1.959964
    shift_z = shift.mean / shift_error if shift_error > 0 else 0.0
    expected = clean.exceed_share
    share = row["n_flagged"] / row["n"]
    # The reference's own threshold is an estimate, so its share is uncertain too.
    share_error = math.sqrt(max(expected * (1 - expected), 1e-9) * (1 / row["n"] + 1 / clean.n))
    share_z = (share - expected) / share_error
    d = row["cohens_d"] or 0.0
    is_shifted, has_surplus = shift_z > alarm_z, share_z > alarm_z
    words = f"{share:.1%} flagged, {expected:.1%} expected of clean data; mean shifted by d = {d:+.2f}"
    if is_shifted and d < SMALL_EFFECT_D:
        words += " (small: it says little about single samples)"
    if (is_shifted and d >= SMALL_EFFECT_D) or (has_surplus and share >= 2 * expected):
        return "risk", words
    if is_shifted or has_surplus:
        return "watch", words
    return "clear", words


def _upper_quantile(p: float) -> float:
    return NormalDist().inv_cdf(1 - p)


def _thin(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    if values.size <= MAX_REFERENCE_ROWS:
        return values
    return np.asarray(np.random.default_rng(seed).choice(values, MAX_REFERENCE_ROWS, replace=False))


def _trait_reference(scores: TraitScores, rows: NDArray[np.int64], predicted: NDArray[np.float64]) -> TraitReference:
    means = scores.mean_n[rows]
    return TraitReference(
        layer=scores.layer,
        vector_sha256=scores.vector_sha256,
        scores_sorted=tuple(float(f"{value:.6g}") for value in np.sort(scores.max_n[rows])),
        mean=float(means.mean()),
        sd=float(means.std(ddof=1)),
        n=int(rows.size),
        predicted_sorted=tuple(float(f"{value:.6g}") for value in np.sort(predicted)),
    )


def _reference(entry: Mapping[str, Any]) -> Reference:
    traits = {
        name: TraitReference(
            **{
                **trait,
                "scores_sorted": tuple(trait["scores_sorted"]),
                "predicted_sorted": tuple(trait.get("predicted_sorted", ())),
            }
        )
        for name, trait in entry["traits"].items()
    }
    return Reference(**{**entry, "traits": traits})
