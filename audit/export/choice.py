"""Which records an export keeps: one condition over `sample_scores`, and the records that could not be scored.

One byte a record; nothing else of the run is held in memory. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import numpy as np

from audit.errors import QueryError
from audit.export.drops import CONDITIONS, FLAGGED, count_judged, count_never_judged
from audit.query import check_condition, list_traits, read_batches, run_query
from audit.query.relations import quote_name

UNSCORED, FAILED, HOLDS = 0, 1, 2
NOT_SCANNED = "not_scanned"
NO_SCORE = "no_score"

# Asked of records without a score alone, which most runs hardly have: turns are many.
_ONLY_REJECTED = """SELECT sample_id FROM turns
    WHERE sample_id IN (SELECT sample_id FROM sample_scores WHERE status = 'ok' AND NOT ({has_score}))
    GROUP BY sample_id HAVING bool_and(side = 'rejected') AND bool_or(status IN ('ok', 'truncated'))"""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What the condition said of every record.

    Attributes:
        states: per record: could not be scored, condition fails, condition holds.
        n_unscored: records that could not be scored, by the code of the reason.
        n_flagged: flagged records, whatever the condition says of them.
        drop: which kind of `--drop` decided; None: a condition of the user's.
        judged_by_trait: records that a judge finds a trait in; empty where nobody has judged.
        n_never_judged: flagged records that a judge was not asked about, or has no number for.
    """

    condition: str
    states: bytearray
    n_unscored: dict[str, int]
    n_flagged: int
    flagged_by_trait: dict[str, int]
    drop: str | None
    judged_by_trait: dict[str, int]
    n_never_judged: int

    @property
    def is_by_flags(self) -> bool:
        """Whether flags had a part in it, rather than a condition or a judge alone."""
        return self.drop not in (None, "judged")

    @property
    def n_failed(self) -> int:
        """Scored records for which the condition does not hold."""
        return self.states.count(FAILED)

    def kept(self, *, keep_unscored: bool) -> bytearray:
        """Return 1 for every record that is kept, 0 for the others."""
        return bytearray(self.states.translate(bytes([int(keep_unscored), 0, 1]).ljust(256, b"\0")))


def choose_records(
    connection: duckdb.DuckDBPyConnection, where: str | None, *, n_records: int, drop: str = FLAGGED
) -> Choice:
    """Ask the run which records to keep: those for which `where` holds, else those that `drop` does not leave out.

    A record is scored when it has a score for at least one trait, or was scored on the rejected side alone, which
    nothing trains towards: it has no flag and no trait's score. Any other is never kept by the condition.

    Raises:
        QueryError: `where` is not one condition that is true or false.
    """
    if where is not None:
        with _blaming_where():
            _check_boolean(connection, where)
            return _ask(connection, where, n_records, drop=None)
    return _ask(connection, CONDITIONS[drop], n_records, drop=drop)


@contextmanager
def _blaming_where() -> Iterator[None]:
    """Let an error speak of the option that the user gave, not of the query that it became."""
    try:
        yield
    except QueryError as error:
        raise QueryError("--where", error.finding, error.cure) from error


def _ask(connection: duckdb.DuckDBPyConnection, condition: str, n_records: int, *, drop: str | None) -> Choice:
    is_scored = _is_scored(connection)
    relation = run_query(
        connection,
        f"SELECT sample_id, {is_scored} AS is_scored, coalesce(({condition}\n), false) AS holds FROM sample_scores",
    )
    states = np.full(n_records, UNSCORED, dtype=np.uint8)
    for batch in read_batches(relation, batch_rows=100_000):
        ids = batch["sample_id"].to_numpy()
        holds = batch["holds"].to_numpy(zero_copy_only=False)
        scored = batch["is_scored"].to_numpy(zero_copy_only=False)
        states[ids] = np.where(scored, np.where(holds, HOLDS, FAILED), UNSCORED)
    return Choice(
        condition=condition,
        states=bytearray(states.tobytes()),
        n_unscored=_count_unscored(connection, is_scored, n_records),
        n_flagged=_count_flagged(connection),
        flagged_by_trait=dict(
            connection.execute(
                "SELECT trait, count(*) FROM (SELECT unnest(flagged_traits) AS trait FROM sample_scores WHERE flagged) "
                "GROUP BY trait ORDER BY trait"
            ).fetchall()
        ),
        drop=drop,
        judged_by_trait=count_judged(connection),
        n_never_judged=count_never_judged(connection) if drop not in (None, FLAGGED) else 0,
    )


def _check_boolean(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    check_condition(where)
    relation = run_query(connection, f"SELECT ({where}\n) AS holds FROM sample_scores")
    kind = str(relation.types[0])
    if kind not in ("BOOLEAN", "NULL", '"NULL"'):
        raise QueryError("--where", f"gives {kind}, not true or false", "for example: --where 'evil < 0.3'")


def _is_scored(connection: duckdb.DuckDBPyConnection) -> str:
    has_score = " OR ".join(f"{quote_name(trait)} IS NOT NULL" for trait in list_traits(connection)) or "false"
    return f"{has_score} OR sample_id IN ({_ONLY_REJECTED.format(has_score=has_score)})"


def _count_flagged(connection: duckdb.DuckDBPyConnection) -> int:
    (n_flagged,) = connection.execute("SELECT count(*) FROM sample_scores WHERE flagged").fetchone() or (0,)
    return int(n_flagged)


def _count_unscored(connection: duckdb.DuckDBPyConnection, is_scored: str, n_records: int) -> dict[str, int]:
    rows = connection.execute(
        f"""SELECT CASE WHEN record.status = 'ok' THEN {NO_SCORE!r}
                ELSE coalesce(split_part(record.reason, ':', 1), 'unknown') END AS code, count(*)
            FROM (SELECT sample_id FROM sample_scores WHERE NOT ({is_scored})) AS unscored
            JOIN samples AS record USING (sample_id)
            GROUP BY code ORDER BY count(*) DESC, code"""
    ).fetchall()
    counts = {str(code): int(count) for code, count in rows}
    (n_seen,) = connection.execute("SELECT count(*) FROM sample_scores").fetchone() or (0,)
    if n_seen < n_records:
        counts[NOT_SCANNED] = n_records - n_seen
    return counts
