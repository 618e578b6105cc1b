"""How trainers load a file: all three by `datasets.load_dataset`, so what happens there is a rule of each.

Knows which loader goes with which container. Does not know a trainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.preflight.load_csv import CsvLoader, add_csv_rules
from audit.preflight.load_json import JsonLoader, add_json_rules
from audit.preflight.load_table import TableLoader
from audit.samples.families import load_families
from audit.samples.source import Source

if TYPE_CHECKING:
    from audit.preflight.trainer import RuleBook


def add_loading_rules(book: RuleBook) -> None:
    """Add what happens while a file is loaded to the rules of a trainer."""
    add_json_rules(book)
    add_csv_rules(book)


def open_loader(source: Source) -> TableLoader:
    """Return what loading does to the rows of a source."""
    family = load_families()[source.format]
    if source.container == "csv":
        return CsvLoader(source, frozenset(source.keys.get(role, key) for role, key in family.keys.items()))
    if source.layout.is_table:
        return TableLoader()
    has_thread = family.name in ("chat", "sharegpt")
    return JsonLoader(source, source.keys.get("messages", family.keys["messages"]) if has_thread else "")
