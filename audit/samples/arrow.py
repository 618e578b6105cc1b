"""Arrow files, memory-mapped and read by batches: the file format, and the stream format that `datasets` writes.

Knows how either is opened, and checks a batch before anything follows its offsets. Does not know what a row means.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import pyarrow as pa

from audit.samples.parquet import explained_damage, refuse_twins

FILE_MAGIC = b"ARROW1"
STREAM_MAGIC = b"\xff\xff\xff\xff"
BATCH_ROWS = 256

_Reader: TypeAlias = "pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader"


class ArrowTable:
    """Arrow files, one after the other, as one table."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        """Open the files; at least one, each of which may have a schema of its own.

        Raises:
            DataError: the first is damaged, or two of its columns have one name.
        """
        self._paths = paths
        with _opened(paths[0]) as reader:
            self.schema: pa.Schema = reader.schema
        self._n_rows: tuple[int, ...] | None = None

    @property
    def n_rows(self) -> int:
        """Rows of all files; found by passing over every batch."""
        return sum(self._count_rows())

    def read_batches(self, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the rows in [start, stop) by batches, each with the index of its first row.

        Raises:
            DataError: a file is damaged, or two of its columns have one name.
        """
        first = 0
        for path in self._paths:
            for batch in _read_file(path):
                if first >= stop:
                    return
                begin = max(start - first, 0)
                end = min(batch.num_rows, stop - first)
                if begin < end:
                    _check_batch(path, batch)
                for row in range(begin, end, BATCH_ROWS):
                    yield first + row, batch.slice(row, min(BATCH_ROWS, end - row))
                first += batch.num_rows

    def _count_rows(self) -> tuple[int, ...]:
        if self._n_rows is None:
            self._n_rows = tuple(sum(batch.num_rows for batch in _read_file(path)) for path in self._paths)
        return self._n_rows


def _read_file(path: str) -> Iterator[pa.RecordBatch]:
    with _opened(path) as reader:
        if isinstance(reader, pa.ipc.RecordBatchStreamReader):
            while True:
                with explained_damage(path, "Arrow"):
                    batch = next(reader, None)
                if batch is None:
                    return
                yield batch
        for position in range(reader.num_record_batches):
            with explained_damage(path, "Arrow"):
                batch = reader.get_batch(position)
            yield batch


@contextmanager
def _opened(path: str) -> Iterator[_Reader]:
    with explained_damage(path, "Arrow"):
        file = pa.memory_map(path, "rb")
    with file:
        with explained_damage(path, "Arrow"):
            is_file = file.read(len(FILE_MAGIC)) == FILE_MAGIC
            file.seek(0)
            reader = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
            names = reader.schema.names
        refuse_twins(path, names)
        yield reader


def _check_batch(path: str, batch: pa.RecordBatch) -> None:
    """Refuse a batch whose offsets lead out of its buffers: to follow them would end the process."""
    try:
        batch.validate(full=True)
    except pa.ArrowException:
        # Bytes that are no UTF-8 concern one row, not the file.
        with explained_damage(path, "Arrow"):
            for column in batch.columns:
                column.validate()
                _without_encoding(column).validate(full=True)


def _without_encoding(array: pa.Array) -> pa.Array:
    """Return the same array with texts as bytes, as far as they lie in lists and structs."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _without_encoding(array.storage)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        plain = pa.binary() if pa.types.is_string(kind) else pa.large_binary()
        return pa.Array.from_buffers(plain, len(array), array.buffers(), offset=array.offset)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        values = _without_encoding(array.values)
        rebuilt = (pa.list_ if pa.types.is_list(kind) else pa.large_list)(values.type)
        return pa.Array.from_buffers(rebuilt, len(array), array.buffers()[:2], offset=array.offset, children=[values])
    if pa.types.is_struct(kind):
        children = [_without_encoding(array.field(position)) for position in range(kind.num_fields)]
        rebuilt = pa.struct([(field.name, child.type) for field, child in zip(kind, children, strict=True)])
        return pa.Array.from_buffers(rebuilt, len(array), array.buffers()[:1], offset=array.offset, children=children)
    return array
