"""Fields of an input of which a conversion keeps nothing: the record says the same without them.

Asks the reader, not a list of names, as what a family reads is the family's own matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.samples import Source, read_conversations

_LOOKS = 20
"""How many records that hold something in a field are asked; a field that none of them needs is unused."""

_NOTHING: tuple[Any, ...] = (None, "", [])


class UnusedFields:
    """Finds the fields of a source that no conversation is made from."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._looks: dict[str, int] = {}
        self._used: set[str] = set()

    def look_at(self, fields: Mapping[str, Any]) -> None:
        """Look at a record that can be converted."""
        whole = None
        for name, value in fields.items():
            if name in self._used or self._looks.get(name, 0) >= _LOOKS or value in _NOTHING:
                continue
            whole = read_conversations(self._source, fields) if whole is None else whole
            without = {other: own for other, own in fields.items() if other != name}
            if read_conversations(self._source, without) != whole:
                self._used.add(name)
            self._looks[name] = self._looks.get(name, 0) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that none of the records needed, in the order in which they were met."""
        return tuple(name for name in self._looks if name not in self._used)
