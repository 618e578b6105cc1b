"""The sheet of one run: its distinct prompts in order, which of them are to be answered, and their answers.

A prompt has a line for each of its answers: one, or as many as are drawn, in a row; the first line holds its text.

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

_FORMAT = 2
"""Raised when the tables change: a sheet of another format is begun anew."""

_SCHEMA = f"""
DROP TABLE IF EXISTS generator;
DROP TABLE IF EXISTS prompts;
DROP TABLE IF EXISTS failures;
CREATE TABLE generator (digest TEXT NOT NULL, n_samples INTEGER NOT NULL, is_listed INTEGER NOT NULL);
CREATE TABLE prompts (
    position INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    sample INTEGER NOT NULL,
    prompt BLOB,
    draw TEXT,
    text TEXT,
    n_tokens INTEGER,
    finished INTEGER,
    is_cached INTEGER
);
CREATE TABLE failures (key BLOB PRIMARY KEY, reason TEXT NOT NULL);
PRAGMA user_version = {_FORMAT};
"""


ALL = "all"
"""The draw of a run that answers every prompt."""


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """Distinct prompts of a run and where their answers came from; answers of an unfinished list may be missing.

    All but `n_prompts` count answers, of which a prompt may have several; `n_failed` will never be there.
    """

    n_prompts: int
    n_generated: int
    n_generated_tokens: int
    n_cached: int
    n_failed: int = 0

    @property
    def n_answered(self) -> int:
        """Answers that are there."""
        return self.n_generated + self.n_cached

    def to_json(self) -> dict[str, int]:
        """Return the fields as the manifest keeps them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Line:
    """One answer to a prompt, the `sample`-th; `key` is what it is stored under. One that failed counts as answered."""

    key: bytes
    prompt: str
    sample: int
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
        rows = [
            (key, sample, None if sample else prompt.encode("utf-8", "surrogatepass"))
            for prompt in prompts
            for sample, key in enumerate(self.generator.keys(prompt))
        ]
        with self._explained_errors(), self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO prompts (key, sample, prompt) VALUES (?, ?, ?)", rows)

    def close_list(self) -> None:
        """Remember that no prompt of the run is missing."""
        with self._explained_errors(), self._connection:
            self._connection.execute("UPDATE generator SET is_listed = 1")

    def find_positions(self, prompts: Sequence[str]) -> list[int]:
        """Return the places of prompts on the sheet, from 0.

        Raises:
            RunError: one is not on it, so the data is not what the sheet was made from.
        """
        return [(self._read(prompt)[0][0] - 1) // self.generator.n_answers for prompt in prompts]

    def draw_prompts(self, positions: Iterable[int], draw: str) -> None:
        """Mark prompts as to be answered, by their places from 0; one that is drawn already keeps its first draw."""
        n = self.generator.n_answers
        with self._explained_errors(), self._connection:
            self._connection.executemany(
                "UPDATE prompts SET draw = ? WHERE position BETWEEN ? AND ? AND draw IS NULL",
                ((draw, int(position) * n + 1, int(position) * n + n) for position in positions),
            )

    def draw_all(self) -> None:
        """Mark every prompt as to be answered."""
        with self._explained_errors(), self._connection:
            self._connection.execute("UPDATE prompts SET draw = ?", (ALL,))

    def read_shards(self, draw: str, n_lines: int) -> Iterator[list[Line]]:
        """Yield the lines of a draw in stretches of `n_lines`, as they are when they are reached."""
        last = 0
        while True:
            with self._explained_errors():
                rows = self._connection.execute(
                    "SELECT own.position, own.key, first.prompt, own.sample, "
                    "own.text IS NOT NULL OR own.key IN (SELECT key FROM failures) "
                    "FROM prompts AS own CROSS JOIN prompts AS first ON first.position = own.position - own.sample "
                    "WHERE own.draw = ? AND own.position > ? ORDER BY own.position LIMIT ?",
                    (draw, last, n_lines),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [
                Line(key, prompt.decode("utf-8", "surrogatepass"), sample, bool(known))
                for _, key, prompt, sample, known in rows
            ]

    def count_drawn(self, draw: str) -> tuple[int, int, int]:
        """Return how many answers a draw has, how many of them are there, and how many failed for good."""
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
        """Write down that an answer will never be there."""
        with self._explained_errors(), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO failures VALUES (?, ?)", (key, failure.reason))

    def forget_failures(self) -> None:
        """Let answers that failed be asked for again."""
        with self._explained_errors(), self._connection:
            self._connection.execute("DELETE FROM failures")

    def find(self, prompts: Sequence[str]) -> list[tuple[tuple[Answer | FailedAnswer, ...], str] | None]:
        """Return all answers to each prompt with the draw they were made for, in order; None for one not drawn.

        Raises:
            RunError: one has no answer though it is drawn, so the data is not what the sheet was made from.
        """
        return [self._find(prompt) for prompt in prompts]

    def count(self) -> AnswerCounts:
        """Count prompts and answers."""
        with self._explained_errors():
            counts = self._connection.execute(
                "SELECT count(*) FILTER (WHERE sample = 0), count(*) FILTER (WHERE NOT is_cached), "
                "coalesce(sum(n_tokens) FILTER (WHERE NOT is_cached), 0), count(*) FILTER (WHERE is_cached), "
                "count(*) FILTER (WHERE text IS NULL AND key IN (SELECT key FROM failures)) FROM prompts"
            ).fetchone()
        return AnswerCounts(*counts)

    def count_varied(self) -> tuple[int, int]:
        """Return how many prompts have their first two answers, neither of them empty, and of how many these differ."""
        with self._explained_errors():
            counts = self._connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE own.text <> next.text) "
                "FROM prompts AS own CROSS JOIN prompts AS next ON next.position = own.position + 1 "
                "WHERE own.sample = 0 AND next.sample = 1 AND trim(own.text) <> '' AND trim(next.text) <> ''"
            ).fetchone()
        return int(counts[0]), int(counts[1])

    def _find(self, prompt: str) -> tuple[tuple[Answer | FailedAnswer, ...], str] | None:
        lines = self._read(prompt)
        draw = lines[0][1]
        if draw is None:
            return None
        return tuple(self._to_answer(*line[2:]) for line in lines), draw

    def _to_answer(self, key: bytes, text: str | None, n_tokens: int, finished: int) -> Answer | FailedAnswer:
        if text is not None:
            return Answer(text, n_tokens, bool(finished))
        with self._explained_errors():
            failed = self._connection.execute("SELECT reason FROM failures WHERE key = ?", (key,)).fetchone()
        if failed is None:
            raise self._changed("no answer to")
        return FailedAnswer(failed[0])

    def _read(self, prompt: str) -> list[tuple[Any, ...]]:
        """Return position, draw, key and answer of each line of a prompt."""
        n = self.generator.n_answers
        with self._explained_errors():
            lines = self._connection.execute(
                "SELECT own.position, own.draw, own.key, own.text, own.n_tokens, own.finished "
                "FROM prompts AS first CROSS JOIN prompts AS own "
                "ON own.position BETWEEN first.position AND first.position + ? WHERE first.key = ? "
                "ORDER BY own.position",
                (n - 1, self.generator.keys(prompt)[0]),
            ).fetchall()
        if len(lines) != n:
            raise self._changed("no line for")
        return lines

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
        if connection.execute("PRAGMA user_version").fetchone() != (_FORMAT,):
            connection.executescript(_SCHEMA)
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
        asker = (generator.digest, generator.n_samples)
        if connection.execute("SELECT digest, n_samples FROM generator").fetchall() != [asker]:
            with connection:
                connection.execute("DELETE FROM generator")
                connection.execute("DELETE FROM prompts")
                connection.execute("DELETE FROM failures")
                connection.execute("INSERT INTO generator VALUES (?, ?, 0)", asker)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
