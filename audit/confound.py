"""What else explains a score: length, lists, code, refusals, and how far the cheap baseline agrees.

Reads a run through its relations; changes nothing.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np

from audit.query import open_connection
from audit.score import correlation

CONFOUNDS = ("n_response_tokens", "n_baseline_tokens", "list_share", "code_share", "is_refusal")


def measure_confounds(path: Path, traits: list[str]) -> dict[str, dict[str, float | None]]:
    """Return, per trait, the correlation of a turn's score with what should not explain it."""
    with open_connection(path) as connection:
        return {trait: _measure_confounds(connection, trait) for trait in traits}


def _measure_confounds(connection: duckdb.DuckDBPyConnection, trait: str) -> dict[str, float | None]:
    wanted = ", ".join(f"t.{column}::DOUBLE AS {column}" for column in CONFOUNDS)
    columns = connection.execute(
        f"SELECT s.score::DOUBLE AS score, {wanted} "
        "FROM turn_scores s JOIN turns t USING (sample_id, side, turn, part) WHERE s.trait = ?",
        [trait],
    ).fetchnumpy()
    values = {name: np.ma.filled(column.astype(np.float64), np.nan) for name, column in columns.items()}
    return {name: correlation(values["score"], values[name]) for name in CONFOUNDS}


def measure_run_agreement(path: Path) -> dict[str, float | None]:
    """Return, per trait, the correlation of the cheap (prompt) difference with the true one over a run's turns."""
    with open_connection(path) as connection:
        rows = connection.execute(
            "SELECT trait, corr(projection - prompt_projection, projection_difference), count(projection_difference) "
            "FROM scores WHERE projection_difference IS NOT NULL AND prompt_projection IS NOT NULL GROUP BY trait"
        ).fetchall()
    return {
        trait: None if r is None or n < 3 or not np.isfinite(r) else float(np.clip(r, -1.0, 1.0))
        for trait, r, n in rows
    }
