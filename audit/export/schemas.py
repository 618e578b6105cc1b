"""One Arrow schema for records of JSON, found by looking at all of them; and records as rows of that schema.

Whole numbers and fractions become fractions, fields that are missing become null. Any other difference in kind is an
error that names the field. Does not know files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa

from audit.export.values import Unwritable

CHUNK_ROWS = 1_000
"""Records that are held at a time."""

_Row = TypeVar("_Row")
_CLASH = (pa.ArrowException, OverflowError, ValueError, TypeError)


class SchemaClash(Exception):
    """A record has a value of another kind than those before it; the arguments are its position, field and finding."""

    def __init__(self, position: int, field: str, finding: str) -> None:
        super().__init__(position, field, finding)
        self.position = position
        self.field = field
        self.finding = finding


def chunk_rows(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Yield rows by chunks."""
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield chunk


class SchemaFinder:
    """Finds the schema that all records fit, a chunk at a time."""

    def __init__(self) -> None:
        self._types: dict[str, pa.DataType] = {}

    @property
    def schema(self) -> pa.Schema:
        """The schema of all records so far."""
        return pa.schema([pa.field(name, kind) for name, kind in self._types.items()])

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Look at more records.

        Raises:
            SchemaClash: with the position among these records.
        """
        names = dict.fromkeys(name for row in rows for name in row)
        for name in names:
            values = [row.get(name) for row in rows]
            known = self._types.get(name, pa.null())
            try:
                self._types[name] = _unify(known, _infer(values))
            except _CLASH:
                raise self._find_clash(name, known, values) from None

    def _find_clash(self, name: str, known: pa.DataType, values: list[Any]) -> SchemaClash:
        for position, value in enumerate(values):
            try:
                known = _unify(known, _infer([value]))
            except _CLASH as error:
                finding = str(error).splitlines()[0] or type(error).__name__
                return SchemaClash(position, name, finding)
        return SchemaClash(len(values) - 1, name, "values of different kinds")


def _infer(values: list[Any]) -> pa.DataType:
    return pa.array(values).type


def has_empty_struct(kind: pa.DataType) -> bool:
    """Tell whether the type is, or holds, an object without fields."""
    if pa.types.is_struct(kind) and kind.num_fields == 0:
        return True
    return any(has_empty_struct(kind.field(position).type) for position in range(kind.num_fields))


def _unify(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other:
        return one
    schemas = [pa.schema([pa.field("value", kind)]) for kind in (one, other)]
    return pa.unify_schemas(schemas, promote_options="permissive").field("value").type


def to_batch(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Return records as rows of a schema; a field that a record has not is null.

    Raises:
        Unwritable: a value does not fit.
    """
    columns = []
    for field in schema:
        try:
            columns.append(pa.array([row.get(field.name) for row in rows], type=field.type))
        except _CLASH as error:
            raise Unwritable(field.name, str(error).splitlines()[0]) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)
