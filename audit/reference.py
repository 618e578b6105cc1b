"""The clean reference that a run is held against: its scores by trait, its file, and whether it fits the run.

Its plain scores serve every run that was scored in the same way; where it was scanned with `--evidence full` it holds
combined scores too (see `risk`), for runs that have them. Knows no run directories.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.errors import RunError
from audit.query.relations import list_manifest_traits
from audit.risk import Moments, measures_both
from audit.score import FLAG_PERCENTILE

MAX_REFERENCE_ROWS = 20_000
"""Rows of a reference that are kept: as many as the published threshold came from."""

MIN_REFERENCE_ROWS = 100
"""Below this a 95th percentile rests on fewer than five rows."""


@dataclass(frozen=True, slots=True)
class CleanScores:
    """Clean scores that flags are held against, sorted: one a sample, the largest over its turns.

    `predicted_sorted` are those against predicted baselines, where the reference has such.
    """

    scores_sorted: tuple[float, ...]
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
class CombinedScores:
    """Clean combined scores, and the moments that they and those of every run are standardised with."""

    moments: Moments
    clean: CleanScores


@dataclass(frozen=True, slots=True)
class TraitReference:
    """Clean scores of one trait: sorted largest-turn scores, and the moments of the means over turns.

    `predicted_sorted` are the same scores against predicted baselines, where the reference has such; `combined` are
    there where it was scanned with `--evidence full`.
    """

    layer: int
    vector_sha256: str
    scores_sorted: tuple[float, ...]
    mean: float
    sd: float
    n: int
    predicted_sorted: tuple[float, ...] = ()
    combined: CombinedScores | None = None

    def flagged_with(self, *, is_combined: bool) -> CleanScores:
        """Return the clean scores that flags are held against; `is_combined` only where there are such."""
        if not is_combined:
            return CleanScores(self.scores_sorted, self.predicted_sorted)
        assert self.combined is not None
        return self.combined.clean


@dataclass(frozen=True, slots=True)
class Reference:
    """A clean reference: which scores it holds, of which model, and per trait.

    Attributes:
        scored_with: what else decides how a score comes out, see `findings.describe_scoring`.
        any_share: share of its rows above the threshold of at least one trait.
        any_combined_share: the same of the combined scores; None without such.
    """

    source: str
    model_fingerprint: str
    score_kind: str
    scored_with: dict[str, str]
    n: int
    any_share: float
    traits: dict[str, TraitReference]
    any_combined_share: float | None = None

    def combines(self, traits: Iterable[str]) -> bool:
        """Tell whether its combined scores are those of a run with these traits.

        What a vector has orthogonal to the others' depends on all of them, so the traits must be the same.
        """
        return set(self.traits) == set(traits) and all(trait.combined is not None for trait in self.traits.values())

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


@dataclass(frozen=True, slots=True)
class TraitRisks:
    """What else is known of a run's samples for one trait: the largest over turns of each; NaN where none.

    Attributes:
        risk_n: the combined score; None where flags are made from plain scores.
    """

    orthogonal_n: NDArray[np.float64]
    evidence_z_n: NDArray[np.float64]
    risk_n: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class CleanRisks:
    """Combined scores of a clean run by trait: moments, scores by sample, and those against predicted baselines."""

    moments: Mapping[str, Moments]
    risks: Mapping[str, TraitRisks]
    predicted: Mapping[str, NDArray[np.float64]]


def find_moments(reference: Reference | None, manifest: Mapping[str, Any]) -> dict[str, Moments] | None:
    """Return, by trait, what the combined scores of a run are standardised with; None: plain scores make its flags."""
    if reference is None or not measures_both(manifest) or not reference.combines(list_manifest_traits(manifest)):
        return None
    return {name: trait.combined.moments for name, trait in reference.traits.items() if trait.combined is not None}


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
    combined: CleanRisks | None = None,
) -> Reference:
    """Make a reference from a clean run's scores; a seeded part where it has more than 20,000 rows.

    Args:
        predicted: by trait, finite scores against predicted baselines, if the run has such.
        combined: the combined scores of the same samples, if the run has such.

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
    plain = {name: own.flagged_with(is_combined=False) for name, own in traits.items()}
    above = np.logical_or.reduce([scores[name].max_n[rows] > plain[name].threshold for name in traits])
    any_combined_share = None
    if combined is not None:
        risky = np.zeros(rows.size, dtype=bool)
        for name, moments in combined.moments.items():
            risk_n = combined.risks[name].risk_n
            assert risk_n is not None
            clean = CleanScores(_sorted(risk_n[rows]), _sorted(_thin(combined.predicted.get(name, np.zeros(0)), seed)))
            traits[name] = replace(traits[name], combined=CombinedScores(moments, clean))
            risky |= risk_n[rows] > clean.threshold
        any_combined_share = float(risky.mean())
    return Reference(
        source,
        model_fingerprint,
        score_kind,
        scored_with,
        int(rows.size),
        float(above.mean()),
        traits,
        any_combined_share,
    )


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


def _thin(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    if values.size <= MAX_REFERENCE_ROWS:
        return values
    return np.asarray(np.random.default_rng(seed).choice(values, MAX_REFERENCE_ROWS, replace=False))


def _trait_reference(scores: TraitScores, rows: NDArray[np.int64], predicted: NDArray[np.float64]) -> TraitReference:
    means = scores.mean_n[rows]
    return TraitReference(
        layer=scores.layer,
        vector_sha256=scores.vector_sha256,
        scores_sorted=_sorted(scores.max_n[rows]),
        mean=float(means.mean()),
        sd=float(means.std(ddof=1)),
        n=int(rows.size),
        predicted_sorted=_sorted(predicted),
    )


def _sorted(values_n: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in np.sort(values_n[np.isfinite(values_n)]))


def _reference(entry: Mapping[str, Any]) -> Reference:
    return Reference(**{**entry, "traits": {name: _read_trait(trait) for name, trait in entry["traits"].items()}})


def _read_trait(trait: Mapping[str, Any]) -> TraitReference:
    # A reference written by an older version has neither predicted nor combined scores.
    combined = trait.get("combined")
    if combined is not None:
        combined = CombinedScores(Moments(**combined["moments"]), _read_clean(combined["clean"]))
    clean = _read_clean(trait)
    return TraitReference(
        **{
            **trait,
            "scores_sorted": clean.scores_sorted,
            "predicted_sorted": clean.predicted_sorted,
            "combined": combined,
        }
    )


def _read_clean(entry: Mapping[str, Any]) -> CleanScores:
    return CleanScores(tuple(entry["scores_sorted"]), tuple(entry.get("predicted_sorted", ())))
