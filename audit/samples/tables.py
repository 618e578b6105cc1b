"""Rows of Parquet and Arrow files through one interface, streamed by batches.

A row is a record without bytes of its own; nested lists and structs come as lists and dicts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa

from audit.samples.arrow import ArrowTable
from audit.samples.decode import Unreadable
from audit.samples.parquet import ParquetTable, open_parquet
from audit.samples.text import clean_text


class Table(Protocol):
    """An opened table."""

    @property
    def schema(self) -> pa.Schema:
        """Columns and metadata, of the first file."""

    @property
    def n_rows(self) -> int:
        """Rows of all files."""

    def read_batches(self, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the rows in [start, stop) by small batches, each with the index of its first row."""


@contextmanager
def open_table(files: tuple[str, ...], container: str) -> Iterator[Table]:
    """Open the files of a `parquet` or an `arrow` source.

    Raises:
        DataError: one is damaged or gone.
    """
    if container == "arrow":
        yield ArrowTable(files)
        return
    with open_parquet(files[0]) as file:
        yield ParquetTable(files[0], file)


def count_rows(files: tuple[str, ...], container: str) -> int:
    """Return the number of rows."""
    with open_table(files, container) as table:
        return table.n_rows


def read_rows(files: tuple[str, ...], container: str, start: int, stop: int) -> Iterator[dict[str, Any] | Unreadable]:
    """Yield the rows in [start, stop).

    Raises:
        DataError: a file is damaged.
    """
    with open_table(files, container) as table:
        for _, batch in table.read_batches(start, stop):
            yield from _read_batch(batch)


def _read_batch(batch: pa.RecordBatch) -> list[dict[str, Any] | Unreadable]:
    try:
        return _to_fields(batch)
    except _NO_VALUE:
        # Bytes that are no UTF-8, a date that Python cannot hold: find the row.
        return [_read_row(batch.slice(position, 1)) for position in range(batch.num_rows)]


def _read_row(batch: pa.RecordBatch) -> dict[str, Any] | Unreadable:
    try:
        row: dict[str, Any] = _to_fields(batch)[0]
    except _NO_VALUE as error:
        return Unreadable(f"undecodable: a value of the row cannot be read ({clean_text(str(error))})")
    return row


# What pyarrow and Python raise for values that have no counterpart; an unknown time zone is a KeyError.
_NO_VALUE = (ValueError, OverflowError, KeyError, RecursionError, pa.ArrowException)


def _to_fields(batch: pa.RecordBatch) -> list[Any]:
    rows: list[Any] = batch.to_pylist()
    json_columns = [field for field in batch.schema if _holds_json(field.type)]
    for row in rows:
        for field in json_columns:
            row[field.name] = _parse_json(row[field.name], field.type)
    return rows


def _is_json(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.json"


def _holds_json(kind: pa.DataType) -> bool:
    """Tell whether values, or values inside them, are JSON text by their type: objects that `datasets` found mixed."""
    if _is_json(kind):
        return True
    return any(_holds_json(kind.field(position).type) for position in range(kind.num_fields))


def _parse_json(value: Any, kind: pa.DataType) -> Any:
    if _is_json(kind):
        return json.loads(value) if isinstance(value, str) else value
    if isinstance(value, dict):
        return {field.name: _parse_json(value[field.name], field.type) for field in kind if field.name in value}
    if isinstance(value, list) and _holds_json(kind):
        return [_parse_json(item, kind.field(0).type) for item in value]
    return value
