"""A run against labels: what its scores and flags are worth where somebody knows, and what trivial rivals reach there.

Asks the run's relations; texts alone, for the bag of words, come from the dataset. Changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from audit.errors import ConfigError, DataError, MissingDataError
from audit.events import Listener, StageAdvanced, StageFinished, StageStarted, ignore_events
from audit.query import open_connection, read_batches, run_query
from audit.query.relations import list_manifest_traits
from audit.retrieval import (
    Bools,
    Floats,
)
from audit.store import RunStore
from audit.validation.groups import compare_groups
from audit.validation.labels import SHOWN, UNLABELLED, Labels, read_labels
from audit.validation.measure import (
    count_flags,
    explain_no_auc,
    finite_values,
    join_flags,
    measure_random,
    measure_rival,
    measure_score,
)
from audit.validation.rivals import (
    LEAST_OF_A_KIND,
    MOST_DIRECTION_ROWS,
    WordRival,
    choose_part,
    measure_length_and_loss,
    project_random_directions,
    read_random_evidence,
    train_words,
)
from audit.validation.values import ScoreQuality, TraitQuality, Validation

K_DEFAULT = (50, 100, 500)

FLAG_SCORES = (
    "risk",
    "length_adjusted",
    "projection_difference",
    "orthogonal_difference",
    "window_difference",
    "layer_difference",
    "evidence_z",
)
"""Columns of `flags` that order records, what flags are made from first."""

TURN_SCORES = ("projection", "prompted_evidence", "prompted_evidence_z")
"""Columns of `scores` of which a record has the largest over its answers."""

_SEED = 0
_MEMORY_MB = 800
_STAGE = "validating"


def validate_run(
    run_path: str | Path,
    labels: str | Path,
    *,
    traits: Sequence[str] = (),
    k: Sequence[int] = K_DEFAULT,
    by: str | None = None,
    listener: Listener = ignore_events,
) -> Validation:
    """Hold a finished run against a file of labels.

    Args:
        labels: see `audit.validation.labels`.
        traits: those to look at; none: all of the run that the labels speak of.
        k: numbers of records that precision is measured at.
        by: a further column of the labels; the flags' share of each value is set beside the data's.

    Raises:
        RunError: there is no finished run.
        MissingDataError, DataError: the labels cannot be read, or are of something else.
        ConfigError: a trait, a k or a column that there is not.
    """
    store = RunStore(Path(run_path))
    manifest = store.read_finished_manifest()
    own = list_manifest_traits(manifest)
    _refuse_bad_options(own, traits, k)
    n_samples = int(manifest["counts"]["n_samples"])
    read = read_labels(labels, traits=own, n_samples=n_samples)
    if by is not None and by not in read.columns:
        there = ", ".join(repr(name[:40]) for name in read.columns) or "none"
        raise ConfigError(f"--by {by}", f"the labels have no such further column; they have {there}", "name one")
    chosen = [trait for trait in (traits or own) if trait in read.shown]
    memory_mb = max(_MEMORY_MB, 100 * (os.cpu_count() or 1))
    with open_connection(run_path, memory_mb=memory_mb) as connection:
        job = _Validation(store, manifest, connection, read, n_samples, listener)
        notices = [*_note_labels(read, own, traits or own), *job.measure_rivals(chosen)]
        found = []
        for trait in chosen:
            found.append(job.measure_trait(trait, k))
            listener(StageAdvanced(_STAGE, 1))
        listener(StageFinished(_STAGE))
        notices += job.note_missing_words(found)
        groups = () if by is None else compare_groups(read.columns[by], read.shown, job.flagged, job.is_scored)
    return Validation(
        run=str(run_path),
        labels=str(labels),
        n_samples=n_samples,
        n_labelled=read.sample_ids.size,
        traits=tuple(found),
        overall=join_flags([row.flags for row in found]),
        by_column=by,
        by=tuple(groups),
        notices=tuple(notices),
    )


def _refuse_bad_options(own: Sequence[str], traits: Sequence[str], k: Sequence[int]) -> None:
    unknown = [trait for trait in traits if trait not in own]
    if unknown:
        raise ConfigError(f"--trait {unknown[0]}", "the run has no such trait", f"it has {', '.join(own)}")
    if any(number < 1 for number in k):
        raise ConfigError("--k", f"{min(k)} is no number of records", "give whole numbers from 1, such as 50,100,500")


def _note_labels(labels: Labels, own: Sequence[str], asked: Sequence[str]) -> list[str]:
    notices = []
    if labels.others:
        names = ", ".join(repr(name[:40]) for name in labels.others[:10])
        notices.append(f"the labels speak of {names}, which the run has no vector for")
    missing = [trait for trait in asked if trait not in labels.shown]
    if missing:
        notices.append(f"the labels have no column of {', '.join(missing)}: not validated")
    return notices


class _Validation:
    """What is asked of the run once, and then of each trait."""

    def __init__(
        self,
        store: RunStore,
        manifest: Mapping[str, Any],
        connection: duckdb.DuckDBPyConnection,
        labels: Labels,
        n_samples: int,
        listener: Listener,
    ) -> None:
        n = labels.sample_ids.size
        self.labels = labels
        self.flagged: dict[str, Bools] = {}
        self.is_scored: Bools = np.zeros(n, dtype=bool)
        self._store, self._manifest, self._connection, self._listener = store, manifest, connection, listener
        self._place_n = np.full(n_samples, -1, dtype=np.int64)
        self._place_n[labels.sample_ids] = np.arange(n)
        self._plain: dict[str, Floats] = {}
        self._random: dict[str, Floats] = {}
        self._words: WordRival | None = None

    def measure_rivals(self, traits: Sequence[str]) -> list[str]:
        """Measure what does not depend on the trait; return what to say about what is missing."""
        notices = []
        n = self.labels.sample_ids.size
        self._listener(StageStarted(_STAGE, len(traits), "traits"))
        measured = measure_length_and_loss(self._connection, self._place_n)
        self._plain = {"length alone": measured["length"], "loss alone": measured["loss"]}
        part = choose_part(n, MOST_DIRECTION_ROWS, seed=_SEED)
        if part.size < n:
            notices.append(f"random directions are measured on {part.size:,} of the labelled records")
        place_n = np.full(self._place_n.size, -1, dtype=np.int64)
        place_n[self.labels.sample_ids[part]] = np.arange(part.size)
        missing = []
        for name, found in (
            ("random directions", project_random_directions(self._store, place_n, seed=_SEED)),
            ("random evidence", read_random_evidence(self._store, place_n)),
        ):
            if found is None:
                missing.append(name)
            else:
                self._random[name] = np.full((n, found.shape[1]), np.nan, dtype=np.float32)
                self._random[name][part] = found
        if missing:
            notices.append(f"no {' and no '.join(missing)}: the scan stored nothing to measure them by")
        try:
            shown = {trait: self.labels.shown[trait] for trait in traits}
            self._words = train_words(self._manifest, self.labels.sample_ids, shown, seed=_SEED)
        except (MissingDataError, DataError) as error:
            notices.append(f"no bag of words, for want of the texts: {error.place}: {error.finding}")
        return notices

    def note_missing_words(self, found: Sequence[TraitQuality]) -> list[str]:
        """Return what to say of traits that a bag of words could not be trained on."""
        if self._words is None:
            return []
        traits = [own.trait for own in found if own.reason is None and own.trait not in self._words.logits]
        which = f"{LEAST_OF_A_KIND} records that show the trait and {LEAST_OF_A_KIND} that do not"
        return [f"no bag of words for {', '.join(traits)}: each half of the labels needs {which}"] if traits else []

    def measure_trait(self, trait: str, k: Sequence[int]) -> TraitQuality:
        """Return what scores and flags are worth for one trait."""
        label_n = self.labels.shown[trait]
        is_labelled = label_n != UNLABELLED
        scores, flagged, n_flagged, n_covered = self._read_scores(trait, is_labelled)
        # Whatever orders records is measured where the score that makes flags is known.
        is_scored = is_labelled & np.isfinite(scores["risk"])
        self.flagged[trait] = flagged & is_scored
        self.is_scored |= is_scored
        positive_n = label_n == SHOWN
        rows = is_scored.nonzero()[0]
        n_positive = int(positive_n[rows].sum())
        reason = explain_no_auc(rows.size, n_positive, int(is_labelled.sum()))
        qualities = [
            measure_score(name, values_n[rows], positive_n[rows], k)
            for name, values_n in scores.items()
            if np.isfinite(values_n[rows]).any()
        ]
        rivals = [] if reason else self._measure_rivals(trait, scores["risk"], rows, positive_n, k)
        return TraitQuality(
            trait=trait,
            n=int(rows.size),
            n_positive=n_positive,
            n_unscored=int((is_labelled & ~is_scored).sum()),
            n_unscored_positive=int((positive_n & ~is_scored).sum()),
            scores=(*qualities, *rivals),
            flags=count_flags(self.flagged[trait][rows], positive_n[rows], n_flagged, n_covered),
            reason=reason,
        )

    def _measure_rivals(
        self, trait: str, risk_n: Floats, rows: NDArray[np.int64], positive_n: Bools, k: Sequence[int]
    ) -> list[ScoreQuality]:
        found = [
            measure_rival(name, values_n[rows], positive_n[rows], k)
            for name, values_n in self._plain.items()
            if np.isfinite(values_n[rows]).any()
        ]
        found += [measure_random(name, values_nd[rows], positive_n[rows]) for name, values_nd in self._random.items()]
        words_n = self._words.logits.get(trait) if self._words is not None else None
        if words_n is not None and np.isfinite(words_n[rows]).any():
            found.append(measure_score("bag of words, half", words_n[rows], positive_n[rows], k, is_rival=True))
            half_n = np.where(np.isfinite(words_n), risk_n, np.nan)
            found.append(measure_score("risk, the same half", half_n[rows], positive_n[rows], k))
        return found

    def _read_scores(self, trait: str, is_labelled: Bools) -> tuple[dict[str, Floats], Bools, int, int]:
        """Return scores and flags of labelled records, and how many flags there are, and how many are labelled."""
        n = self.labels.sample_ids.size
        scores = {name: np.full(n, np.nan) for name in (*FLAG_SCORES, *TURN_SCORES)}
        flagged = np.zeros(n, dtype=bool)
        n_flagged = n_covered = 0
        columns = ", ".join(FLAG_SCORES)
        select = f"SELECT sample_id, flagged, {columns} FROM flags WHERE trait = $trait"
        for batch in self._read(select, trait):
            places = self._place_n[batch["sample_id"].to_numpy()]
            is_flagged = batch["flagged"].fill_null(False).to_numpy(zero_copy_only=False)
            own = places >= 0
            n_flagged += int(is_flagged.sum())
            flagged[places[own]] = is_flagged[own]
            n_covered += int(is_labelled[places[own & is_flagged]].sum())
            for name in FLAG_SCORES:
                scores[name][places[own]] = finite_values(batch[name])[own]
        largest = ", ".join(f"max({name}) FILTER (isfinite({name})) AS {name}" for name in TURN_SCORES)
        select = (
            f"SELECT sample_id, {largest} FROM scores WHERE trait = $trait AND part = 'answer' "
            "AND side IN ('response', 'chosen') GROUP BY sample_id"
        )
        for batch in self._read(select, trait):
            places = self._place_n[batch["sample_id"].to_numpy()]
            own = places >= 0
            for name in TURN_SCORES:
                scores[name][places[own]] = finite_values(batch[name])[own]
        return scores, flagged, n_flagged, n_covered

    def _read(self, select: str, trait: str) -> Any:
        return read_batches(run_query(self._connection, select, {"trait": trait}), batch_rows=100_000)
