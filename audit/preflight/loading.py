"""How all three trainers load a JSON file: `datasets.load_dataset("json")`, by its code in version 5.2.0.

Knows what stops the load of a whole file, and that the types of the columns are settled by the first 10 MiB. Every
rule was seen happening; `tests/integration/test_preflight_loading.py` loads a file for each. Does not know a trainer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from audit.samples.decode import Unreadable

if TYPE_CHECKING:
    from audit.preflight.trainer import RuleBook

CHUNK_BYTES = 10 << 20
"""What `packaged_modules/json/json.py` reads first (`chunksize`); its types are those of the whole file."""

_MARK = b"\xef\xbb\xbf"
_LOW, _HIGH = b"\\ud", b"\\uD"
_MOST_SIGNATURES = 4096
_LISTS = ("messages", "conversations")

BROKEN = "broken_line"
NO_OBJECT = "line_no_object"
UNDECODABLE = "undecodable_line"
SURROGATE = "lone_surrogate"
UTF_16 = "utf_16"
MARK_INSIDE = "mark_inside"
LATE_COLUMN = "late_column"
LATE_KEY = "late_message_key"
LATE_KIND = "late_kind"
LATE_CONTENT = "late_content"

_STOPS = "load_dataset fails, and with it the whole file."
_RULES = (
    (BROKEN, f"The line is no JSON: {_STOPS}", "mend or remove the line"),
    (NO_OBJECT, f"The line is JSON, but no object: {_STOPS}", "remove the line"),
    (UNDECODABLE, "The line is not UTF-8: it loads, and fails when the row is read.", "mend or remove the line"),
    (SURROGATE, f"The line spells half a character (\\ud800 and the like): {_STOPS}", "write the whole character"),
    (UTF_16, f"The file is UTF-16: {_STOPS}", "save it as UTF-8"),
    (MARK_INSIDE, f"A byte order mark stands inside the file: {_STOPS}", "remove the mark"),
    (LATE_COLUMN, f"The column first appears after the first 10 MiB: {_STOPS}", "write it, null, in the first row"),
    (
        LATE_KEY,
        f"A message has a key that no message in the first 10 MiB has: {_STOPS}",
        "write it, null, in the first row",
    ),
    (
        LATE_KIND,
        f"A value is of another kind than in the first 10 MiB (text among numbers, anything among nulls): {_STOPS}",
        "write values of one kind",
    ),
)


def add_loading_rules(book: RuleBook) -> None:
    """Add what happens while a file is loaded to the rules of a trainer."""
    for code, says, cure in _RULES:
        book.add("crashes", code, says, cure, scope="file")
    book.add(
        "surprise",
        LATE_CONTENT,
        "A content that is no string, after 10 MiB of strings, makes load_dataset spell it and the contents of the "
        "rows around it as JSON: they train with quotation marks.",
        "write strings",
    )


def find_in_unreadable(fields: Unreadable, raw: bytes) -> tuple[str, ...]:
    """Name the code for a record that could not be read as a JSON object."""
    reason = fields.reason.partition(":")[0]
    if reason == "undecodable":
        return (UNDECODABLE,)
    if reason == "no_shape":
        # A null is loaded as a row of nulls.
        return () if raw.strip() == b"null" else (NO_OBJECT,)
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


class LateWatch:
    """Remembers the kinds of values in the first chunk of a file, and names what later rows do to them."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[type]] = {}
        self._object_keys: dict[str, set[frozenset[str]]] = {}
        self._message_keys: set[frozenset[str]] = set()
        self._contents: set[type] = set()
        self._harmless: set[tuple[Any, ...]] = set()
        self._plain: set[str] = set()

    def find(self, record: dict[str, Any], offset: int, plain: str = "") -> tuple[str, ...]:
        """Name the codes that hold for a row that begins at an offset.

        `plain` is `role` or `from` where its messages are known to be {role, content} or {from, value}, in strings.
        """
        if offset <= CHUNK_BYTES:
            self._learn(record, plain)
            return ()
        found = self._find_in_columns(record)
        if plain not in self._plain:
            found = [*found, *self._find_in_messages(record)]
        return tuple(dict.fromkeys(found))

    def _learn(self, record: dict[str, Any], plain: str) -> None:
        for key, value in record.items():
            kinds = self._kinds.get(key)
            if kinds is None:
                kinds = self._kinds[key] = set()
            kinds.add(type(value))
            if type(value) is dict:
                self._object_keys.setdefault(key, set()).add(frozenset(value))
        if plain not in self._plain:
            for message in _messages(record):
                self._message_keys.add(frozenset(message))
                self._contents.add(type(message.get("content", message.get("value"))))
            if plain:
                self._plain.add(plain)

    def _find_in_columns(self, record: dict[str, Any]) -> list[str]:
        signature = (*record, *map(type, record.values()))
        if signature in self._harmless:
            return []
        found: list[str] = []
        is_always_harmless = True
        for key, value in record.items():
            known = self._kinds.get(key)
            if known is None:
                found.append(LATE_COLUMN)
            elif type(value) not in known or type(value) is dict:
                is_always_harmless = False
                if self._is_late_kind(key, value, known - {type(None)}):
                    found.append(LATE_KIND)
        if not found and is_always_harmless and len(self._harmless) < _MOST_SIGNATURES:
            self._harmless.add(signature)
        return found

    def _is_late_kind(self, key: str, value: Any, known: set[type]) -> bool:
        if value is None or len(known) > 1:
            return False
        if not known:
            return True
        (kind,) = known
        if kind is int:
            return not _fits_int(value)
        if kind is dict:
            key_sets = self._object_keys.get(key, set())
            return not isinstance(value, dict) or (len(key_sets) == 1 and not value.keys() <= next(iter(key_sets)))
        return kind is list and not isinstance(value, list)

    def _find_in_messages(self, record: dict[str, Any]) -> list[str]:
        # Objects whose keys differ are kept as JSON, which takes anything later on.
        if len(self._message_keys) != 1:
            return []
        found: list[str] = []
        (known,) = self._message_keys
        is_text = self._contents <= {str, type(None)} and str in self._contents
        for message in _messages(record):
            if not message.keys() <= known:
                found.append(LATE_KEY)
            content = message.get("content", message.get("value"))
            if is_text and type(content) is not str and content is not None:
                found.append(LATE_CONTENT)
        return found


def _messages(record: dict[str, Any]) -> list[dict[str, Any]]:
    for key in _LISTS:
        value = record.get(key)
        if type(value) is list:
            return [message for message in value if type(message) is dict]
    return []


def _fits_int(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, float):
        return value.is_integer()
    if isinstance(value, str):
        return value.strip().lstrip("+-").isdigit()
    return isinstance(value, int)
