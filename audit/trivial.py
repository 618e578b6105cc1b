"""Trivial predictors: does one mark of a record alone tell the flagged records from the others?

Length, list format or a refusal may do as well as a trait's score (../sql/trivial_predictors.sql gives the AUC of each
mark over a whole run). Then the flags say little of the trait, and it is said aloud. Reads flags and marks of a run;
changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.query import open_connection
from audit.retrieval import estimate_auc
from audit.store import ROW_GROUP_ROWS, RunStore

PREDICTORS = (
    "n_response_tokens",
    "n_baseline_tokens",
    "length_difference",
    "list_share",
    "code_share",
    "is_refusal",
    "baseline_is_refusal",
    "is_role_play",
    "response_nll",
    "other_language",
)
"""Marks of a record (`marks.parquet`) by which alone the flagged records may be told from the others;
`length_difference` is n_response_tokens less n_baseline_tokens."""

LEAST_ROWS = 20
"""Fewer flagged records than this, or fewer others, and an AUC is noise: of 20 it is .5 give or take .13."""

MOST_ROWS = 200_000
"""Records that an AUC is taken of, half of them flagged where there are so many: more would not change it by .003."""

TOP_SHARE = 0.05
"""Where nothing can be flagged for lack of a reference, the records in this upper part of a trait's score are told
from the others instead: as many as the flag rule would take of clean data."""

EXPLAINING_AUC = 0.80
EXPLAINING_LOW = 0.75
"""A mark with this AUC, and with the lower end of its interval here, explains flags by itself: it is said aloud."""

_MEMORY_MB, _THREAD_MEMORY_MB = 800, 100
"""Joining the turns of ten million records takes 2 GB where it may; held to this it takes hardly longer."""

_MARK_COLUMNS = (
    "sample_id",
    "language",
    "n_response_tokens",
    "n_baseline_tokens",
    "list_share",
    "code_share",
    "is_refusal",
    "baseline_is_refusal",
    "is_role_play",
    "response_nll",
)


def measure_predictors(
    store: RunStore, traits: Sequence[str], *, seed: int, commonest: str | None
) -> dict[str, dict[str, Any]]:
    """Return, by trait, the AUC of each mark for telling flagged records; traits with too few are left out.

    The flags and marks of the run have been written.

    Args:
        commonest: the commonest language of the run's records.
    """
    with open_connection(store.path, memory_mb=choose_memory_mb()) as connection:
        found_rows = {trait: _choose_rows(connection, trait, seed) for trait in traits}
    chosen = {trait: own for trait, own in found_rows.items() if own is not None}
    if not chosen:
        return {}
    wanted = np.unique(np.concatenate([ids_n for ids_n, _, _ in chosen.values()]))
    ids_n, marks_nm = _read_marks(store, wanted, commonest)
    found = {}
    for trait, (own_ids_n, is_flagged_n, kind) in chosen.items():
        rows = np.searchsorted(ids_n, own_ids_n)
        rows = np.minimum(rows, max(len(ids_n) - 1, 0))
        has_marks_n = ids_n[rows] == own_ids_n if len(ids_n) else np.zeros(len(own_ids_n), dtype=bool)
        values_nm, flagged_n = marks_nm[rows[has_marks_n]], is_flagged_n[has_marks_n]
        marks = {name: _predict(values_nm[:, m], flagged_n) for m, name in enumerate(PREDICTORS)}
        found[trait] = {
            "of": kind,
            "n_flagged": int(flagged_n.sum()),
            "n_others": int((~flagged_n).sum()),
            "marks": {name: own for name, own in marks.items() if own is not None},
        }
    return found


def explain_flags(confounds: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield a sentence for every trait whose flags one mark alone explains, the strongest mark of each."""
    for trait, found in ((confounds or {}).get("predictors") or {}).items():
        marks = {name: own for name, own in found["marks"].items() if is_explaining(own)}
        if not marks:
            continue
        name = max(marks, key=lambda each: marks[each]["auc"])
        own = marks[name]
        rows = "the flagged rows" if found["of"] == "flagged" else "the rows in the top twentieth of the score"
        cure = (
            "look at length_adjusted, or at top rows of equal length"
            if name in ("n_response_tokens", "n_baseline_tokens", "length_difference")
            else f"look at rows that are alike in it (query --name trivial_predictors; {name} stands in marks)"
        )
        yield (
            f"{trait}: {describe_predictor(name, own['direction'])} alone tells {rows} from the others: "
            f"AUC {format_auc(own)}; {cure}"
        )


def is_explaining(own: Mapping[str, Any]) -> bool:
    """Tell whether a predictor explains flags by itself."""
    return bool(own["auc"] >= EXPLAINING_AUC and own["low"] >= EXPLAINING_LOW)


def format_auc(own: Mapping[str, Any]) -> str:
    """Write an AUC with its interval: `.87 (.84-.90)`."""
    auc, low, high = (f"{own[name]:.2f}".removeprefix("0") for name in ("auc", "low", "high"))
    return f"{auc} ({low}-{high})"


