"""The clean reference that a run is held against: its turns' scores by trait, its file, and whether it fits the run.

Its plain scores serve every run that was scored in the same way; where it was scanned with `--evidence full` it holds
combined scores too (see `risk`), for runs that have them. Knows no run directories; `clean` reads them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.errors import RunError
from audit.query.relations import list_manifest_traits
from audit.risk import Moments, measures_both
from audit.surplus import UNUSUAL_SHARE

MAX_REFERENCE_ROWS = 20_000
"""Records of a reference that are kept: as many as the published threshold came from."""

MIN_REFERENCE_ROWS = 100
"""Below this a 95th percentile rests on fewer than five records."""

MIN_BAND_TURNS = 200
"""Turns of a language or a length band from which on it has a mean and a standard deviation of its own."""

CLEAN, WITHIN = "clean", "within"
"""Kinds of reference: a clean dataset; the lower half of the run's own scores and its mirror image."""


@dataclass(frozen=True, slots=True)
class Band:
    """Mean and standard deviation of the clean turns of one language or length."""

    mean: float
    sd: float
    n: int


@dataclass(frozen=True, slots=True)
class LengthFit:
    """What clean turns score on average by their lengths: least squares on the logarithms of 1 + tokens."""

    intercept: float
    response: float
    baseline: float

    def expect(self, n_response_n: NDArray[np.floating], n_baseline_n: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the expected score; a turn without a baseline in tokens (NaN) counts as one as long as the response.

        That is what the fit was made with, too.
        """
        response = np.log1p(np.asarray(n_response_n, dtype=np.float64))
        baseline = np.log1p(np.asarray(n_baseline_n, dtype=np.float64))
        baseline = np.where(np.isnan(baseline), response, baseline)
        return np.asarray(self.intercept + self.response * response + self.baseline * baseline)


@dataclass(frozen=True, slots=True)
class CleanTurns:
    """Clean scores that flags are held against, one a turn, sorted; `predicted_sorted` against predicted baselines.

    Attributes:
        bands: `language en`, `tokens 17-32` and so on, where there are enough turns.
    """

    scores_sorted: tuple[float, ...]
    mean: float
    sd: float
    predicted_sorted: tuple[float, ...] = ()
    bands: dict[str, Band] = field(default_factory=dict)
    lengths: LengthFit | None = None

    @property
    def threshold(self) -> float:
        """The score that a fresh clean turn passes with a chance of at most 5 % (conformal order statistic)."""
        return self.quantile(UNUSUAL_SHARE)

    def quantile(self, share: float) -> float:
        """Return the score that a fresh clean turn passes with a chance of at most `share`."""
        rank = math.ceil((len(self.scores_sorted) + 1) * (1 - share))
        return self.scores_sorted[min(rank, len(self.scores_sorted)) - 1]


@dataclass(frozen=True, slots=True)
class CombinedTurns:
    """Clean combined scores, and the moments that they and those of every run are standardised with."""

    moments: Moments
    clean: CleanTurns


@dataclass(frozen=True, slots=True)
class TraitReference:
    """Clean scores of one trait: its turns, and the moments of the records' means over turns.

    `combined` is there where it was scanned with `--evidence full`.
    """

    layer: int
    vector_sha256: str
    plain: CleanTurns
    mean: float
    sd: float
    n: int
    combined: CombinedTurns | None = None

    def flagged_with(self, *, is_combined: bool) -> CleanTurns:
        """Return the clean scores that flags are held against; `is_combined` only where there are such."""
        if not is_combined:
            return self.plain
        assert self.combined is not None
        return self.combined.clean


@dataclass(frozen=True, slots=True)
class CleanDifferences:
    """Mean [r] and covariance [r, r] of the clean records' difference vectors, as a run stores them."""

    mean_r: tuple[float, ...]
    covariance_rr: tuple[tuple[float, ...], ...]
    n: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A clean reference: which scores it holds, of which model, and per trait.

    Attributes:
        kind: `clean`, or `within`: the run's own lower half, which is weaker and clears nothing.
        scored_with: what else decides how a score comes out, see `clean.describe_scoring`.
        n: its records.
        differences: None where the run stored no difference vectors.
    """

    source: str
    model_fingerprint: str
    score_kind: str
    scored_with: dict[str, str]
    n: int
    traits: dict[str, TraitReference]
    kind: str = CLEAN
    differences: CleanDifferences | None = None

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
        adjusted_n: the score that flags are made from, less what its turns' lengths explain; None without a fit.
    """

    orthogonal_n: NDArray[np.float64]
    window_n: NDArray[np.float64]
    layer_n: NDArray[np.float64]
    evidence_z_n: NDArray[np.float64]
    risk_n: NDArray[np.float64] | None
    adjusted_n: NDArray[np.float64] | None


def length_band(n_tokens: float) -> str:
    """Return the band of a response's length: `tokens 1-16`, `tokens 17-32` and on by powers of two."""
    upper = 16
    while upper < n_tokens:
        upper *= 2
    return f"tokens {1 if upper == 16 else upper // 2 + 1}-{upper}"


def describe_turns(
    score_t: NDArray[np.floating],
    *,
    predicted_t: NDArray[np.floating] | None = None,
    language_t: Sequence[str | None] | None = None,
    n_response_t: NDArray[np.floating] | None = None,
    n_baseline_t: NDArray[np.floating] | None = None,
) -> CleanTurns:
    """Return what a reference keeps of the finite scores of clean turns."""
    scores = np.asarray(score_t, dtype=np.float64)
    finite_t = np.isfinite(scores)
    bands: dict[str, Band] = {}
    lengths = None
    if language_t is not None:
        labels = np.asarray([f"language {language}" if language else "" for language in language_t])
        bands |= _measure_bands(scores, labels, finite_t)
    if n_response_t is not None:
        labels = np.asarray([length_band(n) if np.isfinite(n) else "" for n in n_response_t])
        bands |= _measure_bands(scores, labels, finite_t)
        lengths = _fit_lengths(scores, n_response_t, n_baseline_t, finite_t)
    values = scores[finite_t]
    return CleanTurns(
        scores_sorted=_sorted(values),
        mean=_short(values.mean()),
        sd=_short(values.std()),
        predicted_sorted=() if predicted_t is None else _sorted(predicted_t),
        bands=bands,
        lengths=lengths,
    )


def _measure_bands(
    scores: NDArray[np.float64], labels: NDArray[np.str_], finite_t: NDArray[np.bool_]
) -> dict[str, Band]:
    found = {}
    for label in np.unique(labels[finite_t]).tolist():
        own = scores[finite_t & (labels == label)]
        if label and own.size >= MIN_BAND_TURNS and own.std() > 0:
            found[label] = Band(_short(own.mean()), _short(own.std()), int(own.size))
    return found


def _fit_lengths(
    scores: NDArray[np.float64],
    n_response_t: NDArray[np.floating],
    n_baseline_t: NDArray[np.floating] | None,
    finite_t: NDArray[np.bool_],
) -> LengthFit | None:
    response = np.log1p(np.asarray(n_response_t, dtype=np.float64))
    baseline = response if n_baseline_t is None else np.log1p(np.asarray(n_baseline_t, dtype=np.float64))
    baseline = np.where(np.isnan(baseline), response, baseline)
    known_t = finite_t & np.isfinite(response)
    if known_t.sum() < MIN_REFERENCE_ROWS:
        return None
    design = np.stack([np.ones(known_t.sum()), response[known_t], baseline[known_t]], axis=1)
    # Where all baselines are as long as the responses, least squares of least norm shares the slope between them.
    found = np.linalg.lstsq(design, scores[known_t], rcond=None)[0]
    return LengthFit(*(_short(value) for value in found))


def find_moments(reference: Reference | None, manifest: Mapping[str, Any]) -> dict[str, Moments] | None:
    """Return, by trait, what the combined scores of a run are standardised with; None: plain scores make its flags."""
    if reference is None or not measures_both(manifest) or not reference.combines(list_manifest_traits(manifest)):
        return None
    return {name: trait.combined.moments for name, trait in reference.traits.items() if trait.combined is not None}


def load_reference(path: Path) -> dict[str, Reference]:
    """Read references by score kind from a file that holds one, or a list of them.

    Raises:
        RunError: the file is missing, damaged, or was written by an older version.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
        references = [_reference(entry) for entry in (loaded if isinstance(loaded, list) else [loaded])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        cure = "judge the run anew: scan its data again, which scores nothing twice"
        raise RunError(str(path), f"is no clean reference of this version: {error}", cure) from error
    return {reference.score_kind: reference for reference in references}


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


def _sorted(values_n: NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(_short(value) for value in np.sort(values_n[np.isfinite(values_n)]))


def _short(value: float | np.floating) -> float:
    return float(f"{float(value):.6g}")


def _reference(entry: Mapping[str, Any]) -> Reference:
    traits = {name: _read_trait(trait) for name, trait in entry["traits"].items()}
    differences = entry.get("differences")
    if differences is not None:
        rows = tuple(tuple(row) for row in differences["covariance_rr"])
        differences = CleanDifferences(tuple(differences["mean_r"]), rows, differences["n"])
    return Reference(**{**entry, "traits": traits, "differences": differences})


def _read_trait(trait: Mapping[str, Any]) -> TraitReference:
    combined = trait.get("combined")
    if combined is not None:
        combined = CombinedTurns(Moments(**combined["moments"]), _read_turns(combined["clean"]))
    return TraitReference(**{**trait, "plain": _read_turns(trait["plain"]), "combined": combined})


def _read_turns(entry: Mapping[str, Any]) -> CleanTurns:
    return CleanTurns(
        **{
            **entry,
            "scores_sorted": tuple(entry["scores_sorted"]),
            "predicted_sorted": tuple(entry["predicted_sorted"]),
            "bands": {name: Band(**band) for name, band in entry["bands"].items()},
            "lengths": None if entry["lengths"] is None else LengthFit(**entry["lengths"]),
        }
    )
