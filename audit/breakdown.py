"""The verdicts of a run by the values of a column: which source, teacher, language or cluster leans.

Groups are judged as the whole is, by the reference of the run, and share one alarm level; see `verdict`. Scores are
read a trait at a time and everything else part by part, so memory grows by some bytes a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from duckdb import DuckDBPyConnection
from numpy.typing import NDArray

from audit.clean import find_judged, why_undecided
from audit.errors import ConfigError, RunError
from audit.means import estimate_group_means
from audit.pooling import pool_groups
from audit.query import open_connection
from audit.query.relations import list_manifest_traits, quote_name, quote_text, score_kind
from audit.reference import Reference, TraitScores, load_reference
from audit.shifts import find_random_bands
from audit.store import ROW_GROUP_ROWS, RunStore
from audit.surplus import RARE_SHARE, UNUSUAL_SHARE
from audit.verdict import ALARM_LEVEL, MIN_VERDICT_ROWS, judge_traits

MAX_GROUPS = 50
"""Groups that are judged one by one, the largest; all others together are one more."""

MAX_AMOUNTS = 20
"""A column of numbers with more distinct ones than this is cut into bands."""

N_BANDS = 10

_RELATIONS = ("samples", "marks", "sample_scores")
"""Where columns are looked for, in this order."""

_PLACES = frozenset({"sample_id", "byte_offset", "byte_length", "content_id"})
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_FRACTIONS = ("FLOAT", "DOUBLE", "DECIMAL")
_SINGLE = 1e-7
"""A p-value is stored in single precision."""

_SEVERITY = ("risk", "watch", "undecided", "clear")


@dataclass(frozen=True, slots=True)
class _Groups:
    """What each of the n records belongs to, and the names of the groups, largest first; None: no value.

    `n_lumped` is how many values the last group stands for, if it stands for several.
    """

    group_n: NDArray[np.int32]
    names: list[str | None]
    n_lumped: int
    is_banded: bool

    @property
    def n(self) -> int:
        return len(self.names) + (self.n_lumped > 0)


def list_columns(path: Path) -> list[str]:
    """Return the columns that a run can be broken down by."""
    with open_connection(path) as connection:
        return list(_find_columns(connection, list_manifest_traits(RunStore(path).read_manifest())))


def break_down(path: Path, column: str) -> dict[str, Any]:
    """Return the verdicts of a finished run by the values of a column, as JSON values.

    `groups` has, largest first, `value` (text; null for none), `is_rest` (all smaller groups together), n_records,
    n_scored, n_flagged and flagged_share (records flagged for any trait), `verdict` (the worst of its traits), and
    `verdicts`: a row as in the relation of that name for every trait, with its flagged_share.

    Args:
        column: of `samples` (kept columns included), `marks` or `sample_scores`. Numbers of many values are cut into
            ten bands of about as many records.

    Raises:
        RunError: there is no finished run, or its files are damaged.
        ConfigError: the run has no such column.
    """
    store = RunStore(path)
    manifest = store.read_finished_manifest()
    traits = list_manifest_traits(manifest)
    with open_connection(path) as connection:
        columns = _find_columns(connection, traits)
        if column not in columns:
            raise ConfigError(f"--by {column}", "the run has no such column", f"it has {', '.join(columns)}")
        sample_ids = np.sort(_read(connection, "SELECT sample_id FROM samples", np.dtype(np.int64)))
        groups = _divide(connection, column, *columns[column], sample_ids)
        counted = _count_flags(connection, traits, sample_ids, groups)
    undecided = why_undecided(manifest)
    judged_n = find_judged(store, manifest, sample_ids) & (undecided is None)
    reference, notices = _read_reference(store, manifest)
    own_n = np.where(judged_n, groups.group_n, -1)
    verdicts = _judge(store, manifest, reference, sample_ids, own_n, groups, counted, undecided)
    rows = [_describe(g, groups, counted, [by_trait[g] for by_trait in verdicts]) for g in range(groups.n)]
    return {
        "run": str(path),
        "column": column,
        "is_banded": groups.is_banded,
        "n_groups": len(groups.names) + groups.n_lumped,
        "n_lumped": groups.n_lumped,
        "alarm_level": ALARM_LEVEL,
        "groups": rows,
        "reference": manifest["reference"],
        "notices": notices,
    }


def _find_columns(connection: DuckDBPyConnection, traits: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Return the relation and the type of every column that groups can be made by."""
    scores = {name for trait in traits for name in (trait, f"{trait}_mean")}
    found: dict[str, tuple[str, str]] = {}
    for relation in _RELATIONS:
        table = connection.table(relation)
        # A run written by an older version has none; `sample_scores` has some of the same.
        if relation == "marks" and not table.limit(1).fetchall():
            continue
        for name, kind in zip(table.columns, map(str, table.types), strict=True):
            is_single = not kind.endswith("]") and not kind.startswith(("STRUCT", "MAP"))
            if is_single and name not in _PLACES and not (relation == "sample_scores" and name in scores):
                found.setdefault(str(name), (relation, kind))
    return found