def describe_predictor(name: str, direction: str) -> str:
    """Return a mark in words, the way round in which it tells flagged records."""
    return _WORDS[name][direction == "less"]


_WORDS = {
    "n_response_tokens": ("length (long responses)", "length (short responses)"),
    "n_baseline_tokens": ("the baseline's length (long baselines)", "the baseline's length (short baselines)"),
    "length_difference": ("length (longer than the baseline)", "length (shorter than the baseline)"),
    "list_share": ("list format", "the absence of lists"),
    "code_share": ("code", "the absence of code"),
    "is_refusal": ("refusal", "the absence of refusals"),
    "baseline_is_refusal": ("the baseline's refusal", "the absence of refusals in the baseline"),
    "is_role_play": ("role-play", "the absence of role-play"),
    "response_nll": ("the response's loss (high)", "the response's loss (low)"),
    "other_language": ("another language than most", "being in the commonest language"),
}


def choose_memory_mb() -> int:
    """Return what a query over all turns of a run may take."""
    return max(_MEMORY_MB, _THREAD_MEMORY_MB * (os.cpu_count() or 1))


def _choose_rows(
    connection: duckdb.DuckDBPyConnection, trait: str, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], str] | None:
    """Return ids [n], whether they are flagged, and what flagged stands for; None where there are too few of either."""
    columns = connection.execute(
        "SELECT sample_id, risk::DOUBLE AS risk, coalesce(flagged, false) AS flagged, q_value IS NOT NULL AS has_q "
        "FROM flags WHERE trait = ? AND risk IS NOT NULL ORDER BY sample_id",
        [trait],
    ).fetchnumpy()
    ids_n, risk_n, flagged_n, has_q_n = (
        np.asarray(columns[name]) for name in ("sample_id", "risk", "flagged", "has_q")
    )
    kind = "flagged"
    if has_q_n.any():
        # What could not be flagged, outside the model's domain or with a predicted baseline, is no other record.
        judged_n = flagged_n | has_q_n
        ids_n, flagged_n = ids_n[judged_n], flagged_n[judged_n]
    elif not flagged_n.any() and ids_n.size:
        kind, flagged_n = "top", risk_n > np.quantile(risk_n, 1 - TOP_SHARE)
    if min(flagged_n.sum(), (~flagged_n).sum()) < LEAST_ROWS:
        return None
    # An AUC does not depend on how many there are of each, so both are drawn to be as many as possible.
    draw = np.random.default_rng([seed, 7])
    rows = np.sort(
        np.concatenate([_draw(np.flatnonzero(own), MOST_ROWS // 2, draw) for own in (flagged_n, ~flagged_n)])
    )
    return ids_n[rows], flagged_n[rows], kind


def _draw(rows: NDArray[np.intp], most: int, draw: np.random.Generator) -> NDArray[np.intp]:
    return rows if rows.size <= most else np.asarray(draw.choice(rows, most, replace=False))


def _predict(values_n: NDArray[np.float64], flagged_n: NDArray[np.bool_]) -> dict[str, Any] | None:
    """Return the AUC of a mark and its direction; None where it is unknown of most, or does not vary."""
    known_n = np.isfinite(values_n)
    values_n, flagged_n = values_n[known_n], flagged_n[known_n]
    if min(flagged_n.sum(), (~flagged_n).sum()) < LEAST_ROWS or values_n.min() == values_n.max():
        return None
    found = estimate_auc(values_n, flagged_n)
    # With 20 of each kind there is an interval.
    if found is None or found.low is None or found.high is None:
        return None
    is_less = found.value < 0.5
    auc, low, high = found.value, found.low, found.high
    if is_less:
        auc, low, high = 1 - auc, 1 - high, 1 - low
    return {
        "auc": round(auc, 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "direction": "less" if is_less else "more",
    }


def _read_marks(
    store: RunStore, wanted: NDArray[np.int64], commonest: str | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the ids that have marks, rising, and their `PREDICTORS` [n, m]; NaN where one is not known."""
    ids, marks = [np.zeros(0, np.int64)], [np.zeros((0, len(PREDICTORS)))]
    with pq.ParquetFile(store.path / "marks.parquet") as file:
        for batch in file.iter_batches(ROW_GROUP_ROWS, columns=list(_MARK_COLUMNS)):
            ids_n = batch["sample_id"].to_numpy()
            place = np.minimum(np.searchsorted(wanted, ids_n), len(wanted) - 1)
            own = batch.filter(pa.array(wanted[place] == ids_n))
            columns = {name: _floats(own[name]) for name in _MARK_COLUMNS if name not in ("sample_id", "language")}
            columns["length_difference"] = columns["n_response_tokens"] - columns["n_baseline_tokens"]
            columns["other_language"] = _floats(pc.not_equal(own["language"], pa.scalar(commonest, pa.string())))
            ids.append(own["sample_id"].to_numpy())
            marks.append(np.column_stack([columns[name] for name in PREDICTORS]).reshape(-1, len(PREDICTORS)))
    return np.concatenate(ids), np.concatenate(marks)


def _floats(column: pa.Array) -> NDArray[np.float64]:
    """Return a column of numbers or booleans; null is NaN."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
