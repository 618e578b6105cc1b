"""Rows of Parquet files, streamed by batches, and their copy without some rows.

Knows pyarrow. A row is a record without bytes of its own; nested lists and structs come as lists and dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit.errors import DataError
from audit.samples.decode import Unreadable

_BATCH_ROWS = 256

_Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


def open_table(path: str) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises:
        DataError: its footer is damaged or missing.
    """
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _damage_error(path, error) from error


def _damage_error(path: str, error: Exception) -> DataError:
    finding = (str(error) or type(error).__name__).splitlines()[0]
    return DataError(path, f"cannot be read as Parquet: {finding}", "fetch or write the file again")


def count_rows(path: str) -> int:
    """Return the number of rows that the file's footer states."""
    with open_table(path) as table:
        return int(table.metadata.num_rows)


def read_rows(path: str, start: int, stop: int) -> Iterator[dict[str, Any] | Unreadable]:
    """Yield the rows in [start, stop); row groups before them are not read."""
    with open_table(path) as table:
        first = 0
        for group in range(table.num_row_groups):
            n_rows = table.metadata.row_group(group).num_rows
            if first + n_rows > start and first < stop:
                yield from _read_group(path, table, group, max(start - first, 0), min(stop - first, n_rows))
            first += n_rows


def _read_group(
    path: str, table: pq.ParquetFile, group: int, start: int, stop: int
) -> Iterator[dict[str, Any] | Unreadable]:
    first = 0
    for batch in _read_batches(path, table, group):
        if first >= stop:
            return
        if first + batch.num_rows > start:
            begin = max(start - first, 0)
            yield from _read_batch(batch.slice(begin, stop - first - begin))
        first += batch.num_rows


def _read_batches(path: str, table: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
    batches = table.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group])
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise _damage_error(path, error) from error
        if batch is None:
            return
        yield batch


def _read_batch(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Unreadable]:
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError):
        # Bytes that are no UTF-8, a date that Python cannot hold: find the row.
        rows = [_read_row(batch.slice(position, 1)) for position in range(batch.num_rows)]
    yield from rows


def _read_row(batch: pa.RecordBatch) -> dict[str, Any] | Unreadable:
    try:
        row: dict[str, Any] = batch.to_pylist()[0]
    except (ValueError, OverflowError) as error:
        return Unreadable(f"undecodable: a value of the row cannot be read ({error})")
    return row


def copy_rows(path: str, keep: Callable[[int], bool], output: BinaryIO, rejected: BinaryIO | None) -> tuple[int, int]:
    """Copy the rows of a table to one of two outputs, row group by row group; return how many went to each.

    Values, schema and metadata stay, and so does each column's compression.
    """
    counts = [0, 0]
    with ExitStack() as opened:
        table = opened.enter_context(open_table(path))
        writers = [_open_writer(sink, table) if sink is not None else None for sink in (output, rejected)]
        for writer in writers:
            if writer is not None:
                opened.enter_context(writer)
        first = 0
        for group in range(table.num_row_groups):
            n_rows = table.metadata.row_group(group).num_rows
            kept = np.fromiter((keep(first + row) for row in range(n_rows)), dtype=bool, count=n_rows)
            for side, mask in enumerate((kept, ~kept)):
                counts[side] += int(mask.sum())
                writer = writers[side]
                if writer is not None and mask.any():
                    writer.write_table(_filter_group(path, table, group, mask))
            first += n_rows
    return counts[0], counts[1]


def _open_writer(sink: BinaryIO, table: pq.ParquetFile) -> pq.ParquetWriter:
    # "Compliant" would rename the items of lists that another writer named otherwise.
    return pq.ParquetWriter(
        sink, table.schema_arrow, compression=_column_codecs(table), use_compliant_nested_type=False
    )


def _filter_group(path: str, table: pq.ParquetFile, group: int, mask: _Mask) -> pa.Table:
    batches = []
    first = 0
    for batch in _read_batches(path, table, group):
        batches.append(batch.filter(pa.array(mask[first : first + batch.num_rows])))
        first += batch.num_rows
    return pa.Table.from_batches(batches, schema=table.schema_arrow)


def _column_codecs(table: pq.ParquetFile) -> dict[str, str] | str:
    if table.num_row_groups == 0:
        return "snappy"
    group = table.metadata.row_group(0)
    columns = [group.column(position) for position in range(group.num_columns)]
    return {column.path_in_schema: column.compression.lower().replace("uncompressed", "none") for column in columns}
