"""Records converted on their way out: to another container, to another shape, or both.

A container alone keeps every field. A shape is written from the conversations of a record and holds nothing but them.
Where the target has no place for what a kept record says, that is an error: nothing is dropped in silence. A rejected
record that cannot be converted is left out, and counted. Knows neither files nor why a record is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from audit.errors import ExportError
from audit.export.cells import holds_texts, write_as_texts
from audit.export.formats import Target
from audit.export.schemas import SchemaClash, SchemaFinder, chunk_rows, has_empty_struct
from audit.export.unused import UnusedFields
from audit.export.values import Unwritable, to_json_fields
from audit.export.writers import RecordWriter, open_table_writer, open_writer
from audit.samples import Source, UnreadableRecord, load_families, read_conversations
from audit.samples.decode import Unreadable
from audit.samples.records import read_range
from audit.samples.splices import AddedField, refuse_taken_name
from audit.samples.table_copies import add_column, drop_fingerprint, fit_batch, refuse_equal_names
from audit.samples.tables import open_table


@dataclass(frozen=True, slots=True)
class ConvertCounts:
    """How many records went where, how many rejected ones could not be converted, and which fields left nothing."""

    n_kept: int
    n_rejected: int
    n_left_out: int
    dropped_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """One input on its way to another form.

    Attributes:
        kept: 1 for each record that is kept, 0 for the others.
        has_rejected: whether the others are written, too.
        open_added: makes the field that records get, from the first one on; it may be read twice.
    """

    source: Source
    target: Target
    kept: bytearray
    has_rejected: bool
    open_added: Callable[[], AddedField | None]

    @property
    def is_by_batches(self) -> bool:
        """Whether rows go from table to table as they are."""
        return self.source.layout.is_table and self.target.is_table and self.target.shape is None


@dataclass(frozen=True, slots=True)
class _Record:
    index: int
    line: int
    fields: dict[str, Any]


def convert_records(
    conversion: Conversion, output: BinaryIO, rejected: BinaryIO | None, tick: Callable[[int], None]
) -> ConvertCounts:
    """Write the records of a source in another form, the kept ones to `output`, the others to `rejected`.

    `tick` is told how many records were passed. A text that becomes a table or CSV is read twice: its columns are
    known only at its end.

    Raises:
        DataError: the input breaks off.
        ExportError: a kept record has no counterpart in the target; or a field of the added one's name.
    """
    if conversion.is_by_batches:
        return _convert_batches(conversion, (output, rejected), tick)
    schema = _find_schema(conversion)
    counts = [0, 0]
    unused = UnusedFields(conversion.source) if conversion.target.shape else None
    with ExitStack() as opened:
        writers = [
            opened.enter_context(open_writer(sink, conversion.target, schema)) if sink else None
            for sink in (output, rejected)
        ]
        for record in _read_converted(conversion, tick, unused):
            side = 0 if conversion.kept[record.index] else 1
            writer = writers[side]
            if writer is not None and _write(writer, record, conversion, is_kept=side == 0):
                counts[side] += 1
    n_rejected = conversion.kept.count(0)
    n_left_out = n_rejected - counts[1] if conversion.has_rejected else 0
    return ConvertCounts(counts[0], n_rejected, n_left_out, unused.names if unused else ())


def _write(writer: RecordWriter, record: _Record, conversion: Conversion, *, is_kept: bool) -> bool:
    try:
        writer.write(record.fields)
    except Unwritable as error:
        if is_kept:
            raise _explain_value(conversion, record.line, error) from error
        return False
    return True


def _explain_value(conversion: Conversion, line: int, error: Unwritable) -> ExportError:
    return ExportError(
        f"{conversion.source.path}:{line}",
        f"the field {error.field!r} cannot be written to {conversion.target.container}: {error.finding}",
        _cure_value(conversion.target),
    )


def _cure_value(target: Target) -> str:
    if target.shape is None:
        return "leave the field out of the input, or choose another --format"
    return f"choose a container that holds lists: --format jsonl,{target.shape}, or json, parquet or arrow"


class _Wanted:
    """The records that are read: the kept ones, or all."""

    def __init__(self, conversion: Conversion) -> None:
        self._kept = conversion.kept
        self._is_all = conversion.has_rejected

    def __contains__(self, index: object) -> bool:
        return self._is_all or (isinstance(index, int) and bool(self._kept[index]))


def read_kept(conversion: Conversion) -> Iterator[dict[str, Any]]:
    """Yield the fields of the kept records as the target has them; one that cannot be read is passed over."""
    source = conversion.source
    for row in read_range(source, 0, source.n_records, _Wanted(replace(conversion, has_rejected=False))):
        try:
            yield _convert_fields(conversion, row.fields)
        except (Unwritable, UnreadableRecord):
            continue


def _read_converted(
    conversion: Conversion, tick: Callable[[int], None] | None = None, unused: UnusedFields | None = None
) -> Iterator[_Record]:
    """Yield the records that can be converted; a rejected one that cannot is passed over."""
    source = conversion.source
    added = conversion.open_added()
    n_passed = 0
    for row in read_range(source, 0, source.n_records, _Wanted(conversion)):
        if tick is not None:
            tick(row.index + 1 - n_passed)
        value = None
        for _ in range(row.index + 1 - n_passed):
            value = next(added.values) if added is not None else None
        n_passed = row.index + 1
        try:
            fields = _convert_fields(conversion, row.fields)
        except (Unwritable, UnreadableRecord) as error:
            if not conversion.kept[row.index]:
                continue
            if isinstance(error, Unwritable):
                raise _explain_value(conversion, row.place.line, error) from error
            raise _explain_record(conversion, row.place.line, row.fields, str(error)) from error
        if unused is not None and not isinstance(row.fields, Unreadable):
            unused.look_at(row.fields)
        if added is not None:
            if added.name in fields:
                raise refuse_taken_name(f"{source.path}:{row.place.line}", added.name)
            fields[added.name] = value
        yield _Record(row.index, row.place.line, fields)
    if tick is not None:
        tick(source.n_records - n_passed)


def _convert_fields(conversion: Conversion, fields: dict[str, Any] | Unreadable) -> dict[str, Any]:
    if isinstance(fields, Unreadable):
        raise UnreadableRecord(fields.reason)
    source, shape = conversion.source, conversion.target.shape
    if shape is None:
        return to_json_fields(fields, is_table=source.layout.is_table)
    conversations = read_conversations(source, fields)
    if isinstance(conversations, str):
        raise UnreadableRecord(conversations)
    write = load_families()[shape].write
    if write is None:
        raise UnreadableRecord(f"not_convertible: nothing is converted to {shape}")
    record = write(conversations)
    if conversion.target.container in ("csv", "tsv") and holds_texts(fields):
        record = write_as_texts(record)
    return to_json_fields(record, is_table=False)


def _explain_record(
    conversion: Conversion, line: int, fields: dict[str, Any] | Unreadable, finding: str
) -> ExportError:
    place = f"{conversion.source.path}:{line}"
    if isinstance(fields, Unreadable):
        cure = "export without --keep-skipped, or without --format"
        return ExportError(place, f"cannot be converted: {finding}", cure)
    wanted = conversion.target.shape or conversion.target.container
    cure = "choose another --format, or leave the record out with --where"
    return ExportError(place, f"cannot be converted to {wanted}: {finding}", cure)


def _find_schema(conversion: Conversion) -> pa.Schema | None:
    """Return the columns of a table or a CSV; of a CSV only their names say something.

    Where no record is written, all of them say what the columns would be.
    """
    target = conversion.target
    if target.container not in ("csv", "tsv") and not target.is_table:
        return None
    is_empty = not any(conversion.kept) and not conversion.has_rejected
    if is_empty:
        conversion = replace(conversion, has_rejected=True)
    added = conversion.open_added()
    names: dict[str, None] = {}
    finder = SchemaFinder()
    for chunk in chunk_rows(_read_converted(conversion)):
        names.update((name, None) for record in chunk for name in record.fields)
        if target.is_table:
            try:
                _look_at(finder, [_drop_added(record.fields, added) for record in chunk], chunk, conversion)
            except ExportError:
                if not is_empty:
                    raise
                break
    if not target.is_table:
        return pa.schema([pa.field(name, pa.string()) for name in names])
    if is_empty and target.container == "parquet":
        kept = [field for field in finder.schema if not has_empty_struct(field.type)]
        return add_column(pa.schema(kept), added, conversion.source.path)
    empty = next((field.name for field in finder.schema if has_empty_struct(field.type)), None)
    if empty is not None and target.container == "parquet":
        finding = f"the field {empty!r} holds objects without fields only, which Parquet cannot"
        raise ExportError(conversion.source.path, finding, "choose --format jsonl or arrow")
    return add_column(finder.schema, added, conversion.source.path)


def _drop_added(fields: dict[str, Any], added: AddedField | None) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if added is None or name != added.name}


def _look_at(finder: SchemaFinder, own: list[dict[str, Any]], chunk: list[_Record], conversion: Conversion) -> None:
    try:
        finder.add(own)
    except SchemaClash as clash:
        raise ExportError(
            f"{conversion.source.path}:{chunk[clash.position].line}",
            f"the field {clash.field!r} is of another kind than before, or fits no column ({clash.finding})",
            "choose --format jsonl, which takes every value, or mend the field",
        ) from clash


def _convert_batches(
    conversion: Conversion, sinks: tuple[BinaryIO, BinaryIO | None], tick: Callable[[int], None]
) -> ConvertCounts:
    source = conversion.source
    added = conversion.open_added()
    counts = [0, 0]
    with ExitStack() as opened:
        table = opened.enter_context(open_table(source.read_files, source.container))
        refuse_equal_names(table.schema, source.path)
        schema = add_column(drop_fingerprint(table.schema), added, source.path)
        writers = [
            opened.enter_context(open_table_writer(sink, conversion.target, schema)) if sink else None for sink in sinks
        ]
        for first, batch in table.read_batches(0, source.n_records):
            longer = fit_batch(batch, schema, added, source.path)
            kept = np.frombuffer(conversion.kept, dtype=np.bool_, count=batch.num_rows, offset=first)
            for side, mask in enumerate((kept, ~kept)):
                counts[side] += int(mask.sum())
                writer = writers[side]
                if writer is not None and mask.any():
                    writer.write_table(pa.Table.from_batches([longer.filter(pa.array(mask))], schema=schema))
            tick(batch.num_rows)
    return ConvertCounts(counts[0], counts[1], 0)
