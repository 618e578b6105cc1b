"""What a query may do: read the run, and nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path

import duckdb
import pytest

from audit.errors import QueryError
from audit.query import check_condition, open_connection, read_batches, run_query
from tests.fabricated import make_run, scored


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("query")
    return make_run(folder / "a.audit", [scored(0.1), scored(0.9)], dataset=folder / "a.jsonl")


@pytest.fixture(scope="module")
def connection(run: Path) -> duckdb.DuckDBPyConnection:
    return open_connection(run)


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, object]]:
    return [row for batch in read_batches(run_query(connection, sql)) for row in batch.to_pylist()]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT evil FROM sample_scores",
        "WITH a AS (SELECT 1 AS x) SELECT * FROM a",
        "FROM sample_scores",
        "DESCRIBE samples",
        "SHOW TABLES",
        "SUMMARIZE sample_scores",
        "EXPLAIN SELECT * FROM samples",
        "EXPLAIN ANALYZE SELECT * FROM samples",
        "EXPLAIN (FORMAT json) SELECT 1",
        "EXPLAIN -- why\n /* so */ ANALYZE SELECT 1",
        "SELECT ';' -- a comment; with a semicolon",
        "/* SET threads = 1; */ SELECT 1;",
        "SELECT * FROM samples UNION ALL SELECT * FROM samples",
        "PIVOT scores ON trait IN ('evil') USING max(projection) GROUP BY sample_id",
        "SELECT unnest(flagged_traits) FROM sample_scores",
        "SELECT * FROM range(3)",
        "SELECT now()",
    ],
)
def test_statements_that_read_are_answered(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert isinstance(rows(connection, sql), list)


@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("", "no statement"),
        ("-- nothing here", "no statement"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT 1; DROP VIEW samples", "2 statements"),
        ("SELECT 1 /* ; */; COPY samples TO 'x.csv'", "2 statements"),
        ("COPY samples TO '{run}/x.csv'", "COPY is refused"),
        ("cOpY (SELECT 1) TO '{run}/x.csv'", "COPY is refused"),
        ("/* SELECT */ COPY (SELECT 1) TO '{run}/x.csv'", "COPY is refused"),
        ("WITH a AS (COPY (SELECT 1) TO '{run}/x.csv') SELECT 1", "COPY is refused"),
        ("SELECT (WITH a AS (COPY (SELECT 1) TO '{run}/x.csv') SELECT 1)", "COPY is refused"),
        ("SUMMARIZE (WITH a AS (COPY (SELECT 1) TO '{run}/x.csv') SELECT 1)", "COPY is refused"),
        ("EXPLAIN ANALYZE COPY samples TO '{run}/x.csv'", "COPY is refused"),
        ("EXPLAIN ANALYZE WITH a AS (COPY (SELECT 1) TO '{run}/x.csv') SELECT 1", "COPY is refused"),
        ("EXPLAIN (ANALYZE) CREATE TABLE t AS SELECT 1", "CREATE is refused"),
        ("EXPLAIN /* */ ANALYZE DELETE FROM samples", "DELETE is refused"),
        ("FROM query('WITH a AS (COPY (SELECT 1) TO ''{run}/x.csv'') SELECT 1')", "'query' is refused"),
        ("FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))", "is refused"),
        ("WITH a AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM a", "INSERT is refused"),
        ("WITH a AS (DELETE FROM t RETURNING 1) SELECT * FROM a", "DELETE is refused"),
        ("INSERT INTO t VALUES (1)", "INSERT is refused"),
        ("CREATE TABLE t AS SELECT 1", "CREATE is refused"),
        ("DROP VIEW samples", "DROP is refused"),
        ("ATTACH 'other.db'", "ATTACH is refused"),
        ("INSTALL httpfs", "LOAD is refused"),
        ("LOAD httpfs", "LOAD is refused"),
        ("PRAGMA database_list", "PRAGMA is refused"),
        ("SET enable_external_access = true", "SET is refused"),
        ("RESET lock_configuration", "refused"),
        ("SET VARIABLE x = 1", "refused"),
        ("CALL pragma_version()", "CALL is refused"),
        ("EXPORT DATABASE 'x'", "EXPORT is refused"),
        ("BEGIN TRANSACTION", "TRANSACTION is refused"),
        ("PREPARE p AS SELECT 1", "PREPARE is refused"),
        ("PIVOT scores ON trait USING max(projection)", "list of values"),
        ("FROM read_csv('/etc/passwd')", "'read_csv' is refused"),
        ("FROM read_text('/etc/passwd')", "'read_text' is refused"),
        ("FROM glob('/etc/*')", "'glob' is refused"),
        ("FROM sniff_csv('/etc/passwd')", "'sniff_csv' is refused"),
        ("FROM pandas_scan(0)", "'pandas_scan' is refused"),
        ("FROM duckdb_secrets()", "is refused"),
        ("FROM read_parquet('/etc/*.parquet')", "reads the run directory only"),
        ("SELECT getenv('HOME')", "getenv does not exist"),
        ("FROM '/etc/passwd'", "does not exist"),
        ("SELEC 1", "syntax error"),
    ],
)
def test_everything_else_is_refused_and_nothing_is_written(
    connection: duckdb.DuckDBPyConnection, run: Path, sql: str, finding: str
) -> None:
    before = sorted(str(path) for path in run.rglob("*"))
    with pytest.raises(QueryError, match=finding):
        rows(connection, sql.replace("{run}", str(run)))
    assert sorted(str(path) for path in run.rglob("*")) == before


def test_parquet_outside_the_run_cannot_be_read(
    connection: duckdb.DuckDBPyConnection, run: Path, tmp_path: Path
) -> None:
    other = make_run(tmp_path / "b.audit", [scored(0.1)], dataset=tmp_path / "b.jsonl")
    for place in (str(other), f"{run}/../../{tmp_path.name}/b.audit"):
        with pytest.raises(QueryError, match=r"reads the run directory only|No files found"):
            rows(connection, f"FROM '{place}/flags.parquet'")
    assert len(rows(connection, f"FROM '{run}/flags.parquet'")) == 4


def test_variables_of_the_calling_program_are_no_tables(connection: duckdb.DuckDBPyConnection) -> None:
    import pyarrow as pa

    hidden_table = pa.table({"secret": [1]})
    assert hidden_table.num_rows == 1
    with pytest.raises(QueryError, match="hidden_table does not exist"):
        rows(connection, "FROM hidden_table")


def test_the_settings_stay_locked(connection: duckdb.DuckDBPyConnection) -> None:
    for setting in ("enable_external_access = true", "allowed_directories = ['/']", "threads = 1"):
        with pytest.raises(duckdb.Error):
            connection.execute(f"SET {setting}")


def test_an_unknown_column_is_answered_with_the_near_ones_and_the_relations(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    with pytest.raises(QueryError) as caught:
        rows(connection, "SELECT evli FROM sample_scores")
    assert '"evli" not found' in str(caught.value)
    assert '"evil"' in str(caught.value)
    assert "relations: samples, turns, scores" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own bytes


def test_an_error_while_computing_is_a_query_error(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(QueryError, match="Could not convert"):
        rows(connection, "SELECT source::INT FROM samples")


def test_a_statement_nested_beyond_reason_is_refused_not_a_crash(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(QueryError):
        rows(connection, "SELECT " + "abs(" * 5000 + "1" + ")" * 5000)


@pytest.mark.parametrize(
    "condition", ["evil < 0.3", "true", "evil < 1 -- fine", "sample_id IN (SELECT 1)", "NOT flagged"]
)
def test_conditions_are_single_expressions(condition: str) -> None:
    check_condition(condition)


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "1, 2",
        "true) OR (true",
        "true) UNION SELECT 1 WHERE (true",
        "true; DROP VIEW samples",
        "SELECT 1",
        "true LIMIT 1",
        "true ORDER BY 1",
        "EXISTS (WITH a AS (COPY (SELECT 1) TO 'x') SELECT 1)",
        "EXISTS (FROM read_text('/etc/passwd'))",
    ],
)
def test_a_condition_smuggles_nothing_in(condition: str) -> None:
    with pytest.raises(QueryError):
        check_condition(condition)
