"""The rows of a table copied without some of them: values, schema, metadata and compression stay.

Knows pyarrow's writers, and what `datasets` writes into a schema. Does not know why a row is kept, nor what the column
says that it may add.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit.errors import ExportError
from audit.samples.arrow import FILE_MAGIC
from audit.samples.parquet import open_parquet, read_group
from audit.samples.source import Source
from audit.samples.splices import AddedField, refuse_taken_name
from audit.samples.tables import open_table

GROUP_BYTES = 1 << 27
"""A row group that holds more than this, unpacked, is written as several."""

_FEATURES = b"huggingface"

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
_Block: TypeAlias = tuple[int, pa.RecordBatch, bool]


class TableWriter(Protocol):
    """What takes the rows of one output."""

    def write_table(self, table: pa.Table) -> None:
        """Write rows."""


def copy_table(
    source: Source,
    keep: Callable[[int], bool],
    output: BinaryIO,
    rejected: BinaryIO | None,
    added: AddedField | None = None,
) -> tuple[int, int]:
    """Copy the rows of a table to one of two outputs; return how many went to each.

    Parquet keeps its row groups and each column's compression, Arrow its kind of file; several files become one.
    Memory holds a part of a row group, or a batch.

    Raises:
        DataError: the table is damaged.
        ExportError: it has a column of the added one's name, or two of one name.
    """
    sinks = (output, rejected)
    with ExitStack() as opened:
        if source.container == "parquet":
            table = opened.enter_context(open_parquet(source.path))
            refuse_equal_names(table.schema_arrow, source.path)
            schema = add_column(table.schema_arrow, added, source.path)
            codecs = _column_codecs(table)
            writers = [
                opened.enter_context(open_parquet_writer(sink, schema, codecs)) if sink else None for sink in sinks
            ]
            return _copy_blocks(_read_groups(source.path, table), keep, writers, schema, added, source.path)
        rows = opened.enter_context(open_table(source.read_files, source.container))
        refuse_equal_names(rows.schema, source.path)
        schema = add_column(drop_fingerprint(rows.schema), added, source.path)
        opening = pa.ipc.new_file if _is_file_format(source.read_files[0]) else pa.ipc.new_stream
        writers = [opened.enter_context(opening(sink, schema)) if sink else None for sink in sinks]
        blocks = ((first, batch, True) for first, batch in rows.read_batches(0, source.n_records))
        return _copy_blocks(blocks, keep, writers, schema, added, source.path)


def _copy_blocks(
    blocks: Iterator[_Block],
    keep: Callable[[int], bool],
    writers: list[TableWriter | None],
    schema: pa.Schema,
    added: AddedField | None,
    place: str,
) -> tuple[int, int]:
    counts = [0, 0]
    held: list[list[pa.RecordBatch]] = [[], []]
    for first, batch, is_end in blocks:
        longer = fit_batch(batch, schema, added, place)
        kept = np.fromiter((keep(first + row) for row in range(batch.num_rows)), dtype=bool, count=batch.num_rows)
        for side, mask in enumerate((kept, ~kept)):
            counts[side] += int(mask.sum())
            if mask.any() and writers[side] is not None:
                held[side].append(longer.filter(pa.array(mask)))
            if held[side] and (is_end or sum(part.nbytes for part in held[side]) > GROUP_BYTES):
                _write(writers[side], held[side], schema)
    return counts[0], counts[1]


def _write(writer: TableWriter | None, held: list[pa.RecordBatch], schema: pa.Schema) -> None:
    if writer is not None:
        writer.write_table(pa.Table.from_batches(held, schema=schema))
    held.clear()


def _read_groups(path: str, table: pq.ParquetFile) -> Iterator[_Block]:
    """Yield batches with the index of their first row, and whether their row group ends with them."""
    first = 0
    for group in range(table.num_row_groups):
        end = first + table.metadata.row_group(group).num_rows
        for batch in read_group(path, table, group):
            yield first, batch, first + batch.num_rows == end
            first += batch.num_rows


def open_parquet_writer(
    sink: BinaryIO, schema: pa.Schema, codecs: dict[str, str] | str = "zstd"
) -> AbstractContextManager[TableWriter]:
    """Open a Parquet file for rows of a schema; a column that `codecs` does not name is compressed with snappy."""
    # "Compliant" would rename the items of lists that another writer named otherwise.
    writer: AbstractContextManager[TableWriter] = pq.ParquetWriter(
        sink, schema, compression=codecs, use_compliant_nested_type=False
    )
    return writer


def _column_codecs(table: pq.ParquetFile) -> dict[str, str] | str:
    if table.num_row_groups == 0:
        return "snappy"
    group = table.metadata.row_group(0)
    columns = [group.column(position) for position in range(group.num_columns)]
    return {column.path_in_schema: column.compression.lower().replace("uncompressed", "none") for column in columns}


def _is_file_format(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(len(FILE_MAGIC)) == FILE_MAGIC


def refuse_equal_names(schema: pa.Schema, place: str) -> None:
    """Refuse a table in which a name does not say which column is meant.

    Raises:
        ExportError: two columns have one name.
    """
    twice = next((name for name, count in Counter(schema.names).items() if count > 1), None)
    if twice is not None:
        raise ExportError(place, f"two columns are named {twice!r}", "rename one of them")


def add_column(schema: pa.Schema, added: AddedField | None, place: str) -> pa.Schema:
    """Return the schema with one more column; the features that `datasets` keeps in its metadata name it, too.

    Raises:
        ExportError: there is a column of that name.
    """
    if added is None:
        return schema
    if added.name in schema.names:
        raise refuse_taken_name(place, added.name)
    longer = schema.append(pa.field(added.name, added.type))
    described = _read_description(schema)
    add_feature(described.get("info"), added)
    return _write_description(longer, described)


def drop_fingerprint(schema: pa.Schema) -> pa.Schema:
    """Return the schema without the fingerprint of the rows, by which `datasets` would take others for them."""
    described = _read_description(schema)
    return _write_description(schema, described) if described.pop("fingerprint", None) else schema


def _read_description(schema: pa.Schema) -> dict[str, Any]:
    try:
        described = json.loads((schema.metadata or {}).get(_FEATURES, b"{}"))
    except ValueError:
        return {}
    return described if isinstance(described, dict) else {}


def _write_description(schema: pa.Schema, described: dict[str, Any]) -> pa.Schema:
    if not described:
        return schema
    return schema.with_metadata({**schema.metadata, _FEATURES: json.dumps(described).encode()})


def add_feature(info: Any, added: AddedField) -> None:
    """Add the column to a description of a dataset, if that lists features."""
    if isinstance(info, dict) and isinstance(info.get("features"), dict):
        info["features"][added.name] = _describe_feature(added.type)


def _describe_feature(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: _describe_feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return {"feature": _describe_feature(kind.value_type), "_type": "List"}
    return {"dtype": {"float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def fit_batch(batch: pa.RecordBatch, schema: pa.Schema, added: AddedField | None, place: str) -> pa.RecordBatch:
    """Return the batch as rows of a schema, which has the added column last; its values are taken, one a row.

    Raises:
        ExportError: the batch has other columns, as one of several files may.
    """
    own = schema if added is None else schema.remove(len(schema) - 1)
    try:
        columns = [batch.column(field.name).cast(field.type) for field in own]
    except (KeyError, pa.ArrowException) as error:
        finding = f"its files do not have the same columns ({error})"
        raise ExportError(place, finding, "load and save it again with datasets") from error
    if added is not None:
        columns.append(pa.array([next(added.values) for _ in range(batch.num_rows)], type=added.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
