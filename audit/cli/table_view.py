"""Rows as an aligned text table: numbers to the right, hostile text neutralised, columns hidden where too wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from audit.cli.text import count_noun, neutralise, one_line

TABLE_ROWS = 100
_CELL_CHARS = 60
_GAP = "  "
_ALL = "--format json, csv or parquet"


def render_rows(
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    width: int | None = None,
    cell_chars: int | None = _CELL_CHARS,
    max_rows: int | None = TABLE_ROWS,
) -> str:
    """Return the first rows as text that ends in a line saying what is not shown.

    Args:
        width: of the terminal; None: every column is shown, however wide the lines become.
        cell_chars: longer values are cut.
        max_rows: rows shown; None: all.
    """
    shown = rows[:max_rows]
    header = [one_line(name, cell_chars) for name in names]
    cells = [[format_cell(value, cell_chars) for value in row] for row in shown]
    if not header:
        return "(no columns)\n"
    is_plan = len(names) == 2 and list(names) == ["explain_key", "explain_value"]
    if is_plan:
        return "".join(f"{neutralise(str(row[1]))}\n" for row in shown)
    widths = [max(cell_len(header[k]), *(cell_len(row[k]) for row in cells), 1) for k in range(len(header))]
    visible = _choose_columns(widths, width)
    is_number = [any(_is_number(row[k]) for row in shown) for k in range(len(header))]
    lines = [_join(header, widths, is_number, visible), _join(["-" * n for n in widths], widths, is_number, visible)]
    lines += [_join(row, widths, is_number, visible) for row in cells]
    lines += _footer(len(rows), max_rows, [names[k] for k in range(len(names)) if k not in visible])
    return "\n".join(line.rstrip() for line in lines) + "\n"


def format_cell(value: Any, max_chars: int | None = None) -> str:
    """Return a value on one line: six significant digits, lists in brackets, null for none."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return one_line(f"[{', '.join(format_cell(entry) for entry in value)}]", max_chars)
    return one_line(str(value), max_chars)


def _choose_columns(widths: Sequence[int], width: int | None) -> set[int]:
    """Return the columns that fit, first ones and last ones in turn, as the middle is missed least."""
    everything = set(range(len(widths)))
    if width is None or sum(widths) + len(_GAP) * (len(widths) - 1) <= width:
        return everything
    room = width
    visible: set[int] = set()
    order = sorted(everything, key=lambda k: min(k, len(widths) - 1 - k))
    for k in order:
        if visible and widths[k] + len(_GAP) > room:
            continue
        visible.add(k)
        room -= widths[k] + len(_GAP)
    return visible


def _footer(n_rows: int, max_rows: int | None, hidden: Sequence[str]) -> list[str]:
    lines = []
    if hidden:
        lines.append(f"(hidden for width: {', '.join(one_line(name) for name in hidden)}; {_ALL} has all columns)")
    if max_rows is not None and n_rows > max_rows:
        lines.append(f"(the first {max_rows} rows, there are more; {_ALL} has all rows)")
    else:
        lines.append(f"({count_noun(n_rows, 'row')})")
    return lines


def _join(cells: Sequence[str], widths: Sequence[int], is_number: Sequence[bool], visible: set[int]) -> str:
    aligned = [
        _pad(cell, width, is_right=right)
        for k, (cell, width, right) in enumerate(zip(cells, widths, is_number, strict=True))
        if k in visible
    ]
    return _GAP.join(aligned)


def _pad(cell: str, width: int, *, is_right: bool) -> str:
    spaces = " " * (width - cell_len(cell))
    return spaces + cell if is_right else cell + spaces


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
