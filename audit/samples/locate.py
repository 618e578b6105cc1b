"""The datasets that a user's words name: patterns expanded, everything else as it is.

Knows names. Opens no file.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence

from audit.errors import MissingDataError
from audit.samples.saved import is_saved_dataset

STDIN = "-"
_PATTERN = re.compile(r"[*?\[]")


def locate_datasets(paths: Sequence[str]) -> list[str]:
    """Return the paths in order, with the files and saved datasets that a pattern matches, sorted, in its place.

    What exists under a name wins over the pattern that the name may be; `**` crosses directories. A file that two
    arguments name is there twice, as sample ids count both.

    Raises:
        MissingDataError: nothing matches a pattern.
    """
    found: list[str] = []
    for path in paths:
        found += _expand(path) if _PATTERN.search(path) and not os.path.exists(path) else [path]
    return found


def _expand(pattern: str) -> list[str]:
    matches = [
        match for match in glob.glob(pattern, recursive=True) if os.path.isfile(match) or is_saved_dataset(match)
    ]
    if not matches:
        raise MissingDataError(
            pattern, "no file matches this pattern", "check it; it is taken from the working directory"
        )
    return sorted(matches)
