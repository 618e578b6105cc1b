"""Ready baseline responses from a dataset file, looked up by rendered prompt or by position.

The responses are kept in a temporary index on disk, so memory does not grow with the file. Knows nothing of models:
the caller renders prompts and passes their text.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from audit.errors import DataError
from audit.samples import Sample, Source, Turn, join_parts, read_samples, survey_source
from audit.samples.streams import BrokenStream
from audit.schema import SCORED_SIDES

RenderPrompt = Callable[[Turn], str | None]


class BaselineFile:
    """Responses of a baseline dataset; `by` is `prompt` (rendered text) or `position` (record and turn).

    Of several responses to one prompt the first counts, so the order of the file decides and not chance.
    """

    def __init__(self, path: str, by: str, render_prompt: RenderPrompt, index: sqlite3.Connection) -> None:
        self.path = path
        self.by = by
        self._render_prompt = render_prompt
        self._index = index

    def find(self, sample_id: int, ordinal: int, turn: Turn) -> str | None:
        """Return the ready response for a turn, the `ordinal`-th of its side in its record; None without a match."""
        key = self._key(sample_id, ordinal, turn)
        if key is None:
            return None
        row = self._index.execute("SELECT response FROM baseline WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def fill(self, turns: str) -> None:
        """Read the file into the index; empty responses are no baseline and are left out."""
        source = survey_baseline(self.path)
        # Positions are counted over the turns that are scored; a prompt is found at whatever turn it stands.
        for record in read_samples(source, turns=turns if self.by == "position" else "all"):
            if isinstance(record, Sample):
                rows = [
                    (key, join_parts(turn.message))
                    for ordinal, turn in number_turns(record.turns)
                    if turn.side in SCORED_SIDES
                    and turn.part == "answer"
                    and turn.response.strip()
                    and (key := self._key(record.sample_id, ordinal, turn)) is not None
                ]
                self._index.executemany("INSERT OR IGNORE INTO baseline VALUES (?, ?)", rows)
        self._index.commit()

    def _key(self, sample_id: int, ordinal: int, turn: Turn) -> bytes | None:
        if self.by == "position":
            return f"{sample_id}/{ordinal}".encode()
        rendered = self._render_prompt(turn)
        return None if rendered is None else hashlib.sha256(rendered.encode("utf-8", "surrogatepass")).digest()


def survey_baseline(path: str) -> Source:
    """Survey a baseline dataset; what errors advise leaves out the options of a scan, which do not reach it.

    Raises:
        MissingDataError, DataError: it cannot be read, or no record of it fits a shape.
    """
    try:
        return survey_source(path, has_options=False)
    except DataError as error:
        if isinstance(error.__cause__, BrokenStream):
            raise DataError(error.place, error.finding, error.__cause__.cure) from error
        raise


def number_turns(turns: Iterable[Turn]) -> Iterator[tuple[int, Turn]]:
    """Yield each turn with its number among the turns of its side, from 0; the parts of a turn share it.

    Unlike the index of the message it does not depend on a system prompt.
    """
    seen: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for turn in turns:
        numbers = seen[turn.side]
        yield numbers.setdefault(turn.turn, len(numbers)), turn


@contextmanager
def open_baseline(path: str, *, by: str, turns: str, render_prompt: RenderPrompt) -> Iterator[BaselineFile]:
    """Index a baseline dataset for the time of a scan.

    Args:
        path: a dataset in any readable shape.
        by: `prompt` or `position`.
        turns: `all` or `last`, as in the scan.
        render_prompt: a turn to the text the model would be prompted with; None where its template refuses it.

    Raises:
        MissingDataError, DataError: as `survey_baseline`.
    """
    with tempfile.TemporaryDirectory(prefix="persona-audit-") as folder:
        # One thread fills it, another looks things up: SQLite itself takes turns.
        index = sqlite3.connect(Path(folder) / "baseline.sqlite", check_same_thread=False)
        try:
            index.execute("PRAGMA synchronous = OFF")
            index.execute("CREATE TABLE baseline (key BLOB PRIMARY KEY, response TEXT) WITHOUT ROWID")
            baseline = BaselineFile(path, by, render_prompt, index)
            baseline.fill(turns)
            yield baseline
        finally:
            index.close()
