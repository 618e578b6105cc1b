"""Records of both runs and one trait: which passed its threshold, which moved furthest, how many have other scores.

Makes the temporary table `moves`, one row per record of both runs: flags and z of both, and the scores compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from audit.query.relations import quote_name, quote_text

ROUNDING_SD = {"float32": 1e-4}
"""How far scores of equal settings may lie apart, in SD of the scores: other neighbours in a batch, another device."""

_HALF_ROUNDING_SD = 0.03
"""The same of half precision, twice the error that was measured for it (1.5 % of the SD)."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What scores are compared in: `score`, as both runs stored them, or `z`, in SD of the references."""

    unit: str

    def select(self, run: str, trait: str) -> str:
        """Write the query for sample_id and value of a run's records that have one."""
        if self.unit == "score":
            column = quote_name(f"{trait}_mean")
            return f"SELECT sample_id, {column} AS value FROM {run}.sample_scores WHERE {column} IS NOT NULL"
        return f"SELECT sample_id, z AS value FROM {run}.flags WHERE trait = {quote_text(trait)} AND z IS NOT NULL"


def match_scores(connection: duckdb.DuckDBPyConnection, trait: str, scale: Scale | None) -> None:
    """Make the table `moves` of one trait; without a scale its values are null."""
    for run in "ab":
        # One join at a time, as each keeps one of its sides in memory.
        flags = f"SELECT sample_id, z, flagged FROM {run}.flags WHERE trait = {quote_text(trait)}"
        values = scale.select(run, trait) if scale else "SELECT NULL::BIGINT AS sample_id, NULL::FLOAT AS value LIMIT 0"
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE own_{run} AS
                SELECT sample_id, z, coalesce(flagged, false) AS flagged, value
                FROM ({flags}) FULL JOIN ({values}) USING (sample_id)"""
        )
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE half AS
            SELECT pair.id_a, pair.id_b, z AS z_a, coalesce(flagged, false) AS flagged_a, value AS value_a
            FROM pairs AS pair LEFT JOIN own_a ON own_a.sample_id = pair.id_a
            WHERE pair.id_a IS NOT NULL AND pair.id_b IS NOT NULL"""
    )
    connection.execute("DROP TABLE own_a")
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE moves AS
            SELECT half.*, z AS z_b, coalesce(flagged, false) AS flagged_b, value AS value_b
            FROM half LEFT JOIN own_b ON own_b.sample_id = half.id_b"""
    )
    connection.execute("DROP TABLE own_b")
    connection.execute("DROP TABLE half")


def count_moves(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return how many records of `moves` passed the threshold upwards and downwards."""
    newly, no_longer = connection.execute(
        "SELECT count(*) FILTER (flagged_b AND NOT flagged_a), count(*) FILTER (flagged_a AND NOT flagged_b) FROM moves"
    ).fetchone() or (0, 0)
    return {"n_newly_flagged": newly, "n_no_longer_flagged": no_longer}


def count_rescored(connection: duckdb.DuckDBPyConnection, *, sd: float, dtype: str) -> dict[str, Any]:
    """Return how many records of `moves` have another score, beyond rounding, and the largest change in SD."""
    tolerance = ROUNDING_SD.get(dtype, _HALF_ROUNDING_SD) * sd
    n, largest = connection.execute(
        """SELECT count(*) FILTER (
                (value_a IS NULL) <> (value_b IS NULL) OR abs(value_b - value_a) > ? + 1e-6 * abs(value_a)
            ), max(abs(value_b::DOUBLE - value_a)) FROM moves""",
        [tolerance],
    ).fetchone() or (0, None)
    return {"n_rescored": n, "largest_change": None if largest is None or sd <= 0 else largest / sd}


def list_moves(connection: duckdb.DuckDBPyConnection, trait: str, *, sd: float, limit: int) -> list[dict[str, Any]]:
    """Return the records of `moves` that passed the threshold, then the others, by how far they moved.

    `change` is that of z; where a run has no z, of the score in SD of run A's.
    """
    found = connection.execute(
        """SELECT id_a, id_b, z_a, z_b, flagged_a, flagged_b,
                coalesce(z_b::DOUBLE - z_a, (value_b::DOUBLE - value_a) / nullif(?::DOUBLE, 0)) AS change
            FROM moves WHERE change IS NOT NULL AND (change <> 0 OR flagged_a <> flagged_b)
            ORDER BY flagged_a <> flagged_b DESC, abs(change) DESC, id_b LIMIT ?""",
        [sd, limit],
    )
    names = [column[0] for column in found.description or ()]
    return [{"trait": trait, **dict(zip(names, row, strict=True))} for row in found.fetchall()]
