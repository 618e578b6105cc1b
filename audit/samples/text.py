"""Text and values of a record as they may be shown and tokenised: no lone surrogates, kinds by their common names."""

from __future__ import annotations

from typing import Any


def clean_text(text: str) -> str:
    """Return the text with each lone surrogate replaced by U+FFFD; any other text as it is."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def kind_of(value: Any) -> str:
    """Name the kind of a JSON value, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
