"""The bytes of a TOML or YAML file as plain values: mappings, lists and text. Knows nothing of traits.

YAML is read by its events and nothing is constructed from it: a tag names a type to make, an alias can make a small
file unfold into gigabytes, and every scalar of a specification is text, also `no` and `2024-01-01`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import yaml

from audit.errors import TraitError

YAML_SUFFIXES = (".yaml", ".yml")
SUFFIXES = (".toml", *YAML_SUFFIXES)

_MAX_DEPTH = 8
_NULLS = ("", "~", "null", "Null", "NULL")
_TOML_PLACE = re.compile(r" \(at line (\d+), column \d+\)$")
_PLAIN = "write plain mappings, lists and text"


def decode_file(content: bytes, path: str) -> Any:
    """Return what a file holds; null where it is empty.

    Raises:
        TraitError: the suffix is unknown, the text is not UTF-8, or it is no TOML or YAML of plain values.
    """
    suffix = path[path.rfind(".") :].lower()
    if suffix not in SUFFIXES:
        raise TraitError(path, "is neither a TOML nor a YAML file by its name", f"name it {', '.join(SUFFIXES)}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        finding = f"is not UTF-8: byte 0x{content[error.start]:02x}"
        raise TraitError(f"{path}:{_line_of(content, error.start)}", finding, "save it as UTF-8") from error
    return _decode_yaml(text, path) if suffix in YAML_SUFFIXES else _decode_toml(text, path)


def _decode_toml(text: str, path: str) -> Any:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise TraitError(path, "is nested too deeply", _PLAIN) from error
    except ValueError as error:  # also a number of too many digits
        place = _TOML_PLACE.search(str(error))
        where = f"{path}:{place[1]}" if place else path
        finding = f"is no TOML: {_TOML_PLACE.sub('', str(error))}"
        raise TraitError(where, finding, 'texts stand in "quotes", long ones in """three"""') from error


def _decode_yaml(text: str, path: str) -> Any:
    try:
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        next(events)  # the start of the stream
        if isinstance(next(events), yaml.StreamEndEvent):
            return None
        value = _build(next(events), events, path, depth=1)
        next(events)  # the end of the document
        following = next(events)
        if not isinstance(following, yaml.StreamEndEvent):
            raise TraitError(_at(path, following), "holds a second document", "one file holds one trait")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        says = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        raise TraitError(where, f"is no YAML: {says}", "quote texts that hold ': ' or '#'") from error
    return value


def _build(event: Any, events: Iterator[Any], path: str, *, depth: int) -> Any:
    where = _at(path, event)
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise TraitError(where, "anchors and aliases (& and *) are not read", "write each text out, or quote it")
    if event.tag not in (None, "!"):
        raise TraitError(where, f"the tag {event.tag!r} is not read", _PLAIN)
    if depth > _MAX_DEPTH:
        raise TraitError(where, "is nested too deeply", _PLAIN)
    if isinstance(event, yaml.ScalarEvent):
        return None if event.implicit[0] and event.value in _NULLS else event.value
    if isinstance(event, yaml.SequenceStartEvent):
        entries = []
        while not isinstance(entry := next(events), yaml.SequenceEndEvent):
            entries.append(_build(entry, events, path, depth=depth + 1))
        return entries
    values: dict[str, Any] = {}
    while not isinstance(key := next(events), yaml.MappingEndEvent):
        name = _build(key, events, path, depth=depth + 1)
        if not isinstance(name, str):
            raise TraitError(_at(path, key), "a key is not text", _PLAIN)
        if name in values:
            raise TraitError(_at(path, key), f"the key {name!r} stands here twice", "keep one of them")
        values[name] = _build(next(events), events, path, depth=depth + 1)
    return values


def _at(path: str, event: Any) -> str:
    return f"{path}:{event.start_mark.line + 1}"


def _line_of(content: bytes, offset: int) -> int:
    return content.count(b"\n", 0, offset) + 1
