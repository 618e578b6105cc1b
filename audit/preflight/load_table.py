"""How a trainer loads a table (Parquet, Arrow): as it is. The loaders of texts are variants of this.

Knows no file format and no trainer.
"""

from __future__ import annotations

from typing import Any

from audit.samples.decode import Unreadable


class TableLoader:
    """What loading does to the rows of one file.

    Attributes:
        of_file: codes that hold for the whole file.
    """

    of_file: tuple[str, ...] = ()

    def load(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a row as a trainer sees them."""
        return fields

    def find(self, fields: dict[str, Any], offset: int, raw: bytes, plain: str) -> tuple[str, ...]:
        """Name the codes that hold for a row as it was before `load`; for `plain` see `LateWatch`."""
        return ()

    def find_in_unreadable(self, fields: Unreadable, raw: bytes, n_before: int) -> tuple[str, ...] | None:
        """Name the codes for a record that cannot be read, after so many; None: it loads as a row of nulls."""
        return ()