def _read(connection: DuckDBPyConnection, query: str, dtype: np.dtype[Any], **params: Any) -> NDArray[Any]:
    """Return the only column of a query, batch by batch; NULL is NaN."""
    reader = connection.sql(query, **params).to_arrow_reader(ROW_GROUP_ROWS)
    found = [batch.column(0).to_numpy(zero_copy_only=False).astype(dtype) for batch in reader]
    return np.concatenate([np.zeros(0, dtype), *found])


def _read_by_record(
    connection: DuckDBPyConnection,
    select: str,
    relation: str,
    sample_ids: NDArray[np.int64],
    dtype: np.dtype[Any],
    missing: float,
    params: list[Any] | None = None,
) -> NDArray[Any]:
    """Return a value of each record, `missing` where the relation has no row of it."""
    values_n = np.full(len(sample_ids), missing, dtype=dtype)
    query = f"SELECT sample_id, {select} AS value FROM {quote_name(relation)}"
    for batch in connection.sql(query, params=params or []).to_arrow_reader(ROW_GROUP_ROWS):
        places = np.searchsorted(sample_ids, batch.column(0).to_numpy())
        values_n[places] = batch.column(1).to_numpy(zero_copy_only=False)
    return values_n


def _divide(
    connection: DuckDBPyConnection, column: str, relation: str, kind: str, sample_ids: NDArray[np.int64]
) -> _Groups:
    name = quote_name(column)
    base = kind.partition("(")[0]
    # Numbers that are names: clusters, teachers by number.
    is_amount = base in _FRACTIONS or (base in _NUMBERS and not column.endswith("_id"))
    if is_amount:
        n_amounts = connection.execute(f"SELECT count(DISTINCT {name}) FROM {quote_name(relation)}").fetchall()[0][0]
        if n_amounts > MAX_AMOUNTS:
            select = f"{name}::DOUBLE"
            values_n = _read_by_record(connection, select, relation, sample_ids, np.dtype(np.float64), np.nan)
            return _cut(values_n, is_whole=base in _NUMBERS)
    largest = connection.execute(
        f"SELECT {name}::VARCHAR AS value, count(*) AS n FROM {quote_name(relation)} "
        f"WHERE {name} IS NOT NULL GROUP BY value ORDER BY n DESC, value LIMIT {MAX_GROUPS}"
    ).fetchall()
    values = [value for value, _ in largest]
    # 0 for no value, else its place from 1, or -1 where it is in none of the largest groups.
    select = f"CASE WHEN {name} IS NULL THEN 0 ELSE coalesce(list_position($1, {name}::VARCHAR), -1) END"
    typed = [values or [""]]
    place_n = _read_by_record(connection, select, relation, sample_ids, np.dtype(np.int32), 0, typed)
    n_values = connection.execute(f"SELECT count(DISTINCT {name}::VARCHAR) FROM {quote_name(relation)}").fetchall()
    return _number([None, *values], place_n, n_lumped=n_values[0][0] - len(values), is_banded=False)


