"""Rows of a query as a table, JSON, CSV or Parquet, streamed; only a table that is printed has a row limit."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit.cli.console import is_terminal
from audit.cli.table_view import TABLE_ROWS, render_rows
from audit.errors import ConfigError
from audit.query import read_batches
from audit.store import replacing


@contextmanager
def open_output(path: str | None, format: str, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Give standard output or a file to write to; a file appears when it is complete.

    Raises:
        ConfigError: the file exists, cannot be written, or a terminal would get Parquet.
    """
    if path is None:
        if format == "parquet" and is_terminal(sys.stdout):
            raise ConfigError("--format parquet", "is no text for a terminal", "name a file with --output FILE")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    if target.is_dir():
        raise ConfigError(path, "is a directory", "name a file with --output")
    if target.exists() and not overwrite:
        raise ConfigError(path, "exists already", "choose another --output, or replace it with --force")
    try:
        with replacing(target) as unfinished, unfinished.open("wb") as stream:
            yield stream
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise ConfigError(path, f"cannot be written: {error.strerror}", "choose another --output") from error


def write_result(relation: duckdb.DuckDBPyRelation, format: str, stream: BinaryIO, *, is_limited: bool = True) -> None:
    """Compute a relation and write its rows; of a table that `is_limited` the first 100.

    Raises:
        QueryError: DuckDB fails while it computes.
    """
    writers: dict[str, Callable[[Iterator[pa.RecordBatch], BinaryIO], None]] = {
        "table": partial(_write_table, max_rows=TABLE_ROWS if is_limited else None),
        "json": _write_json,
        "csv": _write_csv,
        "parquet": _write_parquet,
    }
    writers[format](read_batches(relation), stream)


def column_names(schema: pa.Schema) -> list[str]:
    """Return the names of the columns, made unique: `SELECT 1 AS a, 2 AS a` gives a and a_2."""
    names: list[str] = []
    for name in schema.names:
        unique, number = name, 2
        while unique in names:
            unique, number = f"{name}_{number}", number + 1
        names.append(unique)
    return names


def json_value(value: Any) -> Any:
    """Return a value that JSON can hold; NaN and infinity become null, which is what they mean here."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (list, tuple)):
        return [json_value(entry) for entry in value]
    if isinstance(value, dict):
        return {str(name): json_value(entry) for name, entry in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def read_columns(batch: pa.RecordBatch) -> list[list[Any]]:
    """Return the columns as Python values, float32 ones with the shortest decimals that mean the same float32."""
    return [_short_floats(column) if column.type == pa.float32() else column.to_pylist() for column in batch.columns]


def _short_floats(column: pa.Array) -> list[float | None]:
    return [None if value is None else float(str(np.float32(value))) for value in column.to_pylist()]


def _write_table(batches: Iterator[pa.RecordBatch], stream: BinaryIO, *, max_rows: int | None) -> None:
    rows: list[tuple[Any, ...]] = []
    names: list[str] = []
    for batch in batches:
        names = column_names(batch.schema)
        # One more than is shown, to know that there are more.
        shown = batch if max_rows is None else batch.slice(0, max_rows + 1 - len(rows))
        rows.extend(zip(*read_columns(shown), strict=True))
        if max_rows is not None and len(rows) > max_rows:
            break
    width = os.get_terminal_size().columns if stream is sys.stdout.buffer and is_terminal(sys.stdout) else None
    text = render_rows(names, rows, width=width, max_rows=max_rows)
    stream.write(text.encode(sys.stdout.encoding or "utf-8", errors="backslashreplace"))


def _write_json(batches: Iterator[pa.RecordBatch], stream: BinaryIO) -> None:
    before = b"["
    for batch in batches:
        names = column_names(batch.schema)
        for row in zip(*read_columns(batch), strict=True):
            record = {name: json_value(value) for name, value in zip(names, row, strict=True)}
            stream.write(before + b"\n" + json.dumps(record, allow_nan=False).encode())
            before = b","
    stream.write(b"[]\n" if before == b"[" else b"\n]\n")


def _write_csv(batches: Iterator[pa.RecordBatch], stream: BinaryIO) -> None:
    is_first = True
    for batch in batches:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if is_first:
            writer.writerow(column_names(batch.schema))
        is_first = False
        for row in zip(*read_columns(batch), strict=True):
            writer.writerow([_csv_value(value) for value in row])
        stream.write(text.getvalue().encode("utf-8", errors="backslashreplace"))


def _csv_value(value: Any) -> Any:
    plain = json_value(value)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return json.dumps(plain) if isinstance(plain, (list, dict)) else plain


def _write_parquet(batches: Iterator[pa.RecordBatch], stream: BinaryIO) -> None:
    first = next(batches)
    schema = pa.schema(
        [field.with_name(name) for field, name in zip(first.schema, column_names(first.schema), strict=True)]
    )
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for batch in itertools.chain([first], batches):
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
