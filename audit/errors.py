"""Every error a user can meet: one base, its exit code, one sentence per leaf.

A message names the place, the finding and the cure. The fields go positionally to the base class, so that
every error survives pickling on its way from a worker. This module knows nothing of what raises them.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FOUND = 1
EXIT_USER = 2
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class AuditError(Exception):
    """Base of all errors that a user can mend; the command line prints it and exits with `exit_code`."""

    exit_code = EXIT_USER

    def __init__(self, place: str, finding: str, cure: str = "") -> None:
        super().__init__(place, finding, cure)
        self.place = place
        self.finding = finding
        self.cure = cure

    def __str__(self) -> str:
        tail = f" ({self.cure})" if self.cure else ""
        return f"{self.place}: {self.finding}{tail}"


class ConfigError(AuditError, ValueError):
    """An option has a value that cannot work, or two options exclude each other."""


class DataError(AuditError, ValueError):
    """A dataset cannot be read at all, or no record of it fits a known shape."""


class MissingDataError(AuditError, FileNotFoundError):
    """A dataset, or another file that the user named, does not exist."""

    # OSError has an __str__ of its own for two and three arguments; ours names the cure.
    __str__ = AuditError.__str__


class RecordError(DataError):
    """With --strict: a record that would otherwise have been skipped with a reason."""


class VectorError(AuditError, ValueError):
    """A persona vector is missing, malformed, or belongs to another model."""


class TraitError(AuditError, ValueError):
    """A trait specification is missing, malformed, or lacks something that extraction needs."""


class ModelError(AuditError, RuntimeError):
    """A model or its tokenizer cannot be loaded, or lacks something that scoring needs."""


class RunError(AuditError, RuntimeError):
    """A run directory is missing, foreign, unwritable, damaged, or was made with other settings."""


class QueryError(AuditError, ValueError):
    """A query is not a single read-only statement, or DuckDB refuses it."""


class ExportError(AuditError, RuntimeError):
    """An export would overwrite its input, or its source has changed since the scan."""


class ServerError(AuditError, ConnectionError):
    """A server that answers prompts is not there, refuses what it is asked, or has stopped answering."""

    # OSError has an __str__ of its own for two and three arguments; ours names the cure.
    __str__ = AuditError.__str__


class CacheError(AuditError, RuntimeError):
    """The cache of answers cannot be made, read or written."""


class DamagedCacheError(CacheError):
    """The cache of answers holds something that cannot be read as one."""
