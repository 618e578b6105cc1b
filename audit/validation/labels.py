"""A file of labels: which records show which trait, by somebody who looked.

One row per record with `sample_id` and either `traits`, a list of names (in a CSV separated by commas, semicolons or
spaces), or one column per trait that holds 0 or 1. Other columns are kept, to group by. Knows no run but the number of
its records and the names of its traits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from audit.errors import DataError, MissingDataError

SHOWN, NOT_SHOWN, UNLABELLED = 1, 0, -1

_FIRST_FEW = 5
_HEAD_BYTES = 4096
_NAME = r"[^\s,;|\[\]\"']+"
_TRUE = ("1", "1.0", "true", "yes", "y")
_FALSE = ("0", "0.0", "false", "no", "n")
_CURE = "a label file has sample_id and traits, or one 0/1 column per trait, as examples/demo.labels.jsonl"


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What a file of labels says.

    Attributes:
        sample_ids: [n] int64, in the order of the file.
        shown: per trait of the run that the file speaks of: [n] int8, 1 shown, 0 not shown, −1 not labelled.
        others: names of traits in the labels that the run does not have.
        columns: the further columns of the file, as text; None where there is nothing.
    """

    path: str
    sample_ids: NDArray[np.int64]
    shown: Mapping[str, NDArray[np.int8]]
    others: tuple[str, ...]
    columns: Mapping[str, Sequence[str | None]]


def read_labels(path: str | Path, *, traits: Sequence[str], n_samples: int) -> Labels:
    """Read a file of labels: JSON lines, a JSON array, CSV, TSV or Parquet, told apart by what it holds.

    Args:
        traits: those of the run.
        n_samples: records of the run, whose ids are 0 to n_samples − 1.

    Raises:
        MissingDataError: there is no such file.
        DataError: it cannot be read as labels; names an id twice or one that the run does not have; or speaks of none
            of the run's traits.
    """
    place = str(path)
    frame, is_text = _read_frame(place)
    if "sample_id" not in frame.columns:
        raise DataError(place, f"no column sample_id; found {_list(frame.columns)}", _CURE)
    if frame.height == 0:
        raise DataError(place, "holds no labels", _CURE)
    ids = _read_ids(place, frame["sample_id"])
    _refuse_unknown(place, ids, n_samples)
    if "traits" in frame.columns:
        lists = _read_lists(place, frame["traits"], is_text=is_text)
        named = sorted(set(lists.explode().drop_nulls().to_list()))
        unlabelled_n = lists.is_null().to_numpy()
        # A trait that is nowhere in a list is labelled all the same: nobody shows it.
        shown = {trait: _mark(lists.list.contains(trait), unlabelled_n) for trait in traits}
        used = {"sample_id", "traits"}
        is_foreign = bool(named) and not set(named) & set(traits)
    else:
        found = [trait for trait in traits if trait in frame.columns]
        shown = {trait: _read_marks(place, frame[trait]) for trait in found}
        named, used, is_foreign = [], {"sample_id", *found}, not found
    others = tuple(name for name in named if name not in traits)
    if is_foreign:
        finding = f"labels {_list(others)}" if others else f"no column traits, and none of a trait; found {_list(used)}"
        raise DataError(place, finding, f"the run has {', '.join(traits)}; {_CURE}")
    columns = {name: _as_text(frame[name]) for name in frame.columns if name not in used}
    return Labels(place, ids, shown, others, columns)


