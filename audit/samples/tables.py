"""Rows of Parquet and Arrow files through one interface, streamed by batches.

A row is a record without bytes of its own; nested lists and structs come as lists and dicts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
        DataError: one is damaged or gone, or two columns of it have one name.
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
    columns = [_read_column(column, field.type) for column, field in zip(batch.columns, batch.schema, strict=True)]
    return [_join_row(batch.schema.names, [values[row] for values in columns]) for row in range(batch.num_rows)]


def _join_row(names: list[str], values: list[Any]) -> dict[str, Any] | Unreadable:
    unreadable = next((value for value in values if isinstance(value, Unreadable)), None)
    return unreadable or dict(zip(names, values, strict=True))


# What pyarrow and Python raise for values that have no counterpart; an unknown time zone is a KeyError.
_NO_VALUE = (ValueError, OverflowError, KeyError, RecursionError, pa.ArrowException)


def _read_column(column: pa.Array, kind: pa.DataType) -> list[Any]:
    """Return the values of a column; where one cannot be read, its row is unreadable if it is text, else it is null."""
    try:
        return _to_values(column, kind)
    except _NO_VALUE:
        return [_read_value(column.slice(row, 1), kind) for row in range(len(column))]


def _read_value(column: pa.Array, kind: pa.DataType) -> Any:
    try:
        return _to_values(column, kind)[0]
    except _NO_VALUE as error:
        if _contains(kind, _is_text):
            return Unreadable(f"undecodable: a value of the row cannot be read ({clean_text(str(error))})")
        # A date that Python cannot hold, a time zone that it does not know: no reader of conversations needs them.
        return None


def _to_values(column: pa.Array, kind: pa.DataType) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return [_interpret(value, kind) for value in values] if _contains(kind, _is_interpreted) else values


def _contains(kind: pa.DataType, is_wanted: Callable[[pa.DataType], bool]) -> bool:
    """Tell whether values, or values inside them, have a type."""
    if is_wanted(kind):
        return True
    if pa.types.is_dictionary(kind):
        return _contains(kind.value_type, is_wanted)
    return any(_contains(kind.field(position).type, is_wanted) for position in range(kind.num_fields))


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return _is_json(kind) or bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_json(kind: pa.DataType) -> bool:
    """Tell whether values are JSON text by their type: objects that `datasets` found mixed."""
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.json"


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_interpreted(kind: pa.DataType) -> bool:
    return _is_json(kind) or _is_bytes(kind)


def _interpret(value: Any, kind: pa.DataType) -> Any:
    """Return a value as it was meant: JSON text as what it spells, bytes that are UTF-8 as text."""
    if pa.types.is_dictionary(kind):
        return _interpret(value, kind.value_type)
    if _is_json(kind):
        return json.loads(value) if isinstance(value, str) else value
    if isinstance(value, bytes) and _is_bytes(kind):
        return _decode_text(value)
    if isinstance(value, dict):
        return {field.name: _interpret(value[field.name], field.type) for field in kind if field.name in value}
    if isinstance(value, list) and _contains(kind, _is_interpreted):
        return [_interpret(item, kind.field(0).type) for item in value]
    return value


def _decode_text(value: bytes) -> str | bytes:
    # Some writers of Parquet do not say that a column is text.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
