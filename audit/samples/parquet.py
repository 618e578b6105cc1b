"""Parquet files read by batches, however large their row groups are.

Knows pyarrow's reader and how it fails. Does not know what a row means.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from audit.errors import DataError

BATCH_ROWS = 256
# Without both, a column of a whole row group is held at once.
_BUFFER_BYTES = 1 << 20


class ParquetTable:
    """One opened Parquet file."""

    def __init__(self, path: str, file: pq.ParquetFile) -> None:
        """Read `file`, which was opened from `path`."""
        self._path = path
        self._file = file
        self.schema: pa.Schema = file.schema_arrow
        self.n_rows = int(file.metadata.num_rows)

    def read_batches(self, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the rows in [start, stop) by batches, each with the index of its first row.

        Row groups before them are not read.
        """
        first = 0
        for group in range(self._file.num_row_groups):
            n_rows = self._file.metadata.row_group(group).num_rows
            if first + n_rows > start and first < stop:
                yield from self._read_group(group, first, start, stop)
            first += n_rows

    def _read_group(self, group: int, first: int, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        for batch in read_group(self._path, self._file, group):
            if first >= stop:
                return
            if first + batch.num_rows > start:
                begin = max(start - first, 0)
                yield first + begin, batch.slice(begin, stop - first - begin)
            first += batch.num_rows


def open_parquet(path: str) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises:
        DataError: its footer is damaged or missing, or the file is gone.
    """
    with _explained_damage(path):
        return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def read_group(path: str, file: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one row group by batches.

    Raises:
        DataError: its pages are damaged.
    """
    with _explained_damage(path):
        batches = file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group])
    while True:
        with _explained_damage(path):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


@contextmanager
def _explained_damage(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        finding = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(path, f"cannot be read as Parquet: {finding}", "fetch or write the file again") from error
