"""Converted records written into one container, one after the other.

A writer takes records as JSON values and keeps none but those of the row group that it fills. Knows no input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from audit.export.formats import Target
from audit.export.schemas import CHUNK_ROWS, to_batch
from audit.export.values import dump_json, to_cell
from audit.samples.table_copies import GROUP_BYTES, TableWriter, open_parquet_writer

_GROUP_ROWS = 10_000


class RecordWriter(Protocol):
    """What takes the records of one output."""

    def write(self, record: dict[str, Any]) -> None:
        """Write a record. Raises Unwritable where the container has no place for a value."""


@contextmanager
def open_writer(sink: BinaryIO, target: Target, schema: pa.Schema | None) -> Iterator[RecordWriter]:
    """Open an output for records; CSV and tables need to know their columns."""
    if target.is_table:
        with open_table_writer(sink, target, schema) as table:
            rows = _TableRows(table, schema)
            yield rows
            rows.flush()
    elif target.container in ("csv", "tsv"):
        names = [] if schema is None else schema.names
        yield _Cells(sink, names, target.delimiter)
    elif target.container == "json":
        array = _Array(sink)
        yield array
        array.close()
    else:
        yield _Lines(sink)


@contextmanager
def open_table_writer(sink: BinaryIO, target: Target, schema: pa.Schema) -> Iterator[TableWriter]:
    """Open a table: Parquet, or an Arrow stream, which is what `datasets` keeps."""
    opened = open_parquet_writer(sink, schema) if target.container == "parquet" else pa.ipc.new_stream(sink, schema)
    with opened as writer:
        groups = _Groups(writer)
        yield groups
        groups.flush()


class _Groups:
    """Gathers small tables, so that a row group holds more than a few rows."""

    def __init__(self, writer: TableWriter) -> None:
        self._writer = writer
        self._held: list[pa.Table] = []

    def write_table(self, table: pa.Table) -> None:
        self._held.append(table)
        n_rows = sum(part.num_rows for part in self._held)
        if n_rows >= _GROUP_ROWS or sum(part.nbytes for part in self._held) > GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held))
            self._held.clear()


class _Lines:
    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink

    def write(self, record: dict[str, Any]) -> None:
        self._sink.write(dump_json(record) + b"\n")


class _Array:
    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._before = b"[\n"

    def write(self, record: dict[str, Any]) -> None:
        self._sink.write(self._before + dump_json(record))
        self._before = b",\n"

    def close(self) -> None:
        self._sink.write(b"[]\n" if self._before == b"[\n" else b"\n]\n")


class _Cells:
    def __init__(self, sink: BinaryIO, names: Sequence[str], delimiter: str) -> None:
        self._sink = sink
        self._names = names
        self._delimiter = delimiter
        self._write_row(names)

    def write(self, record: dict[str, Any]) -> None:
        self._write_row([to_cell(record.get(name), name) for name in self._names])

    def _write_row(self, cells: Sequence[str]) -> None:
        self._sink.write((self._delimiter.join(map(self._quote, cells)) + "\n").encode())

    def _quote(self, cell: str) -> str:
        marks = (self._delimiter, '"', "\n", "\r")
        # A row of one empty cell would be a blank line, which is no row.
        if any(mark in cell for mark in marks) or (len(self._names) == 1 and not cell.strip()):
            return '"' + cell.replace('"', '""') + '"'
        return cell


class _TableRows:
    def __init__(self, table: TableWriter, schema: pa.Schema) -> None:
        self._table = table
        self._schema = schema
        self._held: list[dict[str, Any]] = []

    def write(self, record: dict[str, Any]) -> None:
        self._held.append(record)
        if len(self._held) == CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._held:
            batch = to_batch(self._held, self._schema)
            self._table.write_table(pa.Table.from_batches([batch], schema=self._schema))
            self._held.clear()
