"""The sheet of one run: its distinct prompts in order, which of them are to be answered, and their answers.

It lies in the run directory while the scan works, so that memory does not grow with the data and a killed scan keeps
what was answered, with a cache or without. Knows neither what answers nor the cache; only where an answer came from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audit.answers.answer import Answer, FailedAnswer, Generator
from audit.errors import RunError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS generator (digest TEXT NOT NULL, is_listed INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS prompts (
    position INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    prompt BLOB NOT NULL,
    draw TEXT,
    text TEXT,
    n_tokens INTEGER,
    finished INTEGER,
    is_cached INTEGER
);
CREATE TABLE IF NOT EXISTS failures (key BLOB PRIMARY KEY, reason TEXT NOT NULL);
"""


ALL = "all"
"""The draw of a run that answers every prompt."""


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """Distinct prompts of a run and where their answers came from; answers of an unfinished list may be missing.

    `n_failed` prompts have none for good.
    """

    n_prompts: int
    n_generated: int
    n_generated_tokens: int
    n_cached: int
    n_failed: int = 0

    @property
    def n_answered(self) -> int:
        """Prompts that have an answer."""
        return self.n_generated + self.n_cached

    def to_json(self) -> dict[str, int]:
        """Return the fields as the manifest keeps them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Line:
    """One prompt of the sheet; `key` is what its answer is stored under. One that failed counts as answered."""

    key: bytes
    prompt: str
    is_answered: bool


class AnswerSheet:
    """Distinct prompts in the order of the data, and their answers."""

    def __init__(self, path: Path, generator: Generator, connection: sqlite3.Connection) -> None:
        self.path = path
        self.generator = generator
        self._connection = connection

    @property
    def is_listed(self) -> bool:
        """Whether every prompt of the run is on the sheet."""
        with self._explained_errors():
            return bool(self._connection.execute("SELECT is_listed FROM generator").fetchone()[0])

    def add_prompts(self, prompts: Iterable[str]) -> None:
        """Put prompts on the sheet in order; one that is there already keeps its place."""
        rows = [(self.generator.key(prompt), prompt.encode("utf-8", "surrogatepass")) for prompt in prompts]
        with self._explained_errors(), self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO prompts (key, prompt) VALUES (?, ?)", rows)

    def close_list(self) -> None:
        """Remember that no prompt of the run is missing."""
        with self._explained_errors(), self._connection:
            self._connection.execute("UPDATE generator SET is_listed = 1")

    def find_positions(self, prompts: Sequence[str]) -> list[int]:
        """Return the places of prompts on the sheet, from 0.

        Raises:
            RunError: one is not on it, so the data is not what the sheet was made from.
        """
        return [self._read(prompt, "position")[0] - 1 for prompt in prompts]

    def draw_prompts(self, positions: Iterable[int], draw: str) -> None:
        """Mark prompts as to be answered, by their places from 0; one that is drawn already keeps its first draw."""
        with self._explained_errors(), self._connection:
            self._connection.executemany(
                "UPDATE prompts SET draw = ? WHERE position = ? AND draw IS NULL",
                ((draw, int(position) + 1) for position in positions),
            )

    def draw_all(self) -> None:
        """Mark every prompt as to be answered."""
        with self._explained_errors(), self._connection:
            self._connection.execute("UPDATE prompts SET draw = ?", (ALL,))

    def read_shards(self, draw: str, n_prompts: int) -> Iterator[list[Line]]:
        """Yield the prompts of a draw in stretches of `n_prompts`, as they are when they are reached."""
        last = 0
        while True:
            with self._explained_errors():
                rows = self._connection.execute(
                    "SELECT position, key, prompt, text IS NOT NULL OR key IN (SELECT key FROM failures) FROM prompts "
                    "WHERE draw = ? AND position > ? ORDER BY position LIMIT ?",
                    (draw, last, n_prompts),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [Line(key, prompt.decode("utf-8", "surrogatepass"), bool(known)) for _, key, prompt, known in rows]

    def count_drawn(self, draw: str) -> tuple[int, int, int]:
        """Return how many prompts a draw has, how many of them are answered, and how many failed for good."""
        with self._explained_errors():
            counts = self._connection.execute(
                "SELECT count(*), count(text), "
                "count(*) FILTER (WHERE text IS NULL AND key IN (SELECT key FROM failures)) "
                "FROM prompts WHERE draw = ?",
                (draw,),
            ).fetchone()
        return int(counts[0]), int(counts[1]), int(counts[2])

    def add_answers(self, answers: Mapping[bytes, Answer], *, is_cached: bool) -> None:
        """Write answers down by key, durably; one that is there already stays."""
        rows = [(given.text, given.n_tokens, given.finished, is_cached, key) for key, given in answers.items()]
        with self._explained_errors(), self._connection:
            self._connection.executemany(
                "UPDATE prompts SET text = ?, n_tokens = ?, finished = ?, is_cached = ? WHERE key = ? AND text IS NULL",
                rows,
            )

    def add_failure(self, key: bytes, failure: FailedAnswer) -> None:
        """Write down that a prompt has no answer for good."""
        with self._explained_errors(), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO failures VALUES (?, ?)", (key, failure.reason))

    def forget_failures(self) -> None:
        """Let prompts that failed be asked again."""
        with self._explained_errors(), self._connection:
            self._connection.execute("DELETE FROM failures")

    def find(self, prompts: Sequence[str]) -> list[tuple[Answer | FailedAnswer, str] | None]:
        """Return the answers to prompts with the draws they were made for, in order; None for one that is not drawn.

        Raises:
            RunError: one has no answer though it is drawn, so the data is not what the sheet was made from.
        """
        return [self._find(prompt) for prompt in prompts]

    def count(self) -> AnswerCounts:
        """Count prompts and answers."""
        with self._explained_errors():
            counts = self._connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE NOT is_cached), "
                "coalesce(sum(n_tokens) FILTER (WHERE NOT is_cached), 0), count(*) FILTER (WHERE is_cached), "
                "count(*) FILTER (WHERE text IS NULL AND key IN (SELECT key FROM failures)) FROM prompts"
            ).fetchone()
        return AnswerCounts(*counts)

    def _find(self, prompt: str) -> tuple[Answer | FailedAnswer, str] | None:
        draw, text, n_tokens, finished, key = self._read(prompt, "draw, text, n_tokens, finished, key")
        if draw is None:
            return None
        if text is not None:
            return Answer(text, n_tokens, bool(finished)), draw
        with self._explained_errors():
            failed = self._connection.execute("SELECT reason FROM failures WHERE key = ?", (key,)).fetchone()
        if failed is None:
            raise self._changed("no answer to")
        return FailedAnswer(failed[0]), draw

    def _read(self, prompt: str, columns: str) -> tuple[Any, ...]:
        with self._explained_errors():
            row: tuple[Any, ...] | None = self._connection.execute(
                f"SELECT {columns} FROM prompts WHERE key = ?", (self.generator.key(prompt),)
            ).fetchone()
        if row is None:
            raise self._changed("no line for")
        return row

    def _changed(self, lack: str) -> RunError:
        finding = f"has {lack} a prompt of the data, which must have changed since the scan began"
        return RunError(str(self.path), finding, "start over with --fresh")

    @contextmanager
    def _explained_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            cure = "make room, or start over with --fresh; finished parts are kept without it"
            raise RunError(str(self.path), f"cannot be used: {error}", cure) from error


@contextmanager
def open_sheet(path: Path, generator: Generator) -> Iterator[AnswerSheet]:
    """Open the sheet of a run, or begin one; a damaged one and another generator's is begun anew.

    Raises:
        RunError: it cannot be written.
    """
    try:
        connection = _connect(path, generator)
    except (sqlite3.Error, OSError):
        try:
            for file in (path, path.with_name(f"{path.name}-journal")):
                file.unlink(missing_ok=True)
            connection = _connect(path, generator)
        except (sqlite3.Error, OSError) as error:
            raise RunError(str(path), f"cannot be written: {error}", "make room, or choose another --out") from error
    with closing(connection):
        yield AnswerSheet(path, generator, connection)


def _connect(path: Path, generator: Generator) -> sqlite3.Connection:
    # A thread that computes and one that writes may share it: SQLite itself takes turns.
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        connection.executescript(_SCHEMA)
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
        if connection.execute("SELECT digest FROM generator").fetchall() != [(generator.digest,)]:
            with connection:
                connection.execute("DELETE FROM generator")
                connection.execute("DELETE FROM prompts")
                connection.execute("DELETE FROM failures")
                connection.execute("INSERT INTO generator VALUES (?, 0)", (generator.digest,))
    except sqlite3.Error:
        connection.close()
        raise
    return connection
