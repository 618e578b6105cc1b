"""What later rows of a JSON file do to the types that its first 10 MiB settled, by the code of `datasets` 5.2.0.

Keeps one type per path, as `find_mixed_struct_types_field_paths` and Arrow's reader infer it: objects whose keys differ
become JSON, which takes anything, and are no longer followed; so what is kept is no larger than a few first rows. Does
not know what a field is for, except which names hold words that are trained.
"""

from __future__ import annotations

import re
from typing import Any

CHUNK_BYTES = 10 << 20
"""What `packaged_modules/json/json.py` reads first (`chunksize`); its types are those of the whole file."""

LATE_COLUMN = "late_column"
LATE_KEY = "late_key"
LATE_KIND = "late_kind"
LATE_CONTENT = "late_content"

_PLAIN = {"role": ("role", "content"), "from": ("from", "value")}
_TRAINED = frozenset(
    {"chosen", "completion", "content", "input", "instruction", "output", "prompt", "rejected", "text", "value"}
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d(?::?\d\d(?::?\d\d)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?")
_INT = re.compile(r"-?\d{1,18}")
_FLOAT = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_BOOLS = frozenset({"true", "false", "0", "1"})
_NUMBERS = {bool: "bool", int: "int", float: "float"}


class _Type:
    """The type of the values at a path.

    Attributes:
        kind: empty while only nulls were seen, then `bool`, `int`, `float`, `date`, `text`, `list`, `object` or `json`.
        fields: key → type, of an `object`.
        item: of a `list`.
    """

    __slots__ = ("fields", "item", "kind")

    def __init__(self) -> None:
        self.kind = ""
        self.fields: dict[str, _Type] = {}
        self.item: _Type | None = None

    def learn(self, value: Any) -> None:
        """Widen the type to a value."""
        if value is None or self.kind == "json":
            return
        if type(value) is dict:
            self._learn_object(value)
        elif type(value) is list:
            self._learn_list(value)
        elif type(value) is str:
            self._learn_text(value)
        else:
            self._learn_number(_NUMBERS[type(value)])

    def _learn_object(self, value: dict[str, Any]) -> None:
        if not self.kind and value:
            self.kind = "object"
            self.fields = {key: _Type() for key in value}
        if self.kind != "object" or self.fields.keys() != value.keys():
            self._give_up()
            return
        for key, held in value.items():
            self.fields[key].learn(held)

    def _learn_list(self, value: list[Any]) -> None:
        if not self.kind:
            self.kind, self.item = "list", _Type()
        if self.item is None:
            self._give_up()
            return
        for held in value:
            self.item.learn(held)

    def _learn_text(self, value: str) -> None:
        if self.kind in ("", "date"):
            self.kind = "date" if _DATE.fullmatch(value) else "text"
        elif self.kind != "text":
            self._give_up()

    def _learn_number(self, kind: str) -> None:
        if self.kind in ("", kind):
            self.kind = kind
        elif {self.kind, kind} == {"int", "float"}:
            self.kind = "float"
        else:
            self._give_up()

    def _give_up(self) -> None:
        self.kind, self.fields, self.item = "json", {}, None

    def is_plain(self, keys: tuple[str, ...]) -> bool:
        """Tell whether this is a list of objects with just these keys, in texts that are no dates."""
        if self.item is None or tuple(sorted(self.item.fields)) != tuple(sorted(keys)):
            return False
        return all(held.kind == "text" for held in self.item.fields.values())

    def find(self, value: Any, name: str, found: dict[str, None]) -> None:
        """Name the codes that hold for a later value under a name."""
        kind = self.kind
        if value is None or kind == "json":
            return
        if kind == "text":
            if type(value) is not str and name in _TRAINED:
                found[LATE_CONTENT] = None
        elif kind == "object" and type(value) is dict:
            for key, held in value.items():
                known = self.fields.get(key)
                if known is None:
                    found[LATE_KEY] = None
                else:
                    known.find(held, key, found)
        elif self.item is not None and type(value) is list:
            for held in value:
                self.item.find(held, name, found)
        elif not _FITS.get(kind, _fits_nothing)(value):
            found[LATE_KIND] = None


def _fits_nothing(value: Any) -> bool:
    return False


def _fits_bool(value: Any) -> bool:
    return value in _BOOLS if type(value) is str else type(value) is bool or (type(value) is int and value in (0, 1))


def _fits_int(value: Any) -> bool:
    if type(value) is str:
        return _INT.fullmatch(value) is not None
    if type(value) is float:
        return value.is_integer() and abs(value) < 2**63
    return type(value) is int and -(2**63) <= value < 2**63


def _fits_float(value: Any) -> bool:
    return _FLOAT.fullmatch(value) is not None if type(value) is str else type(value) in (int, float)


def _fits_date(value: Any) -> bool:
    return type(value) is str and _DATE.fullmatch(value) is not None


_FITS = {"bool": _fits_bool, "int": _fits_int, "float": _fits_float, "date": _fits_date}


class LateWatch:
    """Learns the types of the first chunk of a file, and names what later rows do to them.

    `column` is where its conversations stand, if they stand anywhere.
    """

    def __init__(self, column: str = "") -> None:
        self._column = column
        self._types: dict[str, _Type] = {}
        self._settled: set[str] = set()

    def find(self, record: dict[str, Any], offset: int, plain: str = "") -> tuple[str, ...]:
        """Name the codes that hold for a row that begins at an offset.

        `plain` is `role` or `from` where its messages are known to be {role, content} or {from, value}, in strings.
        """
        # Most rows are plain conversations, of a type that they cannot change any more.
        skipped = self._column if plain in self._settled else None
        if offset <= CHUNK_BYTES:
            self._learn(record, plain, skipped)
            return ()
        found: dict[str, None] = {}
        for key, value in record.items():
            if key == skipped:
                continue
            known = self._types.get(key)
            if known is None:
                found[LATE_COLUMN] = None
            else:
                known.find(value, key, found)
        return tuple(found)

    def _learn(self, record: dict[str, Any], plain: str, skipped: str | None) -> None:
        for key, value in record.items():
            if key != skipped:
                self._types.setdefault(key, _Type()).learn(value)
        if skipped is None and plain and self._column in record and self._types[self._column].is_plain(_PLAIN[plain]):
            self._settled.add(plain)
