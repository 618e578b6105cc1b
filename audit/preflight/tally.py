"""Counts of rows by the codes they meet, and the first lines of each code.

Knows combinations of codes, of which there are few, not rows, of which there are many. Knows no rule.
"""

from __future__ import annotations

from collections.abc import Iterable

N_FIRST_LINES = 5

Code = tuple[str, str]
"""Trainer and code."""


class Bucket:
    """The rows that meet the same codes in one file.

    Attributes:
        n_rows: how many.
        path: of the file whose rows were counted last.
        wants_lines: whether the first lines of some code are still to be noted.
    """

    __slots__ = ("codes", "is_readable", "n_rows", "path", "wants_lines")

    def __init__(self, codes: tuple[Code, ...], is_readable: bool) -> None:
        self.codes = codes
        self.is_readable = is_readable
        self.n_rows = 0
        self.path = ""
        self.wants_lines = bool(codes)


class Tally:
    """Counts rows; what it holds does not grow with them. `of_files` are codes of which only files are named."""

    def __init__(self, of_files: frozenset[Code] = frozenset()) -> None:
        self._of_files = of_files
        self._buckets: dict[tuple[tuple[Code, ...], bool], Bucket] = {}
        self._lines: dict[Code, list[str]] = {}

    def bucket(self, codes: tuple[Code, ...], *, is_readable: bool = True) -> Bucket:
        """Return where the rows are counted that meet just these codes."""
        found = self._buckets.get((codes, is_readable))
        if found is None:
            found = self._buckets[codes, is_readable] = Bucket(codes, is_readable)
        return found

    def add(self, bucket: Bucket, path: str, line: int) -> None:
        """Count a row."""
        bucket.n_rows += 1
        if bucket.wants_lines or bucket.path is not path:
            self._note(bucket, path, line)

    def _note(self, bucket: Bucket, path: str, line: int) -> None:
        bucket.path, bucket.wants_lines = path, False
        for code in bucket.codes:
            is_of_file = code in self._of_files
            lines = self._lines.setdefault(code, [])
            place = path if is_of_file else f"{path}:{line}"
            if len(lines) < N_FIRST_LINES and place not in lines:
                lines.append(place)
            bucket.wants_lines |= not is_of_file and len(lines) < N_FIRST_LINES

    @property
    def n_rows(self) -> int:
        """Rows counted."""
        return sum(bucket.n_rows for bucket in self._buckets.values())

    def count(self, codes: Iterable[Code]) -> int:
        """Return how many rows meet at least one of the codes."""
        wanted = frozenset(codes)
        return sum(bucket.n_rows for bucket in self._buckets.values() if not wanted.isdisjoint(bucket.codes))

    def count_without(self, codes: Iterable[Code]) -> int:
        """Return how many readable rows meet none of the codes."""
        wanted = frozenset(codes)
        buckets = (bucket for bucket in self._buckets.values() if bucket.is_readable)
        return sum(bucket.n_rows for bucket in buckets if wanted.isdisjoint(bucket.codes))

    def first_lines(self, code: Code) -> tuple[str, ...]:
        """Return the first places of a code."""
        return tuple(self._lines.get(code, ()))
