"""Where the cache lies and how large it may grow, from the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from audit.errors import CacheError, ConfigError

CACHE_VARIABLE = "PERSONA_AUDIT_CACHE"
SIZE_VARIABLE = "PERSONA_AUDIT_CACHE_SIZE"
DEFAULT_LIMIT_BYTES = 2 << 30
CACHE_FILE = "answers.sqlite"

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def cache_path() -> Path:
    """Return the file of the cache, whether or not it is there.

    Raises:
        CacheError: the user has no home directory.
    """
    named = os.environ.get(CACHE_VARIABLE)
    try:
        folder = Path(named).expanduser() if named else platformdirs.user_cache_path("persona-audit", appauthor=False)
        return folder.absolute() / CACHE_FILE
    except RuntimeError as error:
        raise CacheError(
            "the answer cache", f"has no place: {error}", f"name a directory in {CACHE_VARIABLE}"
        ) from error


def cache_limit_bytes() -> int:
    """Return the size that the cache may grow to.

    Raises:
        ConfigError: the environment holds something that is no size.
    """
    text = os.environ.get(SIZE_VARIABLE, "").strip()
    if not text:
        return DEFAULT_LIMIT_BYTES
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]|[kmg]i)?b?", text, re.IGNORECASE)
    if match is None:
        raise ConfigError(SIZE_VARIABLE, f"{text!r} is no size", "write a number of bytes, 500MB or 2GiB")
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])
