"""The records of two runs, counted: added, removed, in both; flagged and skipped among them; which to look at."""

from __future__ import annotations

from typing import Any

import duckdb

from audit.compare.matching import Way, count_unread, match_records

_COUNTS = """
    SELECT count(id_a) FILTER (id_b IS NOT NULL) AS n_both,
        count(id_b) FILTER (id_a IS NULL) AS n_added,
        count(id_a) FILTER (id_b IS NULL) AS n_removed,
        count(*) FILTER (id_a IS NULL AND flagged_b) AS n_added_flagged,
        count(*) FILTER (id_b IS NULL AND flagged_a) AS n_removed_flagged,
        count(*) FILTER (NOT flagged_a AND flagged_b) AS n_newly_flagged,
        count(*) FILTER (flagged_a AND NOT flagged_b) AS n_no_longer_flagged,
        count(*) FILTER (is_ok_a AND NOT is_ok_b) AS n_newly_skipped,
        count(*) FILTER (NOT is_ok_a AND is_ok_b) AS n_no_longer_skipped,
        count(*) FILTER (is_ok_a AND is_ok_b AND is_other_kind) AS n_other_kind
    FROM pairs
"""
_MATCHED = (
    "n_both",
    "n_added",
    "n_removed",
    "n_added_flagged",
    "n_removed_flagged",
    "n_newly_flagged",
    "n_no_longer_flagged",
    "n_newly_skipped",
    "n_no_longer_skipped",
    "n_other_kind",
)
"""What is known only where records can be matched."""


def count_records(connection: duckdb.DuckDBPyConnection, way: Way) -> dict[str, Any]:
    """Return the counts of both runs and, with `pairs` made, of what came, went and changed; None where not known."""
    counts: dict[str, Any] = {}
    for run in "ab":
        n, n_ok, n_flagged, n_scored = connection.execute(
            "SELECT count(*), count(*) FILTER (status = 'ok'), count(*) FILTER (flagged), count(flagged) "
            f"FROM {run}.sample_scores"
        ).fetchone() or (0, 0, 0, 0)
        counts[f"n_{run}"] = n
        counts[f"n_ok_{run}"] = n_ok
        counts[f"skipped_share_{run}"] = _share(n - n_ok, n)
        counts[f"n_flagged_{run}"] = n_flagged
        counts[f"flagged_share_{run}"] = _share(n_flagged, n_scored)
        counts[f"n_unread_{run}"] = count_unread(connection, run, way)
    if way is Way.NONE:
        counts |= dict.fromkeys((*_MATCHED, *(name for name, _, _ in _SHARES)))
        return counts
    match_records(connection, way)
    found = connection.execute(_COUNTS)
    names = [column[0] for column in found.description or ()]
    counts |= dict(zip(names, found.fetchone() or (), strict=True))
    counts |= {name: _share(counts[part], counts[whole]) for name, part, whole in _SHARES}
    return counts


_SHARES = (
    ("added_share", "n_added", "n_b"),
    ("removed_share", "n_removed", "n_a"),
    ("newly_flagged_share", "n_newly_flagged", "n_both"),
    ("added_flagged_share", "n_added_flagged", "n_added"),
    ("removed_flagged_share", "n_removed_flagged", "n_removed"),
)


def list_records(connection: duckdb.DuckDBPyConnection, run: str, *, limit: int) -> list[dict[str, Any]]:
    """Return the records that only one run has, `b` the added ones: flagged first, the most unusual first of these."""
    other = "a" if run == "b" else "b"
    found = connection.execute(
        f"""WITH own AS (SELECT id_{run} AS sample_id, flagged_{run} AS flagged FROM pairs WHERE id_{other} IS NULL),
            risks AS (
                SELECT sample_id, max(z) AS z FROM {run}.flags SEMI JOIN own USING (sample_id) GROUP BY sample_id
            ),
            chosen AS (
                SELECT sample_id, own.flagged, risks.z FROM own LEFT JOIN risks USING (sample_id)
                ORDER BY own.flagged DESC, risks.z DESC NULLS LAST, sample_id LIMIT ?
            )
            SELECT sample_id, source, line, status, chosen.flagged, flagged_traits, z
            FROM chosen JOIN {run}.sample_scores USING (sample_id)
            ORDER BY chosen.flagged DESC, z DESC NULLS LAST, sample_id""",
        [limit],
    )
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _share(n: int, of: int) -> float | None:
    return n / of if of else None
