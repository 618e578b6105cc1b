"""The bytes of one record, read as a JSON object.

Knows why that fails; the reason is a value. Does not know what the object means.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from audit.samples.messages import clean_text, kind_of


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a record is no object: a code, a colon, and the finding."""

    reason: str


def parse_record(raw: bytes, encoding: str) -> dict[str, Any] | Unreadable:
    """Return the JSON object that the bytes spell; of equal keys the last wins."""
    try:
        text = raw.decode("utf-8" if encoding == "utf-8-sig" else encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding.startswith("utf-8") else "UTF-16"
        return Unreadable(f"undecodable: byte {error.start + 1} of {len(raw)} is not {name} ({error.reason})")
    try:
        # Files put together from several carry a byte order mark before a later line.
        value = json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        return Unreadable(f"bad_json: {clean_text(error.msg)} at character {error.pos + 1} of {len(text)}")
    except RecursionError:
        return Unreadable("bad_json: nested too deeply to be read")
    except ValueError as error:
        return Unreadable(f"bad_json: {error}")
    return value if isinstance(value, dict) else Unreadable(f"no_shape: the record is {kind_of(value)}, not an object")
