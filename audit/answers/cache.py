"""The cache of answers that all runs of a user share: one SQLite file, limited in size, readable by its owner only.

Holds answers under keys that do not tell the prompts. Every row carries a checksum, so a damaged one is never used;
what has not been used for longest leaves first. Several processes may use it at once. Knows neither runs nor models.
"""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from audit.answers.answer import Answer, Generator
from audit.errors import CacheError, ConfigError, DamagedCacheError

BUSY_TIMEOUT_S = 30.0
_FORMAT = 1
_KEPT_SHARE = 0.9
"""What is left of the limit after answers had to leave, so that not every write has to make room."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS generators (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, model TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS answers (key BLOB NOT NULL UNIQUE, generator INTEGER NOT NULL, text TEXT NOT NULL, "
    "n_tokens INTEGER NOT NULL, finished INTEGER NOT NULL, checksum BLOB NOT NULL, used_at REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used_at)",
)


@dataclass(frozen=True, slots=True)
class ModelEntries:
    """What the cache holds of one model; `last_used` in seconds since 1970."""

    model: str
    n_answers: int
    text_bytes: int
    last_used: float


@dataclass(frozen=True, slots=True)
class CacheState:
    """What there is at the cache's place."""

    path: Path
    exists: bool = False
    n_answers: int = 0
    size_bytes: int = 0
    models: list[ModelEntries] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was removed; `n_answers` is None where a damaged file was removed as a whole."""

    path: Path
    n_answers: int | None
    freed_bytes: int


class AnswerCache:
    """The cache, opened."""

    def __init__(
        self, path: Path, limit_bytes: int, connection: sqlite3.Connection, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = path
        self.limit_bytes = limit_bytes
        self._connection = connection
        self._clock = clock

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """Return the answers that are there, by key, and note that they were used.

        Raises:
            CacheError: the file cannot be read or written, or is damaged.
        """
        with explained_errors(self.path):
            found = _read_answers(self._connection, keys)
            with self._writing():
                now = self._clock()
                self._connection.executemany(
                    "UPDATE answers SET used_at = ? WHERE key = ?", [(now, key) for key in found]
                )
        return found

    def keep(self, generator: Generator, answers: Mapping[bytes, Answer]) -> None:
        """Store answers by key; those that were used longest ago leave when the file would pass its limit.

        Raises:
            CacheError: the file cannot be written, or is damaged.
        """
        with explained_errors(self.path), self._writing():
            self._connection.execute(
                "INSERT INTO generators (digest, model) VALUES (?, ?) "
                "ON CONFLICT (digest) DO UPDATE SET model = excluded.model",
                (generator.digest, generator.model),
            )
            (number,) = self._connection.execute(
                "SELECT id FROM generators WHERE digest = ?", (generator.digest,)
            ).fetchone()
            now = self._clock()
            self._connection.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (key, number, given.text, given.n_tokens, given.finished, _checksum(key, given), now)
                    for key, given in answers.items()
                ],
            )
        self._make_room()

    def describe(self) -> CacheState:
        """Count what is there, by model, largest first.

        Raises:
            CacheError: the file cannot be read, or is damaged.
        """
        with explained_errors(self.path):
            rows = self._connection.execute(
                "SELECT model, count(*), sum(length(CAST(text AS BLOB))), max(used_at) "
                "FROM answers JOIN generators ON generators.id = generator GROUP BY model ORDER BY 3 DESC, model"
            ).fetchall()
            models = [ModelEntries(*row) for row in rows]
            return CacheState(self.path, True, sum(entry.n_answers for entry in models), _size(self.path), models)

    def remove(self, model: str | None) -> int:
        """Remove the answers of one model, or of all, and return how many there were.

        Raises:
            CacheError: the file cannot be written, or is damaged.
        """
        chosen = "WHERE generator IN (SELECT id FROM generators WHERE model = ?)" if model is not None else ""
        with explained_errors(self.path):
            with self._writing():
                removed = self._connection.execute(
                    f"DELETE FROM answers {chosen}", () if model is None else (model,)
                ).rowcount
                self._connection.execute("DELETE FROM generators WHERE id NOT IN (SELECT generator FROM answers)")
            self._shrink()
        return removed

    @contextmanager
    def _writing(self) -> Iterator[None]:
        # The connection commits or rolls back; the lock is taken at once, as one that grows may not wait.
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield

    def _make_room(self) -> None:
        with explained_errors(self.path):
            used = self._used_bytes()
            if used <= self.limit_bytes:
                return
            with self._writing():
                while (used := self._used_bytes()) > self.limit_bytes * _KEPT_SHARE:
                    (n_answers,) = self._connection.execute("SELECT count(*) FROM answers").fetchone()
                    if n_answers == 0:
                        break
                    n_surplus = math.ceil(n_answers * (1 - self.limit_bytes * _KEPT_SHARE / used))
                    self._connection.execute(
                        "DELETE FROM answers WHERE rowid IN "
                        "(SELECT rowid FROM answers ORDER BY used_at, rowid LIMIT ?)",
                        (n_surplus,),
                    )
            self._shrink()

    def _used_bytes(self) -> int:
        pages, free, page_bytes = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page_bytes)

    def _shrink(self) -> None:
        """Give the pages that are free back to the disk; another process at work may keep them for now."""
        with suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA incremental_vacuum").fetchall()
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def open_cache(path: Path, limit_bytes: int, clock: Callable[[], float] = time.time) -> Iterator[AnswerCache]:
    """Open the cache, or make it: its directory and file are the owner's alone.

    Raises:
        CacheError: it cannot be made, read or written, belongs to someone else, or is damaged.
    """
    with explained_errors(path):
        _make_private_file(path)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    with closing(connection):
        with explained_errors(path):
            _prepare(path, connection)
        yield AnswerCache(path, limit_bytes, connection, clock)


def peek_cache(path: Path, keys: Sequence[bytes]) -> dict[bytes, Answer]:
    """Return the answers that are there, by key; nothing is made or changed, not even when they were last used.

    Raises:
        CacheError: the file cannot be read, or is damaged.
    """
    if not path.exists():
        return {}
    with (
        explained_errors(path),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as connection,
    ):
        return _read_answers(connection, keys)


def describe_cache(path: Path) -> CacheState:
    """Return what is at the cache's place; makes nothing.

    Raises:
        CacheError: the file cannot be read, or is damaged.
    """
    if not path.exists():
        return CacheState(path)
    with open_cache(path, 0) as cache:
        return cache.describe()


def clear_cache(path: Path, model: str | None = None) -> Cleared:
    """Remove the answers of one model, or all; a damaged file is removed as a whole.

    Raises:
        CacheError: the file cannot be written; or it is damaged, and one model was named.
        ConfigError: the cache holds nothing of that model.
    """
    before = _size(path)
    if not path.exists():
        return Cleared(path, 0, 0)
    try:
        with open_cache(path, 0) as cache:
            known = [entry.model for entry in cache.describe().models]
            if model is not None and known and model not in known:
                finding = "the cache holds no answer of this model"
                raise ConfigError(f"--model {model}", finding, f"it holds answers of {', '.join(known)}")
            n_answers = cache.remove(model)
    except DamagedCacheError:
        if model is not None:
            raise
        with explained_errors(path):
            for file in _files(path):
                file.unlink(missing_ok=True)
        return Cleared(path, None, before)
    return Cleared(path, n_answers, max(before - _size(path), 0))


@contextmanager
def explained_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk raise into errors that say what to do."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        finding = f"cannot be used: {getattr(error, 'strerror', None) or error}"
        raise CacheError(
            str(path), finding, "name another directory in PERSONA_AUDIT_CACHE, or use --no-cache"
        ) from error
    except sqlite3.DatabaseError as error:
        raise DamagedCacheError(str(path), f"is damaged: {error}", "`persona-audit cache clear` removes it") from error


def _make_private_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Made here and not by SQLite, which would follow a link and leave the rights to the user's mask.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        found = os.fstat(handle)
        if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
            raise PermissionError(None, "the file belongs to another user")
        if hasattr(os, "fchmod") and stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, _FORMAT):
        cure = "`persona-audit cache clear` removes it, or use --no-cache"
        raise DamagedCacheError(str(path), f"has format {version}, this version reads {_FORMAT}", cure)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    if version == _FORMAT:
        return
    # Before the first table, or it would have no effect.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # Two processes that make the file at once: the other one switches.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")


def _read_answers(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Answer]:
    found = {}
    for key in keys:
        row = connection.execute(
            "SELECT text, n_tokens, finished, checksum FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is not None and row[3] == _checksum(key, answer := Answer(row[0], row[1], bool(row[2]))):
            found[key] = answer
    return found


def _checksum(key: bytes, answer: Answer) -> bytes:
    content = f"{answer.n_tokens}\0{int(answer.finished)}\0{answer.text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, key=key, digest_size=8).digest()


def _files(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal"))]


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path)[:2] if file.exists())
