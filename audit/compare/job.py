"""The whole comparison of two runs, as JSON values: settings, rows, verdicts, movers, drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from audit.compare.drift import NOTHING, measure_drift, measure_spread
from audit.compare.matching import Way, choose_way
from audit.compare.moves import Scale, count_moves, count_rescored, list_moves, match_scores
from audit.compare.rows import count_records, list_records
from audit.compare.settings import explain_incomparable, list_differences
from audit.compare.verdicts import compare_verdicts
from audit.errors import RunError
from audit.events import Listener, StageAdvanced, StageFinished, StageStarted, ignore_events
from audit.query import open_pair
from audit.query.relations import list_manifest_traits
from audit.store import RunStore

LISTED_ROWS = 10
"""Records that are named of each kind, if not told otherwise."""

MEMORY_MB = 1_000
"""What DuckDB keeps in memory; the rest goes to temporary files. Ten million rows a run take less than 2 GB in all."""

_STAGE = "comparing"
_UNMOVED = {"n_newly_flagged": None, "n_no_longer_flagged": None, "n_rescored": None, "largest_change": None}


def compare_runs(
    run_a: str | Path,
    run_b: str | Path,
    *,
    rows: int = LISTED_ROWS,
    memory_mb: int = MEMORY_MB,
    listener: Listener = ignore_events,
) -> dict[str, Any]:
    """Return what changed from one finished run to another, as JSON values.

    Keys: `is_different`; `differences` (settings, with both values); `way` (how records were matched); `counts`;
    `added` and `removed` (records to look at); `traits` (one entry per trait of either run: verdicts, how many passed
    the threshold, drift); `moved` (records of both runs that passed it or moved furthest); `worsened` and `has_drifted`
    (of any trait; null where that is not known); `notices`.

    Args:
        rows: how many records are named of each kind, for `moved` of each trait.
        memory_mb: what is kept in memory of joins; the rest goes to temporary files.

    Raises:
        RunError: a run is missing, damaged, unfinished, of another format version, or has no scores; or the two have no
            trait in common.
    """
    paths = [Path(run_a), Path(run_b)]
    manifests = [RunStore(path).read_finished_manifest() for path in paths]
    common = _find_common(paths, manifests)
    # The first step is the rows, the others are traits.
    listener(StageStarted(_STAGE, 1 + len(common), "steps"))
    try:
        with open_pair(*paths, memory_mb=memory_mb) as connection:
            _refuse_scoreless(connection, paths)
            way = choose_way(connection, *manifests)
            counts = count_records(connection, way)
            added, removed = (
                ([], []) if way is Way.NONE else (list_records(connection, run, limit=rows) for run in "ba")
            )
            listener(StageAdvanced(_STAGE, 1))
            compared = []
            for trait in common:
                compared.append(_compare_trait(connection, trait, manifests, way, common, rows))
                listener(StageAdvanced(_STAGE, 1))
    except duckdb.Error as error:
        finding = f"cannot be compared: {str(error).splitlines()[0]}"
        raise RunError(f"{paths[0]} and {paths[1]}", finding, "scan again with --fresh what is damaged") from error
    listener(StageFinished(_STAGE))
    traits = [row for row, _ in compared] + _list_others(manifests, common)
    differences = list_differences(*manifests)
    values = {
        "run_a": str(paths[0]),
        "run_b": str(paths[1]),
        "is_different": False,
        "differences": [difference.to_json() for difference in differences],
        "way": str(way),
        "counts": counts,
        "added": added,
        "removed": removed,
        "traits": traits,
        "moved": [move for _, moves in compared for move in moves],
        "worsened": _any_of(row["worsened"] for row in traits),
        "has_drifted": _any_of(row["has_drifted"] for row in traits if row["trait"] in common),
        "notices": _list_notices(manifests, way, counts),
    }
    is_decided = any(difference.decides for difference in differences)
    return values | {"is_different": is_decided or _has_changes(values)}


def _find_common(paths: Sequence[Path], manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    a, b = (list_manifest_traits(manifest) for manifest in manifests)
    common = [trait for trait in a if trait in b]
    if not common:
        finding = f"has no trait in common with {paths[1]}: it has {', '.join(a)}, that has {', '.join(b)}"
        raise RunError(str(paths[0]), finding, "scan both with the same --traits")
    return common


def _refuse_scoreless(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> None:
    for run, path in zip("ab", paths, strict=True):
        n, n_ok = connection.execute(
            f"SELECT count(*), count(*) FILTER (status = 'ok') FROM {run}.samples"
        ).fetchone() or (0, 0)
        if not n_ok:
            cure = f"`persona-audit query {path} --name skipped` says why"
            raise RunError(str(path), f"none of its {n:,} records has a score, so there is nothing to compare", cure)


def _compare_trait(
    connection: duckdb.DuckDBPyConnection,
    trait: str,
    manifests: Sequence[Mapping[str, Any]],
    way: Way,
    common: Sequence[str],
    rows: int,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what changed of one trait, and the records that moved."""
    reasons = explain_incomparable(manifests[0], manifests[1], trait)
    scale = Scale("score") if not reasons else Scale("z") if _have_z(connection, trait) else None
    row: dict[str, Any] = {
        "trait": trait,
        "is_comparable": not reasons,
        "incomparable": reasons,
        "unit": scale.unit if scale else None,
        **compare_verdicts(*(_find_verdict(manifest, trait) for manifest in manifests)),
        **_UNMOVED,
        **NOTHING,
    }
    spreads = tuple(measure_spread(connection, run, trait, scale) for run in "ab") if scale else None
    moves: list[dict[str, Any]] = []
    if way is not Way.NONE:
        match_scores(connection, trait, scale)
        sd = spreads[0].sd if spreads else 0.0
        row |= count_moves(connection)
        if not reasons:
            row |= count_rescored(connection, sd=sd, dtype=_least_precise(manifests))
        moves = list_moves(connection, trait, sd=sd, limit=rows)
    if scale and spreads:
        is_matched = way is not Way.NONE
        pair = (spreads[0], spreads[1])
        row |= measure_drift(connection, trait, scale, pair, is_matched=is_matched, n_traits=len(common))
    connection.execute("DROP TABLE IF EXISTS moves")
    return row, moves


