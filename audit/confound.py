"""What else explains a score: length, form, refusals, role-play, language; and how far the cheap baseline agrees.

Correlations of turns are asked of the named queries, so that a summary and `query --name` never differ; which mark of a
record alone tells the flagged from the others is `trivial`'s question. Measures; changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from audit.query import open_connection, read_batches, run_named
from audit.query.relations import list_manifest_traits
from audit.store import ROW_GROUP_ROWS, RunStore
from audit.trivial import choose_memory_mb, measure_predictors

CONFOUNDS = (
    "n_response_tokens",
    "n_baseline_tokens",
    "list_share",
    "code_share",
    "is_refusal",
    "baseline_list_share",
    "baseline_code_share",
    "baseline_is_refusal",
    "is_role_play",
    "other_language",
)
"""What a turn's score is correlated with; `other_language`: not the commonest language of the run's responses."""

_MOST_LANGUAGES = 20
MANY_TURNS = 10
"""Conversations with this many scored turns or more are counted together."""


def measure_run_confounds(store: RunStore, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the manifest keeps as `confounds`: correlations, trivial predictors, languages, flags by turns.

    The flags, marks and wide table of the run have been written.
    """
    traits = list_manifest_traits(manifest)
    languages = _count_languages(store)
    commonest = _commonest(languages)
    outside = (manifest.get("domain") or {}).get("in_domain") is False
    seed = int(manifest["config"]["seed"])
    predictors = {} if outside else measure_predictors(store, traits, seed=seed, commonest=commonest)
    return {
        "correlations": measure_confounds(store.path, traits),
        "predictors": predictors,
        "commonest_language": commonest,
        "languages": dict(languages.most_common(_MOST_LANGUAGES)),
        "flagged_by_turns": _count_flagged_by_turns(store.path),
    }


def measure_confounds(path: Path, traits: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Return, per trait, the correlation of a turn's score with what should not explain it (sql/length_effect.sql)."""
    found = _ask(path, "length_effect")
    return {trait: {name: found.get(trait, {}).get(name) for name in CONFOUNDS} for trait in traits}


def measure_run_agreement(path: Path) -> dict[str, float | None]:
    """Return, per trait, how far the cheap difference goes with the true one (sql/baseline_agreement.sql)."""
    return {trait: row["correlation"] for trait, row in _ask(path, "baseline_agreement").items()}


def _ask(path: Path, name: str) -> dict[str, Mapping[str, Any]]:
    """Return the rows of a named query by trait."""
    return {row["trait"]: row for row in _list_rows(path, name)}


def _list_rows(path: Path, name: str) -> list[dict[str, Any]]:
    with open_connection(path, memory_mb=choose_memory_mb()) as connection:
        return [row for batch in read_batches(run_named(connection, name)) for row in batch.to_pylist()]


def _count_flagged_by_turns(path: Path) -> list[dict[str, int]]:
    """Return records and flagged ones by number of scored turns (sql/flagged_by_turns.sql), long conversations as one.

    `n_scored_turns` of the last may be the fewest that its records have.
    """
    counts: dict[int, list[int]] = {}
    for row in _list_rows(path, "flagged_by_turns"):
        own = counts.setdefault(min(row["n_scored_turns"], MANY_TURNS), [0, 0])
        own[0] += row["n_records"]
        own[1] += row["n_flagged"]
    return [
        {"n_scored_turns": n_turns, "n_records": n_records, "n_flagged": n_flagged}
        for n_turns, (n_records, n_flagged) in sorted(counts.items())
    ]


def _count_languages(store: RunStore) -> Counter[str]:
    """Count the records of each language."""
    counts: Counter[str] = Counter()
    with pq.ParquetFile(store.path / "marks.parquet") as file:
        for batch in file.iter_batches(ROW_GROUP_ROWS, columns=["language"]):
            for row in batch.column(0).value_counts().to_pylist():
                if row["values"] is not None:
                    counts[row["values"]] += row["counts"]
    return counts


def _commonest(languages: Counter[str]) -> str | None:
    """Return the commonest language; of two that are as common the first by its code."""
    return min(languages, key=lambda code: (-languages[code], code)) if languages else None
