"""Which record of one run is which of the other: the temporary table `pairs` over two opened runs.

Over the same data a record is the record at the same place. Otherwise it is the one that says the same: its
`content_id` (63 bits), whatever file, line or format it is in; the k-th copy of a conversation is the k-th copy. Runs
from before there were content ids are matched by file name and line where their data are the same files in another
order, and else not at all.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import duckdb

from audit.compare.settings import inputs_identity


class Way(enum.StrEnum):
    """How records are matched."""

    PLACE = "place"
    CONTENT = "content"
    LINE = "line"
    NONE = "none"


def choose_way(
    connection: duckdb.DuckDBPyConnection, manifest_a: Mapping[str, Any], manifest_b: Mapping[str, Any]
) -> Way:
    """Return how the records of two runs can be matched."""
    a, b = inputs_identity(manifest_a), inputs_identity(manifest_b)
    if a == b:
        return Way.PLACE
    if all(_has_content_ids(connection, run) for run in "ab"):
        return Way.CONTENT
    return Way.LINE if sorted(a) == sorted(b) else Way.NONE


def match_records(connection: duckdb.DuckDBPyConnection, way: Way) -> None:
    """Make the table `pairs`: id_a, id_b (null where the other run has no such record), and what both say of it.

    Records that could not be read have no content, and are left out where it is content that matches.
    """
    match way:
        case Way.PLACE:
            key, known = "sample_id", "true"
        case Way.CONTENT:
            key, known = "content_id", "content_id IS NOT NULL"
        case _:
            key, known = "concat(line, ':', parse_filename(source))", "true"
    # A copy is counted where there can be one: the window costs more than all else.
    copy = "1" if way is Way.PLACE else f"row_number() OVER (PARTITION BY {key} ORDER BY sample_id)"
    sides = [
        f"""SELECT sample_id, {key} AS key, {copy} AS copy, is_ok, flagged, score_kind FROM (
                SELECT * FROM {run}.samples WHERE {known}
            ) JOIN (
                SELECT sample_id, status = 'ok' AS is_ok, coalesce(flagged, false) AS flagged, score_kind
                FROM {run}.sample_scores
            ) USING (sample_id)"""
        for run in "ab"
    ]
    connection.execute(
        f"""CREATE TEMP TABLE pairs AS
            SELECT a.sample_id AS id_a, b.sample_id AS id_b, a.is_ok AS is_ok_a, b.is_ok AS is_ok_b,
                a.flagged AS flagged_a, b.flagged AS flagged_b,
                a.score_kind IS DISTINCT FROM b.score_kind AS is_other_kind
            FROM ({sides[0]}) AS a FULL JOIN ({sides[1]}) AS b ON a.key = b.key AND a.copy = b.copy"""
    )


def count_unread(connection: duckdb.DuckDBPyConnection, run: str, way: Way) -> int:
    """Return how many records of a run take no part, as they could not be read."""
    if way is not Way.CONTENT:
        return 0
    (count,) = connection.execute(f"SELECT count(*) FROM {run}.samples WHERE content_id IS NULL").fetchone() or (0,)
    return int(count)


def _has_content_ids(connection: duckdb.DuckDBPyConnection, run: str) -> bool:
    # What was read has one in every run that has any.
    query = f"SELECT count(content_id), count(*) FILTER (status = 'ok') FROM {run}.samples"
    n_known, n_ok = connection.execute(query).fetchone() or (0, 0)
    return bool(n_known) or not n_ok
