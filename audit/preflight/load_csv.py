"""How all three trainers load CSV: `datasets.load_dataset("csv")`, which is pandas with its defaults, in version 5.2.0.

Knows what stops the file, which cells become null, and that the first 10,000 rows settle whether a column is numbers.
Every rule was seen happening: `tests/integration/test_preflight_csv.py` loads a file for each. Does not know a trainer.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from audit.errors import DataError
from audit.preflight.load_table import TableLoader
from audit.samples.decode import Unreadable
from audit.samples.records import read_range
from audit.samples.source import Source

if TYPE_CHECKING:
    from audit.preflight.trainer import RuleBook

CHUNK_ROWS = 10_000
"""What `packaged_modules/csv/csv.py` reads first (`chunksize`); its types are those of the whole file."""

DELIMITER = "csv_delimiter"
UTF_16 = "csv_utf_16"
UNDECODABLE = "csv_undecodable"
EXTRA = "csv_extra_cell"
QUOTE = "csv_open_quote"
SHIFTED = "csv_first_row_longer"
MISSING = "csv_missing_cell"
NULL_WORD = "csv_null_word"
NUMBERS = "csv_numbers"
LATE_KIND = "csv_late_kind"

_STOPS = "load_dataset fails, and with it the whole file."
_CRASHES = (
    (DELIMITER, "Cells are not parted by commas: load_dataset takes a line for one cell.", "write commas", "file"),
    (UTF_16, f"The CSV is UTF-16: {_STOPS}", "save it as UTF-8", "file"),
    (UNDECODABLE, f"The row is not UTF-8 (Latin-1, perhaps): {_STOPS}", "save the file as UTF-8", "line"),
    (
        EXTRA,
        f"The row has more cells than the header, ParserError: {_STOPS}",
        "quote cells with commas in them",
        "line",
    ),
    (QUOTE, f"A quote is not closed, ParserError: {_STOPS}", "close it, or double quotes inside a cell", "line"),
    (
        LATE_KIND,
        f"A cell is text in a column that is nothing but numbers, or empty, for 10,000 rows: {_STOPS}",
        "write JSON lines, or move the row to the front",
        "line",
    ),
)
_SURPRISES = (
    (
        SHIFTED,
        "The first row has more cells than the header (a comma at its end counts): its first cell, and that of every "
        "row, becomes an index, and all others shift by a column.",
        "write as many names as cells",
    ),
    (MISSING, "The row has fewer cells than the header: the others load as null.", "mend the row"),
    (
        NULL_WORD,
        "A cell says NA, N/A, null, None or nan, quoted or not: it loads as null.",
        "write JSON lines",
    ),
    (
        NUMBERS,
        "Each cell of the column is a number, or true or false: it loads as such, not as text.",
        "write JSON lines",
    ),
)

# fmt: off
_NULLS = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})
# fmt: on
"""`pandas._libs.parsers.STR_NA_VALUES`, the empty cell among them."""
_INT = re.compile(r"\s*[+-]?\d+\s*")
_FLOAT = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")
_BOOLS = {word: word.lower() == "true" for word in ("True", "TRUE", "true", "False", "FALSE", "false")}
_CELLS = re.compile(r"bad_csv: (\d+) cells?, the header has (\d+)")


def add_csv_rules(book: RuleBook) -> None:
    """Add what happens while CSV is loaded to the rules of a trainer."""
    for code, says, cure, place in _CRASHES:
        book.add("crashes", code, says, cure, scope="file", place=place)
    for code, says, cure in _SURPRISES:
        book.add("surprise", code, says, cure)


class CsvLoader(TableLoader):
    """Loads CSV. `trained` are the columns whose cells a trainer wants as texts."""

    def __init__(self, source: Source, trained: frozenset[str]) -> None:
        own = ((DELIMITER, source.delimiter != ","), (UTF_16, source.encoding.startswith("utf-16")))
        self.of_file = tuple(code for code, holds in own if holds)
        self._trained = trained
        self._kinds = {} if self.of_file else _learn_kinds(source)

    def load(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the row with nulls and numbers where pandas reads them."""
        if self.of_file:
            return fields
        return {name: self._load_cell(name, cell) for name, cell in fields.items()}

    def _load_cell(self, name: str, cell: str) -> Any:
        if cell in _NULLS:
            return None
        kind = self._kinds.get(name, "text")
        if kind == "text" or _kind_of(cell) == "text":
            return cell
        return _BOOLS[cell] if cell in _BOOLS else float(cell)

    def find(self, fields: dict[str, Any], offset: int, raw: bytes, plain: str) -> tuple[str, ...]:
        """Name the codes that hold for the cells of a row."""
        if self.of_file:
            return ()
        found: dict[str, None] = {}
        for name, cell in fields.items():
            kind = self._kinds.get(name, "text")
            if cell in _NULLS:
                if cell and name in self._trained:
                    found[NULL_WORD] = None
            elif not _fits(cell, kind):
                found[LATE_KIND] = None
            elif kind != "text" and name in self._trained:
                found[NUMBERS] = None
        return tuple(found)

    def find_in_unreadable(self, fields: Unreadable, raw: bytes, n_before: int) -> tuple[str, ...] | None:
        """Name the code for a row that is no row under its header; pandas reads on after a closed quote."""
        if self.of_file:
            return ()
        if fields.reason.startswith("undecodable"):
            return (UNDECODABLE,)
        if "a quote is not closed" in fields.reason:
            return (QUOTE,)
        counted = _CELLS.match(fields.reason)
        if counted is None:
            return ()
        if int(counted[1]) < int(counted[2]):
            return (MISSING,)
        return (EXTRA,) if n_before else (SHIFTED,)


def _learn_kinds(source: Source) -> dict[str, str]:
    """Return what pandas takes each column for: `text`, `int`, `float`, `bool`, or `empty`."""
    kinds: dict[str, str] = {}
    try:
        for row in islice(read_range(replace(source, n_records=CHUNK_ROWS), 0, CHUNK_ROWS), CHUNK_ROWS):
            if isinstance(row.fields, Unreadable):
                continue
            for name, cell in row.fields.items():
                known = kinds.setdefault(name, "empty")
                if known != "text" and cell not in _NULLS:
                    kinds[name] = _join_kinds(known, _kind_of(cell))
    except DataError:
        # It has fewer rows, or breaks off: the rows before that were learnt, and the check itself meets the break.
        return kinds
    return kinds


def _kind_of(cell: str) -> str:
    if cell in _BOOLS:
        return "bool"
    return "int" if _INT.fullmatch(cell) else "float" if _FLOAT.fullmatch(cell) else "text"


def _join_kinds(known: str, kind: str) -> str:
    if known in ("empty", kind):
        return kind
    return "float" if {known, kind} == {"int", "float"} else "text"


def _fits(cell: str, kind: str) -> bool:
    """Tell whether a cell can be cast to the kind of its column; cells of the first rows always can."""
    if kind == "text":
        return True
    own = _kind_of(cell)
    if kind in ("float", "empty"):
        return own in ("int", "float")
    if kind == "int":
        return own == "int" or (own == "float" and float(cell).is_integer())
    return own in ("bool", "int")
