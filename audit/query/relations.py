"""The relations of a run as SQL text: one view per table of the run directory, and the wide `sample_scores`.

Builds text; opens no more than a file's footer, since an older version may have written it. Every path and name that
comes from outside goes through `quote_text` or `quote_name`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit.schema import (
    CLUSTERS,
    FLAGS,
    JUDGE,
    MARKS,
    NEAR_DUPLICATES,
    RANDOM_DIRECTIONS,
    RANDOM_EVIDENCE,
    SAMPLES,
    SCORED_SIDES,
    SCORED_STATUSES,
    SCORES,
    TURNS,
    UNNAMED_DIRECTIONS,
    VERDICTS,
    cluster_summary_schema,
    sample_scores_schema,
)
from audit.store import Part, RunStore

RELATIONS = {
    "samples": "one row per record of the input",
    "turns": "one row per assistant turn, scored or not",
    "scores": "one row per turn and trait",
    "turn_scores": "one row per turn and trait that counts for the record, with the score that counts in this run",
    "random_evidence": "one row per turn and layer: evidence along random directions",
    "sample_scores": "one row per record, one column per trait",
    "flags": "one row per record and trait",
    "marks": "one row per record with a scored answer: what may explain a score",
    "clusters": "one row per clustered record",
    "cluster_summary": "one row per cluster",
    "near_duplicates": "one row per record that is not flagged but near one that is",
    "unnamed_directions": "one row per direction of the differences that no trait explains",
    "verdicts": "one row per trait",
    "judge": "one row per record and trait that an LLM judged",
}

SCORE_KINDS = {
    "generate": "difference",
    "file": "difference",
    "prompt": "prompt_difference",
    "none": "projection",
}

PREDICTED = "predicted_difference"
"""The score kind of a record with a predicted baseline among its turns, whatever kind the run's others have."""

_NEAR_FLAGGED = "if(cluster.sample_id IS NULL, NULL, near.sample_id IS NOT NULL) AS near_flagged"

_SQL_TYPES = {
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.string(): "VARCHAR",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.list_(pa.int64()): "BIGINT[]",
    pa.list_(pa.float32()): "FLOAT[]",
    pa.list_(pa.float32(), RANDOM_DIRECTIONS): f"FLOAT[{RANDOM_DIRECTIONS}]",
}