def _have_z(connection: duckdb.DuckDBPyConnection, trait: str) -> bool:
    return all(
        connection.execute(f"SELECT 1 FROM {run}.flags WHERE trait = ? AND z IS NOT NULL LIMIT 1", [trait]).fetchone()
        for run in "ab"
    )


def _find_verdict(manifest: Mapping[str, Any], trait: str) -> Mapping[str, Any] | None:
    return next((row for row in manifest["verdicts"] if row["trait"] == trait), None)


def _least_precise(manifests: Sequence[Mapping[str, Any]]) -> str:
    dtypes = [str(manifest["model"].get("dtype")) for manifest in manifests]
    return "float32" if all(dtype == "float32" for dtype in dtypes) else "half"


def _list_others(manifests: Sequence[Mapping[str, Any]], common: Sequence[str]) -> list[dict[str, Any]]:
    """Return the entries of the traits that only one run has: their verdicts and nothing else."""
    names = dict.fromkeys(trait for manifest in manifests for trait in list_manifest_traits(manifest))
    return [
        {
            "trait": trait,
            "is_comparable": False,
            "incomparable": ["traits"],
            "unit": None,
            **compare_verdicts(*(_find_verdict(manifest, trait) for manifest in manifests)),
            **_UNMOVED,
            **NOTHING,
        }
        for trait in names
        if trait not in common
    ]


def _list_notices(manifests: Sequence[Mapping[str, Any]], way: Way, counts: Mapping[str, Any]) -> list[str]:
    notices = []
    if way is Way.NONE:
        notices.append(
            "rows cannot be matched: the data are other files, and one of the runs is from before rows had content "
            "ids; only distributions are compared (scan it again to match rows)"
        )
    unjudged = [run for run, manifest in zip("AB", manifests, strict=True) if manifest["reference"] is None]
    if len(unjudged) == 1:
        notices.append(
            f"run {unjudged[0]} was judged without a clean reference: its flags say nothing beside the other's"
        )
    if counts["n_unread_a"] or counts["n_unread_b"]:
        notices.append(
            f"records that could not be read, {counts['n_unread_a']:,} in run A and {counts['n_unread_b']:,} in run B, "
            "cannot be matched and are in no count of rows added or removed"
        )
    if any(manifest["baseline"].get("auto") for manifest in manifests):
        words = (
            ""
            if not counts["n_other_kind"]
            else f", in only one of the runs for {counts['n_other_kind']:,} of the rows"
        )
        notices.append(f"scores rest in part on predicted baselines{words}: single changes are less sure than others")
    return notices


def _has_changes(values: Mapping[str, Any]) -> bool:
    counts = values["counts"]
    names = ("n_added", "n_removed", "n_newly_flagged", "n_no_longer_flagged", "n_newly_skipped", "n_no_longer_skipped")
    return (
        any(counts[name] for name in names)
        or counts["n_unread_a"] != counts["n_unread_b"]
        or any(row["verdict_a"] != row["verdict_b"] for row in values["traits"])
        or any(row[name] for row in values["traits"] for name in _UNMOVED if name != "largest_change")
    )


def _any_of(truths: Iterable[bool | None]) -> bool | None:
    found = list(truths)
    return True if True in found else None if None in found else False
