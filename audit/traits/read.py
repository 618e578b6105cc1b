"""A trait specification from its file. Knows where the bytes come from, neither their format nor their layout."""

from __future__ import annotations

from pathlib import Path

from audit.errors import TraitError
from audit.traits.decode import decode_file
from audit.traits.layout import build_spec
from audit.traits.spec import TraitSpec

MAX_BYTES = 256 * 1024
"""Ten times what the longest specification of ours takes."""


def read_spec(path: str | Path) -> TraitSpec:
    """Read a trait specification from a TOML or YAML file; whether it is any good is for `check_spec`.

    Raises:
        TraitError: there is no such file, it cannot be read, is too large, no UTF-8, no TOML or YAML of plain values,
            or lacks a part, has an unknown one, or one of the wrong kind.
    """
    place = str(path)
    try:
        # A pipe would block, a device would never end.
        if not Path(path).is_file():
            what = "is no file" if Path(path).exists() else "there is no such file"
            raise TraitError(place, what, "`persona-audit traits list` shows the traits that have one")
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TraitError(place, f"cannot be read: {error.strerror}", "check the path and its permissions") from error
    if len(content) > MAX_BYTES:
        raise TraitError(place, f"is larger than {MAX_BYTES // 1024} KiB", "one file holds one trait")
    return build_spec(decode_file(content, place), place)
