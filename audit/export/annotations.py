"""What `--annotate` adds to each record: one field with its status and scores, the same keys in every record.

Null stands for what is not known: a record that could not be scored has no score, never 0. Read from the run in the
order of the records, a batch at a time. Does not know how a field gets into a record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from audit.export.choice import NOT_SCANNED
from audit.export.drops import is_judged
from audit.export.reasons import TURN_FINDINGS, read_in_order
from audit.query import list_traits
from audit.query.relations import quote_name, quote_text
from audit.samples.splices import AddedField

ANNOTATION = "persona_audit"


def read_annotations(connection: duckdb.DuckDBPyConnection, n_records: int) -> AddedField:
    """Return the field that every record gets; its values are read from the run as they are taken."""
    traits = list_traits(connection)
    has_judge = is_judged(connection)
    kind = annotation_type(traits, has_judge=has_judge)
    return AddedField(ANNOTATION, kind, _read_values(connection, traits, n_records, has_judge=has_judge))


def annotation_type(traits: list[str], *, has_judge: bool = False) -> pa.StructType:
    """Return the Arrow type of the field; with what a judge says where somebody asked one."""
    judged = pa.field("judge_scores", pa.struct([pa.field(trait, pa.float32()) for trait in traits]))
    return pa.struct(
        [
            pa.field("sample_id", pa.int64()),
            pa.field("status", pa.string()),
            pa.field("reason", pa.string()),
            pa.field("score_kind", pa.string()),
            pa.field("flagged", pa.bool_()),
            pa.field("flagged_traits", pa.list_(pa.string())),
            pa.field("scores", pa.struct([pa.field(trait, pa.float32()) for trait in traits])),
            *([judged] if has_judge else []),
        ]
    )


def _read_values(
    connection: duckdb.DuckDBPyConnection, traits: list[str], n_records: int, *, has_judge: bool
) -> Iterator[dict[str, Any]]:
    expected = 0
    for row in read_in_order(connection, _write_query(traits, has_judge=has_judge)):
        for sample_id in range(expected, row["sample_id"]):
            yield _annotate_unscanned(sample_id, traits, has_judge=has_judge)
        expected = row["sample_id"] + 1
        scores = {trait: shorten_float(row.pop(f"score {trait}")) for trait in traits}
        judged = {trait: shorten_float(row.pop(f"judge {trait}", None)) for trait in traits}
        yield {**row, "scores": scores, **({"judge_scores": judged} if has_judge else {})}
    for sample_id in range(expected, n_records):
        yield _annotate_unscanned(sample_id, traits, has_judge=has_judge)


def _write_query(traits: list[str], *, has_judge: bool) -> str:
    scores = "".join(f", {quote_name(trait)} AS {quote_name(f'score {trait}')}" for trait in traits)
    is_scored = " OR ".join(f"{quote_name(trait)} IS NOT NULL" for trait in traits) or "false"
    judged = ""
    if has_judge and traits:
        scores += "".join(f", {quote_name(f'judge {trait}')}" for trait in traits)
        largest = ", ".join(
            f"max(judge_score) FILTER (trait = {quote_text(trait)}) AS {quote_name(f'judge {trait}')}"
            for trait in traits
        )
        judged = f"LEFT JOIN (SELECT sample_id, {largest} FROM judge GROUP BY sample_id) AS judged USING (sample_id)"
    return f"""SELECT sample_id, score.status,
            CASE WHEN score.status <> 'ok' THEN record.reason WHEN NOT ({is_scored}) THEN turn.finding END AS reason,
            score_kind, flagged, flagged_traits{scores}
        FROM sample_scores AS score
        JOIN (SELECT sample_id, reason FROM samples) AS record USING (sample_id)
        LEFT JOIN ({TURN_FINDINGS}) AS turn USING (sample_id)
        {judged}
        ORDER BY sample_id"""


def _annotate_unscanned(sample_id: int, traits: list[str], *, has_judge: bool) -> dict[str, Any]:
    nothing = dict.fromkeys(("reason", "score_kind", "flagged", "flagged_traits"))
    judged = {"judge_scores": dict.fromkeys(traits)} if has_judge else {}
    return {"sample_id": sample_id, "status": NOT_SCANNED, **nothing, "scores": dict.fromkeys(traits), **judged}


def shorten_float(value: float | None) -> float | None:
    """Return a number of 32 bits as the shortest one that reads back as the same; null for what is not finite."""
    return float(str(np.float32(value))) if value is not None and math.isfinite(value) else None
