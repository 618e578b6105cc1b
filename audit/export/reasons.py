"""Why a record was not kept, or not scored, in words: read from the run, in the order of the records.

Nothing is held but one batch. Does not know which records are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from audit.export.choice import FAILED, NO_SCORE, NOT_SCANNED, Choice
from audit.export.drops import FLAGGED
from audit.query import read_batches, run_query

_BATCH_ROWS = 2_000

# A record that could be read and has no score says so by its turns.
TURN_FINDINGS = """SELECT sample_id, arg_min(status || coalesce(': ' || reason, ''), turn) AS finding
    FROM turns WHERE status <> 'ok' GROUP BY sample_id"""
_FLAGGED = """SELECT sample_id,
        string_agg(trait || coalesce(' (z ' || printf('%.1f', z) || ')', ''), ', ' ORDER BY trait) AS traits
    FROM flags WHERE flagged GROUP BY sample_id"""
_JUDGED = """SELECT sample_id,
        string_agg(trait || ' (' || printf('%.0f', judge_score) || ')', ', ' ORDER BY trait) AS judged
    FROM judge WHERE is_judged_present GROUP BY sample_id"""
_RECORDS = f"""SELECT record.sample_id, source, line, record.status, record.reason, turn.finding, flag.traits,
        judge.judged
    FROM samples AS record
    LEFT JOIN ({TURN_FINDINGS}) AS turn USING (sample_id)
    LEFT JOIN ({_FLAGGED}) AS flag USING (sample_id)
    LEFT JOIN ({_JUDGED}) AS judge USING (sample_id)
    ORDER BY record.sample_id"""


def read_in_order(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query."""
    for batch in read_batches(run_query(connection, query), batch_rows=_BATCH_ROWS):
        yield from batch.to_pylist()


def read_dropped(
    connection: duckdb.DuckDBPyConnection, choice: Choice, kept: bytearray, sources: list[tuple[str, int]]
) -> Iterator[dict[str, Any]]:
    """Yield one entry per record that is not kept: its place and the reason.

    `sources` are the paths of the inputs and how many records each holds; the line of a record that was not scanned
    is not known.
    """
    is_dropped = ~np.frombuffer(kept, dtype=np.bool_)
    expected = 0
    for batch in read_batches(run_query(connection, _RECORDS), batch_rows=_BATCH_ROWS):
        ids = batch["sample_id"].to_numpy()
        # Most records are kept, and rows are slow to make.
        for row in batch.filter(pa.array(is_dropped[ids])).to_pylist():
            place = {name: row[name] for name in ("sample_id", "source", "line")}
            yield {**place, "reason": _explain(row, choice)}
        expected = int(ids[-1]) + 1 if ids.size else expected
    # A scan that was ended early has the first records.
    yield from _not_scanned(expected, len(kept), kept, sources)


def _explain(row: dict[str, Any], choice: Choice) -> str:
    if choice.states[row["sample_id"]] == FAILED:
        if choice.drop is None:
            return "where: the condition does not hold"
        # Both where both have a word: also a row that one of them sufficed for says what the other found.
        found = {"flagged": row["traits"], "judged": row["judged"] if choice.drop != FLAGGED else None}
        return "; ".join(f"{name}: {traits}" for name, traits in found.items() if traits)
    if row["status"] != "ok":
        return str(row["reason"] or "unknown")
    return f"{NO_SCORE}: {row['finding'] or 'no trait has a score'}"


def _not_scanned(start: int, stop: int, kept: bytearray, sources: list[tuple[str, int]]) -> Iterator[dict[str, Any]]:
    first = 0
    for path, n_records in sources:
        for sample_id in range(max(start, first), min(stop, first + n_records)):
            if not kept[sample_id]:
                reason = f"{NOT_SCANNED}: the scan ended before it"
                yield {"sample_id": sample_id, "source": path, "line": None, "reason": reason}
        first += n_records
