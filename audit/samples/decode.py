"""The bytes of one record, read as an object: JSON, or a CSV row under its header.

Knows why that fails; the reason is a value. Does not know what the object means.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from audit.samples.csv_cells import describe_error, split_cells
from audit.samples.source import Layout
from audit.samples.text import clean_text, kind_of


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a record is no object: a code, a colon, and the finding."""

    reason: str


Parser: TypeAlias = Callable[[bytes], dict[str, Any] | Unreadable]
"""Turns the bytes of one record into its fields."""


def make_parser(layout: Layout, header: tuple[str, ...] = ()) -> Parser:
    """Return what reads the records of a text; of a CSV with these column names."""
    if layout.container == "csv":
        return lambda raw: parse_row(raw, layout, header)
    return lambda raw: parse_record(raw, layout.encoding)


def parse_record(raw: bytes, encoding: str) -> dict[str, Any] | Unreadable:
    """Return the JSON object that the bytes spell; of equal keys the last wins."""
    text = _decode(raw, encoding)
    if isinstance(text, Unreadable):
        return text
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


def parse_header(raw: bytes, layout: Layout) -> tuple[str, ...] | Unreadable:
    """Return the column names of a CSV from its header; blank lines may stand before it."""
    text = _decode(raw, layout.encoding)
    if isinstance(text, Unreadable):
        return text
    blanks = r" \r" if layout.delimiter == "\t" else r" \t\r"
    cells = _split_cells(re.sub(rf"\A(?:[{blanks}]*\n)+", "", text), layout.delimiter)
    return cells if isinstance(cells, Unreadable) else tuple(cells)


def parse_row(raw: bytes, layout: Layout, header: tuple[str, ...]) -> dict[str, Any] | Unreadable:
    """Return the cells of a CSV row by column name; all of them are texts, an empty cell is an empty one."""
    text = _decode(raw, layout.encoding)
    if isinstance(text, Unreadable):
        return text
    cells = _split_cells(text, layout.delimiter)
    if isinstance(cells, Unreadable):
        return cells
    if len(cells) != len(header):
        return Unreadable(f"bad_csv: {_count(len(cells))}, the header has {len(header)}")
    return dict(zip(header, cells, strict=True))


def _count(n_cells: int) -> str:
    return "1 cell" if n_cells == 1 else f"{n_cells} cells"


def _split_cells(text: str, delimiter: str) -> list[str] | Unreadable:
    try:
        return split_cells(text, delimiter)
    except csv.Error as error:
        return Unreadable(f"bad_csv: {describe_error(error)}")


def _decode(raw: bytes, encoding: str) -> str | Unreadable:
    try:
        return raw.decode("utf-8" if encoding == "utf-8-sig" else encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding.startswith("utf-8") else "UTF-16"
        return Unreadable(f"undecodable: byte {error.start + 1} of {len(raw)} is not {name} ({error.reason})")
