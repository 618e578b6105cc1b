"""Parquet files read by batches, however large their row groups are.

Knows pyarrow's reader and how it fails. Does not know what a row means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from audit.errors import DataError
from audit.samples.text import clean_text

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
        DataError: its footer is damaged or missing, two columns have one name, or the file is gone.
    """
    with explained_damage(path, "Parquet"):
        file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        names = file.schema_arrow.names
    try:
        refuse_twins(path, names)
    except DataError:
        file.close()
        raise
    return file


def read_group(path: str, file: pq.ParquetFile, group: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one row group by batches.

    Raises:
        DataError: its pages are damaged.
    """
    with explained_damage(path, "Parquet"):
        batches = file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group])
    while True:
        with explained_damage(path, "Parquet"):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def refuse_twins(path: str, names: Sequence[str]) -> None:
    """Refuse a table in which two columns have one name: a row would keep the last alone.

    Raises:
        DataError: it has two.
    """
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(path, f"two columns are named {clean_text(twice)!r}", "rename one of them")


@contextmanager
def explained_damage(path: str, kind: str) -> Iterator[None]:
    """Turn what pyarrow raises for a damaged file of a kind into one line.

    Raises:
        DataError: in its place.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        finding = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(path, f"cannot be read as {kind}: {finding}", "fetch or write the file again") from error
