"""A run opened in DuckDB: its relations as views, and a connection that reads nothing but the run directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from audit.errors import RunError
from audit.query.relations import build_views, list_manifest_traits, quote_text
from audit.query.stored import find_stored_scores
from audit.schema import sample_scores_schema
from audit.store import Part, RunStore

_N_FIXED = len(sample_scores_schema(()))


def open_connection(
    run_path: Path | str, *, only: Sequence[Part] | None = None, memory_mb: int | None = None
) -> duckdb.DuckDBPyConnection:
    """Open a run, finished or not, with the relations of `RELATIONS` as views.

    The connection is in memory, reads files below the run directory only, loads no extension, sees no Python
    variable, and its settings are locked.

    Args:
        only: these parts alone, and none of the run's findings.
        memory_mb: what does not fit goes to temporary files; None: DuckDB's own limit, most of the machine's memory.

    Raises:
        RunError: there is no run, or its files are damaged.
    """
    path = Path(os.path.abspath(run_path))
    connection = _connect(memory_mb)
    _make_views(connection, path, str(run_path), only)
    _harden(connection, [path])
    return connection


def open_pair(run_a: Path | str, run_b: Path | str, *, memory_mb: int | None = None) -> duckdb.DuckDBPyConnection:
    """Open two runs in one connection as `open_connection` does: relations of one in schema `a`, the other's in `b`.

    Raises:
        RunError: there is no run, or its files are damaged.
    """
    runs = {"a": run_a, "b": run_b}
    connection = _connect(memory_mb)
    for schema, run in runs.items():
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"SET schema = '{schema}'")
        _make_views(connection, Path(os.path.abspath(run)), str(run), None)
    connection.execute("SET schema = 'main'")
    # Rows come in any order then, and joins over large runs take half the memory.
    connection.execute("SET preserve_insertion_order = false")
    _harden(connection, [Path(os.path.abspath(run)) for run in runs.values()])
    return connection


def _connect(memory_mb: int | None) -> duckdb.DuckDBPyConnection:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    if memory_mb is not None:
        settings["memory_limit"] = f"{memory_mb}MB"
    return duckdb.connect(":memory:", config=settings)


def _make_views(connection: duckdb.DuckDBPyConnection, path: Path, place: str, only: Sequence[Part] | None) -> None:
    """Make the relations of a run; where that fails, the connection is closed."""
    store = RunStore(path)
    try:
        manifest = store.read_manifest()
        stored = find_stored_scores(store, list_manifest_traits(manifest)) if only is None else None
        for statement in build_views(store, manifest, stored=stored, only=only):
            connection.execute(statement)
    except duckdb.Error as error:
        connection.close()
        raise RunError(place, f"its files cannot be read: {first_line(error)}", "scan again with --fresh") from error
    except RunError:
        connection.close()
        raise


def list_traits(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the traits of an opened run, in the order of its vectors."""
    columns = connection.table("sample_scores").columns[_N_FIXED:]
    return [str(name) for name in columns[: len(columns) // 2]]


def first_line(error: Exception) -> str:
    """Return the finding of a DuckDB error without the picture of the statement below it."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _harden(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> None:
    spill = os.path.join(tempfile.gettempdir(), f"persona-audit-{os.getpid()}")
    allowed = ", ".join(quote_text(str(path)) for path in paths)
    connection.execute(f"SET temp_directory = {quote_text(spill)}")
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
