"""The sheet of a judge: numbers as they come, answer by answer, so that a killed run of it loses none.

One SQLite file in the run directory, readable by its owner only. It holds keys and numbers, no text and no address.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audit.errors import RunError

_SCHEMA = "CREATE TABLE IF NOT EXISTS numbers (key BLOB PRIMARY KEY, number REAL NOT NULL) WITHOUT ROWID"


class JudgeSheet:
    """Numbers under keys of judge, specification, question and answer."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def read_number(self, key: bytes) -> float | None:
        """Return the number under a key, if there is one."""
        with _explained_errors(self._path):
            row = self._connection.execute("SELECT number FROM numbers WHERE key = ?", (key,)).fetchone()
        return None if row is None else float(row[0])

    def write_number(self, key: bytes, number: float) -> None:
        """Keep a number; when this returns, a kill does not lose it."""
        with _explained_errors(self._path), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (key, number))


@contextmanager
def opened_sheet(path: Path) -> Iterator[JudgeSheet]:
    """Open the sheet at a path, or make it.

    Raises:
        RunError: it cannot be written, or is damaged.
    """
    with _explained_errors(path):
        # Made by us first, so that nobody else may read it for a moment.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=30.0)
        try:
            # A commit per answer is cheap this way; what a power cut may take are the last ones, never the file.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            with connection:
                connection.execute(_SCHEMA)
        except BaseException:
            connection.close()
            raise
    try:
        yield JudgeSheet(path, connection)
    finally:
        connection.close()


@contextmanager
def _explained_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        cure = "make room, or make the directory writable; a damaged sheet can be removed, the judge is asked anew"
        raise RunError(str(path), f"what the judge says cannot be kept: {reason}", cure) from error
