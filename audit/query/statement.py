"""What may be asked: exactly one statement that reads, judged by DuckDB's own parser and never by its text.

A SELECT can still write: DuckDB lets a WITH clause hold INSERT, DELETE or COPY TO, and some table functions run a
statement out of a string. So the parse tree is searched, too, and only known table functions are let through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from audit.errors import QueryError
from audit.query.connection import first_line
from audit.query.relations import RELATIONS

_READING_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})

# Those that read relations, values or Parquet files of the run; others take pointers, run text or change settings.
_TABLE_FUNCTIONS = frozenset(
    {"generate_series", "histogram", "histogram_values", "json_each", "json_tree", "parquet_file_metadata",
     "parquet_kv_metadata", "parquet_metadata", "parquet_scan", "parquet_schema", "pragma_table_info", "range",
     "read_parquet", "repeat", "repeat_row", "summary", "unnest",
     "duckdb_columns", "duckdb_functions", "duckdb_keywords", "duckdb_tables", "duckdb_types", "duckdb_views"}
)  # fmt: skip

_SPACE = r"(?:\s|/\*.*?\*/|--[^\n]*(?:\n|$))*"
_EXPLAIN = re.compile(rf"{_SPACE}EXPLAIN\b(?:{_SPACE}ANALYZE\b)?(?:{_SPACE}\([^()]*\))?", re.IGNORECASE | re.DOTALL)
_ALLOWED = "one SELECT, WITH, FROM, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN statement is allowed"
_PLACE = "query"


def run_query(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any] | None = None
) -> duckdb.DuckDBPyRelation:
    """Check one statement and return its result as a relation, which is computed when it is read.

    Raises:
        QueryError: it is not exactly one reading statement, or DuckDB cannot bind it.
    """
    check_statement(sql)
    with _explained_errors():
        return connection.sql(sql, params=dict(parameters) if parameters else None)


def read_batches(relation: duckdb.DuckDBPyRelation, *, batch_rows: int = 10_000) -> Iterator[pa.RecordBatch]:
    """Compute a relation and yield its rows in order; at least one batch, which may be empty.

    Raises:
        QueryError: DuckDB fails while it computes.
    """
    with _explained_errors():
        reader = relation.to_arrow_reader(batch_rows)
        is_empty = True
        for batch in reader:
            is_empty = False
            yield batch
        if is_empty:
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)


def check_statement(sql: str) -> None:
    """Raise unless `sql` is exactly one statement that reads.

    Raises:
        QueryError: with the finding.
    """
    statements = _parse(sql)
    if len(statements) != 1:
        finding = "holds no statement" if not statements else f"holds {len(statements)} statements"
        raise QueryError(_PLACE, finding, _ALLOWED)
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        _check_select(_explained_part(statements[0].query))
    elif kind == duckdb.StatementType.MULTI:
        raise QueryError(_PLACE, "PIVOT without a list of values needs to write", "list them: PIVOT … ON column IN (…)")
    else:
        _check_select(sql)


def check_condition(sql: str) -> None:
    """Raise unless `sql` is exactly one expression that reads: what may stand after WHERE.

    Raises:
        QueryError: with the finding.
    """
    try:
        duckdb.SQLExpression(sql)
    except duckdb.Error as error:
        raise QueryError(
            "--where", f"not one SQL expression: {first_line(error)}", "for example: --where 'evil < 0.3'"
        ) from error
    # The line break keeps a comment at the end of the expression from swallowing the bracket.
    _check_select(f"SELECT ({sql}\n)")


def _parse(sql: str) -> list[duckdb.Statement]:
    try:
        return duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(_PLACE, first_line(error), _relations_hint()) from error


def _check_select(sql: str) -> None:
    statements = _parse(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name.replace("_", " ") if statements else "an empty statement"
        raise QueryError(_PLACE, f"{kind} is refused: queries only read", _ALLOWED)
    _check_tree(_read_tree(sql))


def _explained_part(sql: str) -> str:
    match = _EXPLAIN.match(sql)
    if match is None:
        raise QueryError(_PLACE, "cannot tell what EXPLAIN explains", "write EXPLAIN [ANALYZE] SELECT …")
    return sql[match.end() :]


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    # One of its own: the run's connection sees statements only after they were judged.
    return duckdb.connect(":memory:")


def _read_tree(sql: str) -> Any:
    with _parser().cursor() as cursor:
        row = cursor.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    try:
        tree = json.loads(row[0]) if row else {}
    except RecursionError:
        raise QueryError(_PLACE, "is nested too deeply", "write a simpler statement") from None
    if tree.get("error", True):
        raise QueryError(_PLACE, str(tree.get("error_message", "cannot be checked")), _ALLOWED)
    return tree


def _check_tree(tree: Any) -> None:
    open_values = [tree]
    while open_values:
        value = open_values.pop()
        if isinstance(value, list):
            open_values.extend(value)
        elif isinstance(value, dict):
            _check_node(value)
            open_values.extend(value.values())


def _check_node(node: Mapping[str, Any]) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _READING_NODES:
        name = kind.removesuffix("_NODE").removesuffix("_QUERY")
        raise QueryError(_PLACE, f"{name} is refused: queries only read", _ALLOWED)
    if kind == "TABLE_FUNCTION":
        name = str(node.get("function", {}).get("function_name", "")).lower()
        if name not in _TABLE_FUNCTIONS:
            raise QueryError(_PLACE, f"the table function {name!r} is refused", _relations_hint())


@contextmanager
def _explained_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise QueryError(_PLACE, _finding(error), _relations_hint()) from error


def _finding(error: duckdb.Error) -> str:
    if isinstance(error, duckdb.PermissionException):
        return f"{first_line(error)}; a query reads the run directory only"
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    candidates = [line.strip() for line in lines[1:3] if line.startswith(("Candidate", "Did you mean"))]
    return "; ".join([lines[0] if lines else type(error).__name__, *candidates])


def _relations_hint() -> str:
    return f"relations: {', '.join(RELATIONS)}; `DESCRIBE sample_scores` shows columns"
