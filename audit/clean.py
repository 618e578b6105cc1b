"""A run read as a reference: a clean run that others are held against, or a run that is held against itself.

What a reference keeps is one score a turn, so that a conversation of many turns can be told from a single one. Without
a clean reference a run's own lower half and its mirror image stand for clean data: right where clean scores are
symmetric and most records are clean, and said to be weaker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from audit.differences import read_difference_ids, read_differences
from audit.errors import RunError
from audit.query import open_connection
from audit.query.relations import PREDICTED, list_manifest_traits, quote_text, score_kind
from audit.query.stored import find_stored_scores
from audit.reference import (
    CLEAN,
    MAX_REFERENCE_ROWS,
    MIN_REFERENCE_ROWS,
    WITHIN,
    CleanDifferences,
    CleanTurns,
    CombinedTurns,
    Reference,
    TraitReference,
    describe_turns,
)
from audit.risk import Moments, measures_both
from audit.scatter import measure_scatter
from audit.schema import SCORED_SIDES
from audit.store import ROW_GROUP_ROWS, SAMPLE_SCORES, RunStore
from audit.wide import RunScores, gather_scores, group_parts, read_sample_ids

_MAD_TO_SD = 1.4826
"""Median absolute deviations in one standard deviation of a normal distribution."""


def describe_scoring(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return what, beside model, vectors and score kind, a reference must share with a run that is held against it."""
    adapter = manifest["model"]["adapter"]
    described = {
        "baseline": manifest["baseline"]["kind"],
        "adapter": adapter["sha256"][:12] if adapter else "none",
        "turns": manifest["config"]["turns"],
    }
    if manifest["config"].get("baseline_samples"):
        described["number of baseline samples"] = str(manifest["config"]["baseline_samples"])
    if manifest["config"].get("orthogonal"):
        # What is left of a vector depends on all the others.
        described["set of orthogonal traits"] = ", ".join(sorted(vector["trait"] for vector in manifest["vectors"]))
    return described


def why_undecided(manifest: Mapping[str, Any]) -> str | None:
    """Return why nothing can be said of a run, if so: the model does not know its text."""
    domain = manifest["domain"]
    if domain["in_domain"] is False:
        return (
            f"out of the demo model's domain: mean loss {domain['mean_nll']:.1f} nats a token, "
            f"{domain['out_share']:.0%} of the probe above {domain['threshold']}"
        )
    return None


