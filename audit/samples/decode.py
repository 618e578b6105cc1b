"""The bytes of one record, read as an object: JSON, or a CSV row under its header.

Knows why that fails; the reason is a value. Does not know what the object means.
"""

from __future__ import annotations

import csv
import json
import re
import sys
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


AT_END = "at the end"
"""How the reason of a record ends that breaks off."""

Parser: TypeAlias = Callable[[bytes], dict[str, Any] | Unreadable]
"""Turns the bytes of one record into its fields."""


def make_parser(layout: Layout, header: tuple[str, ...] = ()) -> Parser:
    """Return what reads the records of a text; of a CSV with these column names."""
    if layout.container == "csv":
        return lambda raw: parse_row(raw, layout, header)
    return lambda raw: parse_record(raw, layout.encoding)


def parse_record(raw: bytes, encoding: str) -> dict[str, Any] | Unreadable:
    """Return the JSON object that the bytes spell; of equal keys the last wins."""
    value = parse_json(raw, encoding)
    if isinstance(value, dict | Unreadable):
        return value
    return Unreadable(f"no_shape: the record is {kind_of(value)}, not an object")


def parse_json(raw: bytes, encoding: str) -> Any | Unreadable:
    """Return the JSON value that the bytes spell."""
    text = _decode(raw, encoding)
    if isinstance(text, Unreadable):
        return text
    # Files put together from several carry a byte order mark before a later line.
    text = text.removeprefix("\ufeff")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return Unreadable(f"bad_json: {_describe_json_error(error)}")
    except RecursionError:
        return Unreadable("bad_json: nested too deeply to be read")
    except ValueError:
        # The only thing that Python understands and still refuses.
        return Unreadable(f"bad_json: a number has more than {sys.get_int_max_str_digits():,} digits")


def _describe_json_error(error: json.JSONDecodeError) -> str:
    n_characters = len(error.doc)
    place = f"at character {error.pos + 1} of {n_characters}" if error.pos < n_characters else AT_END
    return f"{clean_text(error.msg).removesuffix(' at')} {place}"


def parse_header(raw: bytes, layout: Layout) -> tuple[str, ...] | Unreadable:
    """Return the column names of a CSV from its header, without the spaces around them.

    Blank lines may stand before it. What pandas writes above an index has no name.
    """
    text = _decode(raw, layout.encoding)
    if isinstance(text, Unreadable):
        return text
    blanks = r" \r" if layout.delimiter == "\t" else r" \t\r"
    cells = _split_cells(re.sub(rf"\A(?:[{blanks}]*\n)+", "", text), layout.delimiter)
    return cells if isinstance(cells, Unreadable) else tuple(cell.strip(" ") for cell in cells)


def parse_row(raw: bytes, layout: Layout, header: tuple[str, ...]) -> dict[str, Any] | Unreadable:
    """Return the cells of a CSV row by column name; all of them are texts, an empty cell is an empty one.

    Cells below no name are left out.
    """
    text = _decode(raw, layout.encoding)
    if isinstance(text, Unreadable):
        return text
    cells = _split_cells(text, layout.delimiter)
    if isinstance(cells, Unreadable):
        return cells
    if len(cells) != len(header):
        return Unreadable(f"bad_csv: {_count(len(cells))}, the header has {len(header)}")
    return {name: cell for name, cell in zip(header, cells, strict=True) if name}


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