def quote_text(text: str) -> str:
    """Write `text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """Write `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def build_views(
    store: RunStore, manifest: Mapping[str, Any], *, stored: Path | None = None, only: Sequence[Part] | None = None
) -> Iterator[str]:
    """Yield the statements that make the relations of a run, in an order in which each can be made.

    A table that an unfinished run does not have yet becomes an empty relation with the right columns.

    Args:
        stored: the file that `sample_scores` is read from; None: it is computed from the other relations.
        only: these parts alone, and none of the run's findings.
    """
    traits = list_manifest_traits(manifest)
    kind = score_kind(manifest)
    names = [part.name for part in (store.parts() if only is None else only)]
    for table, schema in (("samples", SAMPLES), ("turns", TURNS), ("scores", SCORES)):
        # As text: a large run has ten thousand parts, and paths are slow to join.
        yield _view(table, _read_files([f"{store.path}{os.sep}{table}{os.sep}{name}" for name in names], schema))
    yield _view("random_evidence", _random_evidence(store, names))
    for table, schema in (
        ("flags", FLAGS),
        ("clusters", CLUSTERS),
        ("cluster_summary", cluster_summary_schema(traits)),
        ("verdicts", VERDICTS),
        ("marks", MARKS),
        ("near_duplicates", NEAR_DUPLICATES),
        ("unnamed_directions", UNNAMED_DIRECTIONS),
        ("judge", JUDGE),
    ):
        path = store.path / f"{table}.parquet"
        yield _view(table, _read_files([str(path)] if path.is_file() and only is None else [], schema))
    yield _view("turn_scores", _turn_scores(kind))
    wide = sample_scores_schema(traits)
    yield _view("sample_scores", _read_files([str(stored)], wide) if stored else _sample_scores(traits, kind))


def list_manifest_traits(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the traits of a run, in the order of its vectors."""
    return tuple(str(vector["trait"]) for vector in manifest.get("vectors", []))


def score_kind(manifest: Mapping[str, Any]) -> str:
    """Return what the scores of the run are: `difference`, `prompt_difference` or `projection`."""
    baseline = manifest.get("baseline") or {}
    return SCORE_KINDS.get(str(baseline.get("kind")), "difference")


def _view(name: str, select: str) -> str:
    return f"CREATE VIEW {quote_name(name)} AS {select}"


def _read_files(paths: Sequence[str], schema: pa.Schema) -> str:
    nothing = {field.name: f"NULL::{_SQL_TYPES[field.type]} AS {quote_name(field.name)}" for field in schema}
    if not paths:
        return f"SELECT {', '.join(nothing.values())} WHERE false"
    # A path that exists is taken as it is, whatever wildcards its name seems to hold.
    files = f"read_parquet([{', '.join(quote_text(path) for path in paths)}])"
    stored = _stored_columns(paths[0])
    if stored is None or set(schema.names) <= set(stored):
        return f"SELECT * FROM {files}"
    # A run written by an older version: what it does not have is null, in the place where it would be.
    columns = [quote_name(name) if name in stored else nothing[name] for name in schema.names]
    columns += [quote_name(name) for name in stored if name not in schema.names]
    return f"SELECT {', '.join(columns)} FROM {files}"


def _stored_columns(path: str) -> list[str] | None:
    """Return the columns of a file; None where it cannot be read, which the statement over it then says."""
    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return None


def _random_evidence(store: RunStore, names: Sequence[str]) -> str:
    # Only scans that measure evidence write it. Parquet knows no lists of fixed length.
    folder = store.path / "random_evidence"
    there = set(os.listdir(folder)) if folder.is_dir() else set()
    select = _read_files([f"{folder}{os.sep}{name}" for name in names if name in there], RANDOM_EVIDENCE)
    fixed = (
        f"{quote_name(field.name)}::{_SQL_TYPES[field.type]} AS {quote_name(field.name)}"
        for field in RANDOM_EVIDENCE
        if pa.types.is_fixed_size_list(field.type)
    )
    return f"SELECT * REPLACE ({', '.join(fixed)}) FROM ({select})"


def _turn_scores(kind: str) -> str:
    score = "projection" if kind == "projection" else "projection_difference"
    sides = ", ".join(quote_text(side) for side in SCORED_SIDES)
    return (
        f"SELECT sample_id, side, turn, part, trait, {score} AS score FROM scores "
        f"WHERE part = 'answer' AND side IN ({sides})"
    )


def _sample_scores(traits: Sequence[str], kind: str) -> str:
    largest = [f"max(score) FILTER (trait = {quote_text(t)}) AS {quote_name(t)}" for t in traits]
    means = [f"avg(score) FILTER (trait = {quote_text(t)})::FLOAT AS {quote_name(f'{t}_mean')}" for t in traits]
    sides = ", ".join(quote_text(side) for side in SCORED_SIDES)
    scored = ", ".join(quote_text(status) for status in SCORED_STATUSES)
    places = {
        **dict.fromkeys(("sample_id", "source", "line", "status"), "record"),
        "n_response_tokens": "length",
        **dict.fromkeys(("flagged", "flagged_traits"), "flag"),
        "cluster_id": "cluster",
        "n_scored_turns": "length",
    }
    columns = ", ".join(
        "CASE WHEN record.status = 'ok' THEN "
        f"if(length.is_predicted, {quote_text(PREDICTED)}, {quote_text(kind)}) END AS score_kind"
        if name == "score_kind"
        else _NEAR_FLAGGED
        if name == "near_flagged"
        else f"{places.get(name, 'score')}.{quote_name(name)}"
        for name in sample_scores_schema(tuple(traits)).names
    )
    return f"""SELECT {columns}
        FROM samples AS record
        LEFT JOIN (
            SELECT sample_id, sum(n_response_tokens)::INTEGER AS n_response_tokens,
                nullif(count(*) FILTER (status IN ({scored})), 0)::INTEGER AS n_scored_turns,
                bool_or(baseline_kind = 'predicted') AS is_predicted FROM turns
            WHERE part = 'answer' AND side IN ({sides}) GROUP BY sample_id
        ) AS length ON length.sample_id = record.sample_id
        LEFT JOIN (
            SELECT {", ".join(["sample_id", *largest, *means])} FROM turn_scores GROUP BY sample_id
        ) AS score ON score.sample_id = record.sample_id
        LEFT JOIN (
            SELECT sample_id, bool_or(flagged) AS flagged,
                coalesce(list(trait ORDER BY trait) FILTER (flagged), []) AS flagged_traits
            FROM flags GROUP BY sample_id
        ) AS flag ON flag.sample_id = record.sample_id
        LEFT JOIN clusters AS cluster ON cluster.sample_id = record.sample_id
        LEFT JOIN near_duplicates AS near ON near.sample_id = record.sample_id"""