def find_judged(store: RunStore, manifest: Mapping[str, Any], sample_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return False for samples with an answer, trained towards, whose loss lies above the domain's threshold."""
    judged = np.ones(len(sample_ids), dtype=bool)
    threshold = manifest["domain"]["threshold"]
    if threshold is None:
        return judged
    with open_connection(store.path) as connection:
        outside = connection.sql(
            "SELECT sample_id FROM turns WHERE response_nll > ? AND part = 'answer' AND list_contains(?, side)",
            params=[threshold, list(SCORED_SIDES)],
        ).to_arrow_reader(ROW_GROUP_ROWS)
        for batch in outside:
            judged[np.searchsorted(sample_ids, batch.column(0).to_numpy())] = False
    return judged


def reference_from_run(path: Path, *, seed: int) -> Reference:
    """Make a clean reference from a finished run; rows outside the model's domain are left out.

    Raises:
        RunError: there is no finished run, it lies outside the model's domain, or too few of its rows have scores.
    """
    store = RunStore(path)
    manifest = store.read_finished_manifest()
    undecided = why_undecided(manifest)
    if undecided is not None:
        raise RunError(str(path), f"cannot be a reference: {undecided}", "use data that the model knows")
    with _gathered(store, manifest) as wide:
        kept = _choose_records(store, manifest, wide, seed)
        n = len(kept.ids)
        if n < MIN_REFERENCE_ROWS:
            finding = f"{n} scored rows are too few for a reference"
            raise RunError(str(path), finding, f"score {MIN_REFERENCE_ROWS} clean rows")
        turns = _read_turns(store, manifest, kept)
        means = {trait: own.mean_n[kept.rows] for trait, own in RunScores(wide, manifest).items()}
    moments = _find_moments(turns, manifest, _mean_and_sd)
    traits = {}
    for vector in manifest["vectors"]:
        own = turns[vector["trait"]]
        mean_n = means[vector["trait"]]
        combined = None
        if moments is not None:
            combined = CombinedTurns(moments[vector["trait"]], own.describe_risks(moments[vector["trait"]]))
        traits[vector["trait"]] = TraitReference(
            layer=vector["layer"],
            vector_sha256=vector["sha256"],
            plain=own.describe_scores(),
            mean=float(mean_n.mean()),
            sd=float(mean_n.std(ddof=1)),
            n=n,
            combined=combined,
        )
    return _make_reference(manifest, str(path), CLEAN, n, traits, measure_differences(store, kept.ids))


def reference_within(store: RunStore, manifest: Mapping[str, Any], wide: Path, *, seed: int) -> Reference | None:
    """Make a reference from a run's own lower half; None where too few records have scores, or it does not vary."""
    kept = _choose_records(store, manifest, wide, seed)
    n = len(kept.ids)
    if n < MIN_REFERENCE_ROWS:
        return None
    turns = _read_turns(store, manifest, kept)
    moments = _find_moments(turns, manifest, _median_and_mad)
    traits = {}
    for vector in manifest["vectors"]:
        own = turns[vector["trait"]].without_predicted()
        centre = _median_and_mad(own.score_t)
        if centre is None:
            return None
        plain = own.mirrored(own.score_t).describe_scores()
        combined = None
        if moments is not None:
            own_moments = moments[vector["trait"]]
            mirrored = own.mirrored(own_moments.combine(own.difference_t, own.z_t))
            combined = CombinedTurns(own_moments, mirrored.describe_scores())
        if min(turns.sd for turns in (plain, *([combined.clean] if combined else []))) == 0:
            # Where half of all scores are one number, every other one would seem unusual.
            return None
        traits[vector["trait"]] = TraitReference(
            layer=vector["layer"],
            vector_sha256=vector["sha256"],
            plain=plain,
            mean=centre[0],
            sd=centre[1],
            n=n,
            combined=combined,
        )
    return _make_reference(manifest, "the lower half of the run's own scores", WITHIN, n, traits, None)


def measure_differences(store: RunStore, sample_ids: NDArray[np.int64]) -> CleanDifferences | None:
    """Return mean and covariance of the records' mean difference vectors; None for fewer than 100.

    Args:
        sample_ids: the records that count, rising.
    """
    ids, start = read_difference_ids(store), 0

    def read_own() -> Iterator[NDArray[np.float32]]:
        nonlocal start
        for vectors_nr in read_differences(store):
            stop = start + len(vectors_nr)
            yield vectors_nr[np.isin(ids[start:stop], sample_ids)]
            start = stop

    found = measure_scatter(read_own())
    if found is None or found.n < MIN_REFERENCE_ROWS:
        return None
    covariance_rr = found.covariance_rr * (found.n / (found.n - 1))
    rows = tuple(tuple(float(f"{value:.6g}") for value in row) for row in covariance_rr)
    return CleanDifferences(tuple(float(f"{value:.6g}") for value in found.mean_r), rows, found.n)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Records that a reference is made from: their places in the wide table and ids; those with predictions."""

    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    predicted_ids: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Turns:
    """The turns [t] of one trait; NaN where there is nothing. `predicted_*` are scores against predicted baselines."""

    score_t: NDArray[np.float64]
    difference_t: NDArray[np.float64]
    z_t: NDArray[np.float64]
    language_t: list[str | None]
    n_response_t: NDArray[np.float64]
    n_baseline_t: NDArray[np.float64]
    predicted_score_t: NDArray[np.float64]
    predicted_difference_t: NDArray[np.float64]
    predicted_z_t: NDArray[np.float64]

    def describe_scores(self) -> CleanTurns:
        return self._describe(self.score_t, self.predicted_score_t)

    def describe_risks(self, moments: Moments) -> CleanTurns:
        predicted = moments.combine(self.predicted_difference_t, self.predicted_z_t)
        return self._describe(moments.combine(self.difference_t, self.z_t), predicted)

    def without_predicted(self) -> _Turns:
        nothing = np.zeros(0)
        return _Turns(
            self.score_t,
            self.difference_t,
            self.z_t,
            self.language_t,
            self.n_response_t,
            self.n_baseline_t,
            nothing,
            nothing,
            nothing,
        )

    def mirrored(self, score_t: NDArray[np.float64]) -> _Mirrored:
        return _Mirrored(score_t, self)

    def _describe(self, score_t: NDArray[np.float64], predicted_t: NDArray[np.float64]) -> CleanTurns:
        return describe_turns(
            score_t,
            predicted_t=predicted_t,
            language_t=self.language_t,
            n_response_t=self.n_response_t,
            n_baseline_t=self.n_baseline_t,
        )


@dataclass(frozen=True, slots=True)
class _Mirrored:
    """Scores of turns, of which the lower half and its mirror image count; what lengths explain is read of them all."""

    score_t: NDArray[np.float64]
    turns: _Turns

    def describe_scores(self) -> CleanTurns:
        finite = self.score_t[np.isfinite(self.score_t)]
        centre = float(np.median(finite))
        lower = finite[finite <= centre]
        described = describe_turns(np.concatenate([lower, 2 * centre - lower[lower < centre]]))
        whole = describe_turns(self.score_t, n_response_t=self.turns.n_response_t, n_baseline_t=self.turns.n_baseline_t)
        return CleanTurns(described.scores_sorted, described.mean, described.sd, lengths=whole.lengths)


def _make_reference(
    manifest: Mapping[str, Any],
    source: str,
    kind: str,
    n: int,
    traits: dict[str, TraitReference],
    differences: CleanDifferences | None,
) -> Reference:
    return Reference(
        source=source,
        model_fingerprint=manifest["model"]["fingerprint"],
        score_kind=score_kind(manifest),
        scored_with=describe_scoring(manifest),
        n=n,
        traits=traits,
        kind=kind,
        differences=differences,
    )


def _choose_records(store: RunStore, manifest: Mapping[str, Any], wide: Path, seed: int) -> _Kept:
    """Choose the records with all scores, inside the model's domain; a seeded part of more than 20,000.

    With `auto` only records whose baselines were all drawn at random count: the others have a true one because their
    scores might be high.
    """
    sample_ids = read_sample_ids(wide)
    scores = RunScores(wide, manifest)
    judged_n = find_judged(store, manifest, sample_ids)
    complete_n = judged_n.copy()
    for trait in scores:
        complete_n &= np.isfinite(scores[trait].max_n)
    predicted_ids = np.zeros(0, np.int64)
    if manifest["baseline"].get("auto"):
        predicted_ids = _thin(sample_ids[judged_n], seed)
        complete_n &= np.isin(sample_ids, _read_random_ids(store))
    rows = _thin(np.flatnonzero(complete_n), seed)
    return _Kept(rows, sample_ids[rows], predicted_ids)


def _thin(values_n: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    if values_n.size <= MAX_REFERENCE_ROWS:
        return values_n
    return np.sort(np.random.default_rng(seed).choice(values_n, MAX_REFERENCE_ROWS, replace=False))


def _read_random_ids(store: RunStore) -> NDArray[np.int64]:
    query = (
        "SELECT sample_id FROM turns WHERE part = 'answer' AND list_contains($1, side) "
        "GROUP BY sample_id HAVING bool_and(baseline_draw = 'random')"
    )
    found = [np.zeros(0, np.int64)]
    for parts in group_parts(store.parts()):
        with open_connection(store.path, only=parts) as connection:
            found.append(connection.sql(query, params=[list(SCORED_SIDES)]).to_arrow_table()["sample_id"].to_numpy())
    return np.concatenate(found)


def _read_turns(store: RunStore, manifest: Mapping[str, Any], kept: _Kept) -> dict[str, _Turns]:
    """Read the turns of the records that count, by trait."""
    score = "projection" if score_kind(manifest) == "projection" else "projection_difference"
    query = f"""
        SELECT sample_id, trait, {score} AS score,
            coalesce(orthogonal_difference, projection_difference) AS difference, evidence_z AS z,
            projection - predicted_baseline_projection AS predicted,
            coalesce(baseline_kind = {quote_text(PREDICTED.removesuffix("_difference"))}, false) AS is_predicted,
            language, n_response_tokens, n_baseline_tokens
        FROM scores JOIN turns USING (sample_id, side, turn, part)
        WHERE part = 'answer' AND list_contains($1, side)
        ORDER BY sample_id, side, turn, trait
    """
    wanted = np.union1d(kept.ids, kept.predicted_ids)
    tables = []
    for parts in group_parts(store.parts()):
        if not np.searchsorted(wanted, parts[0].start) < np.searchsorted(wanted, parts[-1].stop):
            continue
        with open_connection(store.path, only=parts) as connection:
            table = connection.sql(query, params=[list(SCORED_SIDES)]).to_arrow_table()
        tables.append(table.filter(pc.is_in(table["sample_id"], pa.array(wanted))))
    table = pa.concat_tables(tables)
    return {
        trait: _split_turns(table.filter(pc.equal(table["trait"], trait)), kept)
        for trait in list_manifest_traits(manifest)
    }


def _split_turns(table: pa.Table, kept: _Kept) -> _Turns:
    ids = table["sample_id"].to_numpy()
    own = table.filter(pa.array(np.isin(ids, kept.ids)))
    other = table.filter(pa.array(np.isin(ids, kept.predicted_ids)))
    predicted = other.filter(other["is_predicted"])
    return _Turns(
        score_t=_floats(own, "score"),
        difference_t=_floats(own, "difference"),
        z_t=_floats(own, "z"),
        language_t=own["language"].to_pylist(),
        n_response_t=_floats(own, "n_response_tokens"),
        n_baseline_t=_floats(own, "n_baseline_tokens"),
        # Plain scores have a prediction for every turn; combined ones only where the baseline stayed predicted.
        predicted_score_t=_floats(other, "predicted"),
        predicted_difference_t=_floats(predicted, "difference"),
        predicted_z_t=_floats(predicted, "z"),
    )


def _floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _find_moments(turns: Mapping[str, _Turns], manifest: Mapping[str, Any], measure: Any) -> dict[str, Moments] | None:
    """Return what combined scores are standardised with, by trait; None where not all have what it takes."""
    if not measures_both(manifest):
        return None
    found = {}
    for trait, own in turns.items():
        difference, z = measure(own.difference_t), measure(own.z_t)
        if difference is None or z is None:
            return None
        found[trait] = Moments(*(float(f"{value:.9g}") for value in (*difference, *z)))
    return found


def _mean_and_sd(values_t: NDArray[np.float64]) -> tuple[float, float] | None:
    finite = values_t[np.isfinite(values_t)]
    if finite.size < 2 or finite.std(ddof=1) == 0:
        return None
    return float(finite.mean()), float(finite.std(ddof=1))


def _median_and_mad(values_t: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return centre and spread that a minority cannot move; the spread of all where most are alike."""
    finite = values_t[np.isfinite(values_t)]
    if finite.size < 2:
        return None
    centre = float(np.median(finite))
    spread = _MAD_TO_SD * float(np.median(np.abs(finite - centre))) or float(finite.std(ddof=1))
    return (centre, spread) if spread > 0 else None


@contextmanager
def _gathered(store: RunStore, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """Give a run's wide table; where it has none, one that is computed for the moment and lies outside the run."""
    stored = find_stored_scores(store, list_manifest_traits(manifest))
    if stored is not None:
        yield stored
        return
    with TemporaryDirectory(prefix="persona-audit-") as folder:
        gather_scores(store, manifest, Path(folder) / SAMPLE_SCORES)
        yield Path(folder) / SAMPLE_SCORES
