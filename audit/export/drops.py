"""What `--drop` can leave out: what the flags say, what a judge says, what both or either say; each as a condition.

A record that nobody has judged counts as not judged: `judged` and `both` keep it, and how many flagged ones there are
of that kind is said.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from audit.errors import ConfigError
from audit.store import JUDGE

FLAGGED = "flagged"
_UNFLAGGED = "flagged IS NOT TRUE"
_UNJUDGED = "sample_id NOT IN (SELECT sample_id FROM judge WHERE is_judged_present)"

CONDITIONS = {
    FLAGGED: _UNFLAGGED,
    "judged": _UNJUDGED,
    # Of one trait: a flag for one and a judgement of another confirm nothing.
    "both": "sample_id NOT IN (SELECT sample_id FROM judge JOIN flags USING (sample_id, trait) "
    "WHERE is_judged_present AND flagged)",
    "either": f"{_UNFLAGGED} AND {_UNJUDGED}",
}
"""Per kind the condition over `sample_scores` under which a scored record is kept."""


def find_condition(run_path: Path, drop: str) -> str:
    """Return the condition of a kind.

    Raises:
        ConfigError: there is no such kind, or it needs a judge and nobody has judged the run.
    """
    if drop not in CONDITIONS:
        cure = f"choose one of {', '.join(CONDITIONS)}, or give a condition with --where"
        raise ConfigError("--drop", f"{drop!r} is not known", cure)
    if drop != FLAGGED and not (run_path / JUDGE).is_file():
        finding = f"nobody has judged records of {run_path}"
        raise ConfigError(f"--drop {drop}", finding, "`persona-audit judge RUN --server URL` does, or drop flagged")
    return CONDITIONS[drop]


def count_never_judged(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the flagged records that a judge gave no number for any trait that they are flagged for."""
    rows = connection.execute(
        """SELECT count(DISTINCT sample_id) FROM flags WHERE flagged AND sample_id NOT IN (
            SELECT judge.sample_id FROM judge JOIN flags USING (sample_id, trait)
            WHERE flagged AND is_judged_present IS NOT NULL)"""
    ).fetchall()
    return int(rows[0][0])


def count_judged(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return the records that the judge finds a trait in, by trait."""
    rows = connection.execute(
        "SELECT trait, count(*) FROM judge WHERE is_judged_present GROUP BY trait ORDER BY trait"
    ).fetchall()
    return {str(trait): int(count) for trait, count in rows}


def is_judged(connection: duckdb.DuckDBPyConnection) -> bool:
    """Tell whether a judge has said something of any record."""
    return bool(connection.execute("SELECT count(*) > 0 FROM judge").fetchall()[0][0])
