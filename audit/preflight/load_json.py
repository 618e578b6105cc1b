"""How all three trainers load JSON text: `datasets.load_dataset("json")`, by its code in version 5.2.0.

Knows what stops the load of a whole file. Every rule was seen happening: `tests/integration/test_preflight_loading.py`
loads a file for each. Does not know how types are settled (`late`), nor a trainer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from audit.preflight.late import LATE_COLUMN, LATE_CONTENT, LATE_KEY, LATE_KIND, LateWatch
from audit.preflight.load_table import TableLoader
from audit.samples.decode import Unreadable
from audit.samples.source import Source

if TYPE_CHECKING:
    from audit.preflight.trainer import RuleBook

_MARK = b"\xef\xbb\xbf"
_LOW, _HIGH = b"\\ud", b"\\uD"

BROKEN = "broken_line"
NO_OBJECT = "line_no_object"
UNDECODABLE = "undecodable_line"
SURROGATE = "lone_surrogate"
UTF_16 = "utf_16"
MARK_INSIDE = "mark_inside"

_STOPS = "load_dataset fails, and with it the whole file."
_RULES = (
    (BROKEN, f"The line is no JSON: {_STOPS}", "mend or remove the line"),
    (NO_OBJECT, f"The line is JSON, but no object: {_STOPS}", "remove the line"),
    (UNDECODABLE, "The line is not UTF-8: it loads, and fails when the row is read.", "mend or remove the line"),
    (SURROGATE, f"The line spells half a character (\\ud800 and the like): {_STOPS}", "write the whole character"),
    (UTF_16, f"The file is UTF-16: {_STOPS}", "save it as UTF-8"),
    (MARK_INSIDE, f"A byte order mark stands inside the file: {_STOPS}", "remove the mark"),
    (
        LATE_COLUMN,
        f"The column first appears after the first 10 MiB: {_STOPS}",
        "move a row that has the column to the front",
    ),
    (
        LATE_KEY,
        f"An object (a message, a tool, or within one) has a key that none there in the first 10 MiB has: {_STOPS}",
        "move a row that has the key to the front",
    ),
    (
        LATE_KIND,
        "A value is of another kind than in the first 10 MiB (text among numbers or dates, anything among nulls or "
        f"empty lists): {_STOPS}",
        "write values of one kind",
    ),
)


def add_json_rules(book: RuleBook) -> None:
    """Add what happens while JSON text is loaded to the rules of a trainer."""
    for code, says, cure in _RULES:
        book.add("crashes", code, says, cure, scope="file", place="file" if code == UTF_16 else "line")
    book.add(
        "surprise",
        LATE_CONTENT,
        "A content that is no string, after 10 MiB of strings, makes load_dataset spell it and the contents of the "
        "rows around it as JSON: they train with quotation marks.",
        "write strings",
    )


class JsonLoader(TableLoader):
    """Loads JSON text: lines by chunks, an array as a whole. `column` is where conversations stand, if they do."""

    def __init__(self, source: Source, column: str) -> None:
        self.of_file = (UTF_16,) if source.encoding.startswith("utf-16") else ()
        self._watch = LateWatch(column) if source.container == "jsonl" else None

    def find(self, fields: dict[str, Any], offset: int, raw: bytes, plain: str) -> tuple[str, ...]:
        """Name what the row does to the types settled before it, and what its bytes do."""
        late = () if self._watch is None else self._watch.find(fields, offset, plain)
        return late + find_in_line(raw)

    def find_in_unreadable(self, fields: Unreadable, raw: bytes, n_before: int) -> tuple[str, ...] | None:
        """Name the code for a record that could not be read as a JSON object."""
        reason = fields.reason.partition(":")[0]
        if reason == "undecodable":
            return (UNDECODABLE,)
        if reason == "no_shape":
            return None if raw.strip() == b"null" else (NO_OBJECT,)
        return (BROKEN,)


def find_in_line(raw: bytes) -> tuple[str, ...]:
    """Name the codes that hold for the bytes of a line that could be read."""
    if raw[:3] == _MARK:
        return (MARK_INSIDE,)
    if (_LOW in raw or _HIGH in raw) and _has_lone_surrogate(raw):
        return (SURROGATE,)
    return ()


def _has_lone_surrogate(raw: bytes) -> bool:
    try:
        json.dumps(json.loads(raw), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False
