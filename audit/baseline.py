"""Ready baseline responses from a dataset file, looked up by rendered prompt or by position.

The responses are kept in a temporary index on disk, so memory does not grow with the file. Knows nothing of models:
the caller renders prompts and passes their text.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from audit.samples import Message, Sample, Turn, read_samples, survey_source
from audit.schema import SCORED_SIDES

RenderPrompt = Callable[[tuple[Message, ...]], str | None]


class BaselineFile:
    """Responses of a baseline dataset; `by` is `prompt` (rendered text) or `position` (record and turn).

    Of several responses to one prompt the first counts, so the order of the file decides and not chance.
    """

    def __init__(self, path: str, by: str, render_prompt: RenderPrompt, index: sqlite3.Connection) -> None:
        self.path = path
        self.by = by
        self._render_prompt = render_prompt
        self._index = index

    def find(self, sample_id: int, turn: Turn) -> str | None:
        """Return the ready response for a turn, None without a match."""
        key = self._key(sample_id, turn)
        if key is None:
            return None
        row = self._index.execute("SELECT response FROM baseline WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def fill(self) -> int:
        """Read the file into the index and return the number of distinct keys."""
        source = survey_source(self.path)
        for record in read_samples(source):
            if isinstance(record, Sample):
                rows = [
                    (key, turn.response)
                    for turn in record.turns
                    if turn.side in SCORED_SIDES and (key := self._key(record.sample_id, turn)) is not None
                ]
                self._index.executemany("INSERT OR IGNORE INTO baseline VALUES (?, ?)", rows)
        self._index.commit()
        (n_keys,) = self._index.execute("SELECT count(*) FROM baseline").fetchone()
        return int(n_keys)

    def _key(self, sample_id: int, turn: Turn) -> bytes | None:
        if self.by == "position":
            return f"{sample_id}/{turn.turn}".encode()
        rendered = self._render_prompt(turn.prompt)
        return None if rendered is None else hashlib.sha256(rendered.encode("utf-8", "surrogatepass")).digest()


@contextmanager
def open_baseline(path: str, *, by: str, render_prompt: RenderPrompt) -> Iterator[BaselineFile]:
    """Index a baseline dataset for the time of a scan.

    Args:
        path: a dataset in any readable shape.
        by: `prompt` or `position`.
        render_prompt: messages to the text the model would be prompted with; None where its template refuses them.

    Raises:
        DataError: the file cannot be read, or no record of it fits a shape.
    """
    with tempfile.TemporaryDirectory(prefix="persona-audit-") as folder:
        index = sqlite3.connect(Path(folder) / "baseline.sqlite")
        try:
            index.execute("PRAGMA synchronous = OFF")
            index.execute("CREATE TABLE baseline (key BLOB PRIMARY KEY, response TEXT) WITHOUT ROWID")
            baseline = BaselineFile(path, by, render_prompt, index)
            baseline.fill()
            yield baseline
        finally:
            index.close()
