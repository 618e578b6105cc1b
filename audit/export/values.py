"""Values of a record as JSON and as cells of a CSV take them.

A table has values that JSON has no word for. A date or a time is written as ISO 8601 text, a duration in seconds, a
decimal number as text with all its digits. NaN becomes null, which is what tables mean by it. A null inside a nested
object is left out, as Arrow cannot tell it from a field that is not there; one at the top of a record stays. Bytes and
infinite numbers are refused: nothing that stands for them reads back as the same.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Mapping
from typing import Any

from audit.export.annotations import ANNOTATION
from audit.samples.text import clean_text


class Unwritable(Exception):
    """A value cannot be written; the arguments are the field and the finding. Travels to whoever knows the record."""

    def __init__(self, field: str, finding: str) -> None:
        super().__init__(field, finding)
        self.field = field
        self.finding = finding


def to_json_fields(fields: Mapping[str, Any], *, is_table: bool) -> dict[str, Any]:
    """Return the fields of a record as JSON values; nested nulls are left out of a table's.

    Raises:
        Unwritable: a value has no counterpart.
    """
    # The annotation has the same keys in every record, null or not.
    return {
        str(name): _to_json(value, str(name), drops_nulls=is_table and name != ANNOTATION)
        for name, value in fields.items()
    }


def _to_json(value: Any, field: str, *, drops_nulls: bool) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise Unwritable(field, "an infinite number, for which JSON has no word")
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {
            str(name): _to_json(item, field, drops_nulls=drops_nulls)
            for name, item in value.items()
            if item is not None or not drops_nulls
        }
    if isinstance(value, (list, tuple)):
        return [_to_json(item, field, drops_nulls=drops_nulls) for item in value]
    return _to_text(value, field)


def _to_text(value: Any, field: str) -> Any:
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        raise Unwritable(field, "bytes, for which JSON has no word")
    raise Unwritable(field, f"a {type(value).__name__}, for which JSON has no word")


def dump_json(value: Any) -> bytes:
    """Return JSON text in UTF-8 on one line; a lone surrogate stays the escape that it was."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False).encode()


def to_cell(value: Any, field: str) -> str:
    """Return a JSON value as the text of a cell; null is an empty one, a lone surrogate U+FFFD.

    Raises:
        Unwritable: the value is a list or an object, other than the annotation.
    """
    if value is None:
        return ""
    if field == ANNOTATION:
        return json.dumps(value, allow_nan=False)
    if isinstance(value, (list, dict)):
        kind = "a list" if isinstance(value, list) else "an object"
        raise Unwritable(field, f"{kind}, and a cell holds one text or number")
    if isinstance(value, bool):
        return "true" if value else "false"
    return clean_text(str(value))
