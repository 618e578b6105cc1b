"""The sheet of one run: its distinct prompts in order, each with its answer once there is one.

It lies in the run directory while the scan works, so that memory does not grow with the data and a killed scan keeps
what was answered, with a cache or without. Knows neither what answers nor the cache; only where an answer came from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from audit.answers.answer import Answer, Generator
from audit.errors import RunError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS generator (digest TEXT NOT NULL, is_listed INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS prompts (
    position INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    prompt BLOB NOT NULL,
    text TEXT,
    n_tokens INTEGER,
    finished INTEGER,
    is_cached INTEGER
);
"""


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """Distinct prompts of a run and where their answers came from; answers of an unfinished list may be missing."""

    n_prompts: int
    n_generated: int
    n_generated_tokens: int
    n_cached: int

    @property
    def n_answered(self) -> int:
        """Prompts that have an answer."""
        return self.n_generated + self.n_cached

    def to_json(self) -> dict[str, int]:
        """Return the fields as the manifest keeps them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Line:
    """One prompt of the sheet; `key` is what its answer is stored under."""

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

    def read_shards(self, n_prompts: int) -> Iterator[list[Line]]:
        """Yield the sheet in stretches of `n_prompts`, as they are when they are reached."""
        n_listed = self.count().n_prompts
        for start in range(1, n_listed + 1, n_prompts):
            with self._explained_errors():
                rows = self._connection.execute(
                    "SELECT key, prompt, text IS NOT NULL FROM prompts WHERE position >= ? AND position < ? "
                    "ORDER BY position",
                    (start, start + n_prompts),
                ).fetchall()
            yield [Line(key, prompt.decode("utf-8", "surrogatepass"), bool(known)) for key, prompt, known in rows]

    def add_answers(self, answers: Mapping[bytes, Answer], *, is_cached: bool) -> None:
        """Write answers down by key, durably; one that is there already stays."""
        rows = [(given.text, given.n_tokens, given.finished, is_cached, key) for key, given in answers.items()]
        with self._explained_errors(), self._connection:
            self._connection.executemany(
                "UPDATE prompts SET text = ?, n_tokens = ?, finished = ?, is_cached = ? WHERE key = ? AND text IS NULL",
                rows,
            )

    def find(self, prompts: Sequence[str]) -> list[Answer]:
        """Return the answers to prompts, in order.

        Raises:
            RunError: one has no answer, so the data is not what the sheet was made from.
        """
        return [self._find(prompt) for prompt in prompts]

    def count(self) -> AnswerCounts:
        """Count prompts and answers."""
        with self._explained_errors():
            counts = self._connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE NOT is_cached), "
                "coalesce(sum(n_tokens) FILTER (WHERE NOT is_cached), 0), count(*) FILTER (WHERE is_cached) "
                "FROM prompts"
            ).fetchone()
        return AnswerCounts(*counts)

    def _find(self, prompt: str) -> Answer:
        with self._explained_errors():
            row = self._connection.execute(
                "SELECT text, n_tokens, finished FROM prompts WHERE key = ? AND text IS NOT NULL",
                (self.generator.key(prompt),),
            ).fetchone()
        if row is None:
            finding = "has no answer to a prompt of the data, which must have changed since the scan began"
            raise RunError(str(self.path), finding, "start over with --fresh")
        return Answer(row[0], row[1], bool(row[2]))

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
                connection.execute("INSERT INTO generator VALUES (?, 0)", (generator.digest,))
    except sqlite3.Error:
        connection.close()
        raise
    return connection