def _number(names: list[str | None], place_n: NDArray[np.int32], *, n_lumped: int, is_banded: bool) -> _Groups:
    """Number groups from the largest on, those without records left out; negative places go into the last one."""
    size = np.bincount(place_n[place_n >= 0], minlength=len(names))
    order = [int(place) for place in (range(len(names)) if is_banded else np.argsort(-size, kind="stable"))]
    order = [place for place in order if size[place]]
    while len(order) > MAX_GROUPS and not is_banded:
        n_lumped += 1
        order.pop()
    number_p = np.full(len(names) + 1, len(order), dtype=np.int32)
    number_p[order] = np.arange(len(order))
    return _Groups(number_p[place_n], [names[place] for place in order], n_lumped, is_banded)


def _cut(values_n: NDArray[np.float64], *, is_whole: bool) -> _Groups:
    """Cut amounts into bands of about as many records."""
    is_known = np.isfinite(values_n)
    known = np.sort(values_n[is_known])
    edges = np.unique(known[(np.arange(1, N_BANDS + 1) * known.size) // N_BANDS - 1])
    lows = known[np.concatenate([[0], np.searchsorted(known, edges[:-1], side="right")])]
    digits = ".0f" if is_whole else ".4g"
    names: list[str | None] = [
        f"{low:{digits}}" if low == high else f"{low:{digits}} to {high:{digits}}"
        for low, high in zip(lows, edges, strict=True)
    ]
    place_n = np.where(is_known, np.searchsorted(edges, values_n, side="left"), len(names)).astype(np.int32)
    return _number([*names, None], place_n, n_lumped=0, is_banded=True)


@dataclass(frozen=True, slots=True)
class _Counts:
    """By group and trait [g, k]: records flagged, unusual, rare; by group: records, and records flagged at all."""

    flagged_gk: NDArray[np.int64]
    unusual_gk: NDArray[np.int64]
    rare_gk: NDArray[np.int64] | None
    records_g: NDArray[np.int64]
    any_flag_g: NDArray[np.int64]


def _count_flags(
    connection: DuckDBPyConnection, traits: tuple[str, ...], sample_ids: NDArray[np.int64], groups: _Groups
) -> _Counts:
    shape = (groups.n, len(traits))
    counts = {name: np.zeros(shape, dtype=np.int64) for name in ("flagged", "unusual", "rare")}
    any_flag_n = np.zeros(len(sample_ids), dtype=bool)
    n_tested = connection.execute("SELECT count(p_value) FROM flags").fetchall()[0][0]
    places = " ".join(f"WHEN {quote_text(trait)} THEN {k}" for k, trait in enumerate(traits))
    query = (
        f"SELECT sample_id, (CASE trait {places or 'WHEN NULL THEN 0'} END)::INTEGER AS k, "
        f"coalesce(flagged, false) AS flagged, coalesce(p_value <= {UNUSUAL_SHARE + _SINGLE}, false) AS unusual, "
        f"coalesce(p_value <= {RARE_SHARE + _SINGLE}, false) AS rare "
        f"FROM flags WHERE flagged OR p_value <= {UNUSUAL_SHARE + _SINGLE}"
    )
    for batch in connection.sql(query).to_arrow_reader(ROW_GROUP_ROWS):
        row_n = np.searchsorted(sample_ids, batch.column(0).to_numpy())
        k_n = batch.column(1).to_numpy(zero_copy_only=False)
        for place, name in enumerate(counts, start=2):
            is_own = batch.column(place).to_numpy(zero_copy_only=False)
            np.add.at(counts[name], (groups.group_n[row_n[is_own]], k_n[is_own]), 1)
        any_flag_n[row_n[batch.column(2).to_numpy(zero_copy_only=False)]] = True
    return _Counts(
        counts["flagged"],
        # A run written by an older version has no p-values; its rule flagged what is beyond 5 % of clean records.
        counts["unusual"] if n_tested else counts["flagged"],
        counts["rare"] if n_tested else None,
        np.bincount(groups.group_n, minlength=groups.n),
        np.bincount(groups.group_n[any_flag_n], minlength=groups.n),
    )


def _read_reference(store: RunStore, manifest: Mapping[str, Any]) -> tuple[Reference | None, list[str]]:
    path = store.path / "reference.json"
    if not path.is_file():
        return None, []
    try:
        return load_reference(path).get(score_kind(manifest)), []
    except RunError as error:
        return None, [f"its clean reference cannot be used: {error.finding} ({error.cure})"]


def _judge(
    store: RunStore,
    manifest: Mapping[str, Any],
    reference: Reference | None,
    sample_ids: NDArray[np.int64],
    own_n: NDArray[np.int32],
    groups: _Groups,
    counted: _Counts,
    undecided: str | None,
) -> list[list[dict[str, Any]]]:
    """Return the verdicts by trait and group."""
    evidence = pool_groups(store, manifest, sample_ids, own_n, groups.n)
    estimated = None
    if manifest["baseline"].get("auto"):
        estimated = estimate_group_means(store, manifest, lambda ids: own_n[np.searchsorted(sample_ids, ids)], groups.n)
    bands = find_random_bands(
        store,
        reference.differences if reference else None,
        sample_ids,
        own_n,
        groups.n,
        seed=int(manifest["config"]["seed"]),
    )
    # Sixteen bits are sorted by counting.
    by_group = np.argsort(own_n.astype(np.int16), kind="stable").astype(np.int32)
    ends = np.searchsorted(own_n[by_group], np.arange(-1, groups.n), side="right")
    n_rivals = max(1, int((np.diff(ends) >= MIN_VERDICT_ROWS).sum())) * len(manifest["vectors"])
    whole = {row["trait"]: row for row in manifest["verdicts"]}
    verdicts = []
    for k, vector in enumerate(manifest["vectors"]):
        trait = str(vector["trait"])
        with open_connection(store.path) as connection:
            name = f"{quote_name(f'{trait}_mean')}::DOUBLE"
            mean_n = _read_by_record(connection, name, "sample_scores", sample_ids, np.dtype(np.float64), np.nan)
        rows = []
        for g in range(groups.n):
            own = mean_n[by_group[ends[g] : ends[g + 1]]]
            (row,) = judge_traits(
                {trait: TraitScores(vector["layer"], vector["sha256"], own, own)},
                reference,
                n_flagged={trait: int(counted.flagged_gk[g, k])},
                n_unusual={trait: int(counted.unusual_gk[g, k])},
                n_rare=None if counted.rare_gk is None else {trait: int(counted.rare_gk[g, k])},
                expected_false_flags={trait: _share_out(whole.get(trait), int(np.isfinite(own).sum()))},
                judged_n=np.ones(len(own), dtype=bool),
                undecided=undecided,
                evidence=evidence[g].traits if evidence else None,
                estimated=estimated[g] if estimated is not None else None,
                random_band=bands[g],
                n_groups=n_rivals,
            )
            rows.append(row | {"flagged_share": row["n_flagged"] / row["n"] if row["n"] else None})
        verdicts.append(rows)
    return verdicts


def _share_out(whole: Mapping[str, Any] | None, n: int) -> float | None:
    """Return a group's part of the flags that clean data would give."""
    if whole is None or whole["expected_false_flags"] is None or not whole["n"]:
        return None
    return float(whole["expected_false_flags"] * n / whole["n"])


def _describe(g: int, groups: _Groups, counted: _Counts, verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    n_scored = max((row["n"] for row in verdicts), default=0)
    n_flagged = int(counted.any_flag_g[g])
    found = {row["verdict"] for row in verdicts}
    is_rest = g >= len(groups.names)
    return {
        "value": None if is_rest else groups.names[g],
        "is_rest": is_rest,
        "n_records": int(counted.records_g[g]),
        "n_scored": n_scored,
        "n_flagged": n_flagged,
        "flagged_share": n_flagged / n_scored if n_scored else None,
        "verdict": next((verdict for verdict in _SEVERITY if verdict in found), "undecided"),
        "verdicts": verdicts,
    }
