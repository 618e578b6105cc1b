"""What kind of value a field holds, in one word that rules can compare.

Knows JSON values. Does not know what a field is for.
"""

from __future__ import annotations

import json
from typing import Any

TEXTS = ("text", "blank", "empty")
ABSENT = ("missing", "null")
NOT_TEXT = ("parts", "media", "strings", "list", "object", "number")
"""What stands where a trainer wants a string and is neither one nor nothing."""

_TEXT_PARTS = ("text", "input_text", "output_text")


def name_kind(value: Any) -> str:
    """Return the kind of a value.

    `text`, `blank` (white space only), `empty` (no character), `null`, `parts` (a list of text parts), `media` (a list
    with a part that is no text), `messages` (a list of {role, …} or {from, …}), `strings` (a list of strings), `list`
    (an empty or any other list), `object`, `number` (true and false, too).
    """
    if type(value) is str:
        if not value:
            return "empty"
        return "blank" if value.isspace() else "text"
    if value is None:
        return "null"
    if isinstance(value, list):
        return _name_list(value)
    return "object" if isinstance(value, dict) else "number"


def kind_at(record: dict[str, Any], key: str) -> str:
    """Return the kind of a field, `missing` where the record does not have it."""
    return name_kind(record[key]) if key in record else "missing"


def _name_list(values: list[Any]) -> str:
    if values and all(isinstance(value, dict) for value in values):
        if any("role" in value or "from" in value for value in values):
            return "messages"
        if all(value.get("type", "text") in _TEXT_PARTS for value in values):
            return "parts"
        return "media"
    return "strings" if values and all(isinstance(value, str) for value in values) else "list"


def name_tools(value: Any) -> str:
    """Return what the tools of a record are.

    `none`, `list`, `json` (a list, spelled), `odd_list` (of what is no object), `bad_json`, `nothing` (an empty object,
    or `null` spelled), or `other`.
    """
    if value is None:
        return "none"
    is_spelled = isinstance(value, str)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return "bad_json"
    if value is None or value == {}:
        return "nothing"
    if not isinstance(value, list):
        return "other"
    if not all(isinstance(tool, dict) for tool in value):
        return "odd_list"
    return "json" if is_spelled else "list"
