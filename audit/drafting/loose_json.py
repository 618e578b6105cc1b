"""What a model meant where it was asked for JSON: code fences, talk around it, commas too many, an end that is missing.

Nothing is guessed: what comes back stood in the text as a whole value, a whole member or a whole line.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

_MOST_CHARS = 100_000
_MOST_TRIES = 200
_MOST_DEPTH = 6

_OPENER = re.compile(r"[\[{]")
_SPARE_COMMA = re.compile(r",(\s*[\]}])")
# Takes an open end too, or a search for the next quote would begin within the text.
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)("?)')
_LINE = re.compile(r"^[ \t]*(?:\d{1,3}[.):]|[-*•])[ \t]+(.+)$", re.MULTILINE)

_decoder = json.JSONDecoder(strict=False)


def read_records(text: str) -> list[dict[str, str] | str]:
    """Return the objects and the texts in a reply, in order: lists are opened, of objects only their texts are kept."""
    # What a model thinks may hold JSON too, of which it thinks better later.
    text = text.rpartition("</think>")[2].partition("<think>")[0][:_MOST_CHARS]
    for read in (_read_values, _read_without_commas, _read_members, _read_elements, _read_python):
        records = [record for value in read(text) for record in _open(value, 0)]
        if records:
            return records
    return [line.strip("\"'*_ ") for line in _LINE.findall(text)]


def _read_values(text: str) -> list[Any]:
    """Return every value that is whole; of a list that is not, those of its values that are objects or lists."""
    values = []
    place = 0
    for _ in range(_MOST_TRIES):
        found = _OPENER.search(text, place)
        if found is None:
            break
        try:
            value, place = _decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            place = found.end()
        else:
            values.append(value)
    return values


def _read_without_commas(text: str) -> list[Any]:
    return _read_values(_SPARE_COMMA.sub(r"\1", text))


def _read_python(text: str) -> list[Any]:
    """Return a list or dict written as in Python, with single quotes."""
    opener = _OPENER.search(text)
    stop = max(text.rfind("]"), text.rfind("}")) + 1
    if opener is None or stop <= opener.start():
        return []
    try:
        return [ast.literal_eval(text[opener.start() : stop])]
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return []


def _read_members(text: str) -> list[Any]:
    """Return the whole members of objects that are not; a name that comes again begins another object."""
    objects: list[dict[str, str]] = []
    for (_, name), (between, value) in itertools.pairwise(_read_strings(text)):
        if between.strip() == ":":
            if not objects or name in objects[-1]:
                objects.append({})
            objects[-1][name] = value
    return objects


def _read_elements(text: str) -> list[Any]:
    """Return the whole texts of a list that is not."""
    _, bracket, inside = text.partition("[")
    return [value for between, value in _read_strings(bracket + inside) if not between.strip("[, \t\n")]


def _read_strings(text: str) -> Iterator[tuple[str, str]]:
    """Yield the whole strings of a text, each with what stands before it."""
    before = 0
    for found in _STRING.finditer(text):
        if found[2]:
            yield text[before : found.start()], _unescape(found[1])
        before = found.end()


def _unescape(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def _open(value: Any, depth: int) -> Iterator[dict[str, str] | str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < _MOST_DEPTH:
        for entry in value:
            yield from _open(entry, depth + 1)
    elif isinstance(value, dict):
        texts = {str(name).strip().lower(): entry for name, entry in value.items() if isinstance(entry, str)}
        if texts:
            yield texts
        for entry in value.values():
            if not isinstance(entry, str) and depth < _MOST_DEPTH:
                yield from _open(entry, depth + 1)
