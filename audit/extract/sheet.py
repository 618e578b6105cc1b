"""The sheet of an extraction: answers and judgements as they come, so that a killed one loses none of them.

One SQLite file beside the vectors, readable by its owner only. Answers are kept under a key of generator, prompt and
draw, judgements also under judge and specification: another trait, another judge or more rollouts find what is there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audit.answers import Answer
from audit.errors import RunError
from audit.traits import Judgement

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, prompt TEXT NOT NULL, text TEXT NOT NULL, "
    "n_tokens INTEGER NOT NULL, finished INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS judgements (key BLOB NOT NULL, judge TEXT NOT NULL, trait REAL, coherence REAL, "
    "PRIMARY KEY (key, judge))",
)
_CHUNK = 500


class RolloutSheet:
    """Answers and judgements of an extraction."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def read_answers(self, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the answers that are there, by key."""
        rows = self._select("SELECT key, text, n_tokens, finished FROM answers WHERE key IN ({})", keys)
        return {key: Answer(text, n_tokens, bool(finished)) for key, text, n_tokens, finished in rows}

    def write_answers(self, answers: Mapping[bytes, tuple[str, Answer]]) -> None:
        """Keep answers with their prompts, by key."""
        rows = [
            (key, _storable(prompt), _storable(answer.text), answer.n_tokens, answer.finished)
            for key, (prompt, answer) in answers.items()
        ]
        self._insert("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", rows)

    def read_judgements(self, keys: Sequence[bytes], judge: str) -> dict[bytes, Judgement]:
        """Return what a judge said, by the key of the answer; `judge` is a digest of judge and specification."""
        rows = self._select("SELECT key, trait, coherence FROM judgements WHERE judge = ? AND key IN ({})", keys, judge)
        return {key: Judgement(trait, coherence) for key, trait, coherence in rows}

    def write_judgements(self, judgements: Mapping[bytes, Judgement], judge: str) -> None:
        """Keep what a judge said."""
        rows = [(key, judge, found.trait, found.coherence) for key, found in judgements.items()]
        self._insert("INSERT OR REPLACE INTO judgements VALUES (?, ?, ?, ?)", rows)

    def _select(self, statement: str, keys: Sequence[bytes], *first: str) -> list[Any]:
        found: list[Any] = []
        with explained_errors(self._path):
            for start in range(0, len(keys), _CHUNK):
                own = keys[start : start + _CHUNK]
                marks = ", ".join("?" * len(own))
                found += self._connection.execute(statement.format(marks), (*first, *own)).fetchall()
        return found

    def _insert(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with explained_errors(self._path), self._connection:
            self._connection.executemany(statement, rows)


@contextmanager
def opened_sheet(path: Path) -> Iterator[RolloutSheet]:
    """Open the sheet at a path, or make it.

    Raises:
        RunError: it cannot be written, or is damaged.
    """
    with explained_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made by us first, so that nobody else may read it for a moment.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=30.0)
        try:
            with connection:
                for statement in _SCHEMA:
                    connection.execute(statement)
        except BaseException:
            connection.close()
            raise
    try:
        yield RolloutSheet(path, connection)
    finally:
        connection.close()


@contextmanager
def explained_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into an error with a cure."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        cure = "make room, or choose another --output-dir; a damaged sheet can be removed, its answers are made anew"
        raise RunError(str(path), f"the rollouts cannot be kept: {reason}", cure) from error


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
