"""What `show` shows: scores from the run, texts from the dataset, joined by side, turn and part."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from audit.cli.results import json_value, read_columns
from audit.errors import AuditError, QueryError
from audit.query import list_traits, open_connection, read_batches, run_named, run_query
from audit.samples import Message, Place, Sample, Source, hash_source, read_sample_at
from audit.store import RunStore

_NO_TEXTS = {"tools": None, "prompt": None, "response": None, "message": None}
_SCORE_COLUMNS = (
    "projection",
    "baseline_projection",
    "projection_difference",
    "prompt_projection",
    "standard_error",
    "orthogonal_difference",
    "evidence",
    "evidence_z",
    "prompted_evidence",
    "prompted_evidence_z",
)


def choose_top(run: str, trait: str, n: int) -> list[int]:
    """Return the ids of the samples with the highest scores of `trait`.

    Raises:
        QueryError: the run has no such trait.
    """
    with open_connection(run) as connection:
        rows = run_named(connection, "top_by_trait", {"trait": trait, "n": n}).fetchall()
    return [int(row[0]) for row in rows]


def collect_samples(run: str, sample_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return what is known of samples as JSON values, in the order asked for.

    Raises:
        QueryError: the run has no sample of an id.
    """
    manifest = RunStore(Path(run)).read_manifest()
    sources = {str(entry["path"]): Source.restore(entry) for entry in manifest["inputs"]}
    # A file may keep its times when it changes, so only its hash tells; a source that is not shown is not hashed.
    find_change = cache(_find_change)
    with open_connection(run) as connection:
        return [
            _collect(connection, run, sample_id, sources, find_change, str(manifest["config"].get("turns", "all")))
            for sample_id in sample_ids
        ]


def _collect(
    connection: duckdb.DuckDBPyConnection,
    run: str,
    sample_id: int,
    sources: Mapping[str, Source],
    find_change: Callable[[Source], str | None],
    turns: str,
) -> dict[str, Any]:
    found = _rows(
        connection,
        """SELECT record.*, wide.score_kind, wide.flagged, wide.flagged_traits, wide.cluster_id
        FROM samples AS record JOIN sample_scores AS wide USING (sample_id) WHERE sample_id = $id""",
        sample_id,
    )
    if not found:
        (n_samples,) = connection.execute("SELECT count(*) FROM samples").fetchone() or (0,)
        raise QueryError(run, f"no sample {sample_id}", f"this run has the samples 0 to {n_samples - 1}")
    shown = found[0]
    source = sources[shown["source"]]
    place = Place(source.path, shown["line"], shown["byte_offset"], shown["byte_length"])
    texts, missing = _read_texts(source, place, sample_id, turns, find_change(source))
    shown["text_missing"] = missing
    shown["turns"] = [
        {**turn, **texts.get((turn["side"], turn["turn"], turn["part"]), _NO_TEXTS)}
        for turn in _read_turns(connection, sample_id)
    ]
    return shown


def _read_turns(connection: duckdb.DuckDBPyConnection, sample_id: int) -> list[dict[str, Any]]:
    turns = _rows(connection, "SELECT * FROM turns WHERE sample_id = $id ORDER BY side, turn, part DESC", sample_id)
    scores = _rows(connection, "SELECT * FROM scores WHERE sample_id = $id", sample_id)
    for turn in turns:
        own = {
            score["trait"]: {column: score.get(column) for column in ("layer", *_SCORE_COLUMNS)}
            for score in scores
            if all(score[key] == turn[key] for key in ("side", "turn", "part"))
        }
        turn["scores"] = {trait: own[trait] for trait in list_traits(connection) if trait in own}
    return turns


def _read_texts(
    source: Source, place: Place, sample_id: int, turns: str, change: str | None
) -> tuple[dict[tuple[str, int, str], dict[str, Any]], str | None]:
    """Return prompt and response by turn, or why there are none."""
    if change is not None:
        return {}, change
    try:
        sample = read_sample_at(source, place, sample_id=sample_id, turns=turns)
    except (AuditError, OSError) as error:
        return {}, str(error)
    if not isinstance(sample, Sample):
        code = sample.reason.partition(":")[0]
        return {}, f"the record gives no turns ({code})"
    return {
        (turn.side, turn.turn, turn.part): {
            "tools": _parse(turn.tools),
            "prompt": [_to_json(message) for message in turn.prompt],
            "response": turn.response,
            "message": _to_json(turn.message),
        }
        for turn in sample.turns
    }, None


def _to_json(message: Message) -> dict[str, Any]:
    """Return a message with the fields that it has."""
    fields: dict[str, Any] = {"role": message.role, "content": message.content, "reasoning": message.reasoning or None}
    fields |= {"tool_calls": _parse(message.tool_calls), "name": message.name or None}
    return {name: value for name, value in fields.items() if value is not None}


def _parse(text: str) -> Any:
    return json.loads(text) if text else None


def _find_change(source: Source) -> str | None:
    """Return why texts must not be read from a source: it is not the file that was scanned, or it is gone."""
    try:
        found = hash_source(source, cure="show reads texts from where the scan found them")
    except AuditError as error:
        return str(error)
    return None if found == source.sha256 else f"{source.path}: has changed since the scan"


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, sample_id: int) -> list[dict[str, Any]]:
    return [
        {name: json_value(value) for name, value in zip(batch.schema.names, row, strict=True)}
        for batch in read_batches(run_query(connection, sql, {"id": sample_id}))
        for row in zip(*read_columns(batch), strict=True)
    ]
