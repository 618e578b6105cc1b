"""The cells of a CSV row, as texts under the names that the header gives them.

Knows the dialect: one delimiter, `"` as the quote, doubled to stand for itself. Does not know where a row ends.
"""

from __future__ import annotations

import csv

from audit.samples.lines import RECORD_BYTES


def split_cells(text: str, delimiter: str) -> list[str]:
    """Return the cells of one row without its line ending.

    Raises:
        csv.Error: a quote is not closed, or something follows it in its cell.
    """
    if len(text) > csv.field_size_limit():
        # The limit is the process's; it is only ever raised, so that no other thread meets a lower one than before.
        csv.field_size_limit(RECORD_BYTES)
    rows = list(csv.reader([text], delimiter=delimiter, strict=True))
    return rows[0] if rows else []


def describe_error(error: csv.Error) -> str:
    """Return what is wrong with a row, in a few words."""
    words = str(error).split(" - ")[0]
    return {"unexpected end of data": "a quote is not closed"}.get(words, words)