def _read_frame(place: str) -> tuple[pl.DataFrame, bool]:
    """Return the table, and whether its values are text without types."""
    try:
        with open(place, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise MissingDataError(place, f"cannot be read: {error.strerror}", "check --labels") from error
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    try:
        if head.startswith(b"PAR1"):
            return pl.read_parquet(place, glob=False), False
        if not start:
            raise DataError(place, "is empty", _CURE)
        if start.startswith(b"["):
            return pl.read_json(place, infer_schema_length=None), False
        if start.startswith(b"{"):
            return pl.read_ndjson(place, infer_schema_length=None), False
        separator = "\t" if b"\t" in start.split(b"\n", 1)[0] else ","
        # As text: what stands for yes and for an id is decided here, not by the first rows.
        return pl.read_csv(place, infer_schema=False, separator=separator, glob=False), True
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(place, f"cannot be read as labels: {reason[:200]}", _CURE) from error


def _read_ids(place: str, column: pl.Series) -> NDArray[np.int64]:
    if column.dtype == pl.Boolean or column.dtype.is_nested():
        raise DataError(place, "sample_id holds no whole numbers", _CURE)
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    ids = column.cast(pl.Int64, strict=False)
    is_bad = ids.is_null() | (ids.cast(pl.Float64) != column.cast(pl.Float64, strict=False)).fill_null(True)
    if is_bad.any():
        first = is_bad.arg_true()[:_FIRST_FEW].to_list()
        values = _list([column[row] for row in first])
        raise DataError(place, f"sample_id is no whole number in {int(is_bad.sum()):,} rows: {values}", _CURE)
    found = ids.to_numpy().astype(np.int64)
    values, counts = np.unique(found, return_counts=True)
    twice = values[counts > 1]
    if twice.size:
        finding = f"{twice.size:,} ids stand there more than once: {_list(twice[:_FIRST_FEW].tolist())}"
        raise DataError(place, finding, "label each record once")
    return found


def _refuse_unknown(place: str, ids: NDArray[np.int64], n_samples: int) -> None:
    unknown = ids[(ids < 0) | (ids >= n_samples)]
    if unknown.size:
        few = _list(unknown[:_FIRST_FEW].tolist()) + (", …" if unknown.size > _FIRST_FEW else "")
        has = f"the run has 0 to {n_samples - 1:,}" if n_samples else "the run has no record"
        finding = f"{unknown.size:,} of {ids.size:,} ids are unknown to the run: {few}"
        raise DataError(place, finding, f"{has}; a scan with --limit has the first records alone")


def _read_lists(place: str, column: pl.Series, *, is_text: bool) -> pl.Series:
    """Return lists of names; null where nothing is said."""
    if column.dtype == pl.String:
        # A CSV has no other way to say that a record shows nothing.
        text = column.fill_null("") if is_text else column
        return text.str.extract_all(_NAME)
    if column.dtype == pl.Null:
        return column.cast(pl.List(pl.String))
    if isinstance(column.dtype, (pl.List, pl.Array)) and column.dtype.inner in (pl.String, pl.Null):
        return column.cast(pl.List(pl.String))
    raise DataError(place, "traits holds no lists of names", _CURE)


def _mark(contains: pl.Series, unlabelled_n: NDArray[np.bool_]) -> NDArray[np.int8]:
    shown_n = contains.fill_null(False).to_numpy()
    return np.where(unlabelled_n, UNLABELLED, np.where(shown_n, SHOWN, NOT_SHOWN)).astype(np.int8)


def _read_marks(place: str, column: pl.Series) -> NDArray[np.int8]:
    if column.dtype.is_nested():
        raise DataError(place, f"the column {column.name} holds neither 0 nor 1", _CURE)
    text = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    text = text.fill_null("")
    is_missing = (text == "").to_numpy()
    shown, not_shown = text.is_in(list(_TRUE)).to_numpy(), text.is_in(list(_FALSE)).to_numpy()
    is_bad = ~(is_missing | shown | not_shown)
    if is_bad.any():
        value = column[int(np.flatnonzero(is_bad)[0])]
        finding = f"the column {column.name} holds {_list([value])}, neither 0 nor 1"
        raise DataError(place, finding, "write 1 where the record shows the trait, 0 where not, nothing if unknown")
    return np.where(is_missing, UNLABELLED, np.where(shown, SHOWN, NOT_SHOWN)).astype(np.int8)


def _as_text(column: pl.Series) -> list[str | None]:
    if column.dtype.is_nested():
        return [None if value is None else str(value) for value in column.to_list()]
    return column.cast(pl.String, strict=False).to_list()


def _list(values: object) -> str:
    """Return values of a foreign file in a row, each cut short."""
    return ", ".join(repr(str(value)[:40]) if isinstance(value, str) else str(value)[:40] for value in values)  # type: ignore[attr-defined]
