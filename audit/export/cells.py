"""Conversations as texts in cells: a CSV has no place for message lists, but for what was text in the first place.

Knows the shapes whose fields may be either; anything that is more than one plain message stays a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SPEAKERS = {"prompt": "user", "completion": "assistant", "chosen": "assistant", "rejected": "assistant"}


def holds_texts(fields: Mapping[str, Any]) -> bool:
    """Tell whether a record says everything in texts and numbers."""
    return not any(isinstance(value, (list, dict)) for value in fields.values())


def write_as_texts(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a converted record with each list of one plain message as its text, if all can be."""
    texts = {name: _find_text(record[name], speaker) for name, speaker in _SPEAKERS.items() if name in record}
    return dict(record) if None in texts.values() else {**record, **texts}


def _find_text(value: Any, speaker: str) -> str | None:
    if value == [] and speaker == "user":
        return ""
    if not isinstance(value, list) or len(value) != 1:
        return None
    (message,) = value
    is_plain = set(message) == {"role", "content"} and message["role"] == speaker
    return str(message["content"]) if is_plain else None
