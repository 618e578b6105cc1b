"""Directories that `datasets` wrote with `save_to_disk`: their Arrow files, of one split.

Knows `state.json` and `dataset_dict.json`. Another `dataset_info.json` may be a registry of files, so it says nothing.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.errors import DataError

_STATE = "state.json"
_SPLITS = "dataset_dict.json"
SPLIT_CURE = "choose one with --split NAME"


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """The Arrow files of one split, in order; the split is empty where there is only one without a name."""

    files: tuple[str, ...]
    split: str


def is_saved_dataset(path: str) -> bool:
    """Tell whether the path is a directory of `save_to_disk`."""
    return any(os.path.isfile(os.path.join(path, name)) for name in (_STATE, _SPLITS))


def find_saved_files(path: str, split: str | None, *, has_options: bool = True) -> SplitFiles:
    """Return the files of a saved dataset, or of the split of it that is wanted.

    `has_options` tells whether errors may advise `--split`.

    Raises:
        DataError: there are several splits and none is named, or not the named one; or the directory is damaged.
    """
    if Path(path, _STATE).is_file():
        state = _read_json(path, _STATE)
        own = state.get("_split") or ""
        if split is not None and split != own:
            named = f"holds the split {own!r} only" if own else "has no splits"
            raise DataError(path, f"{named}; --split {split} was asked for", "leave --split out")
        return SplitFiles(_list_files(path, state), own)
    splits = _read_json(path, _SPLITS).get("splits")
    first = splits[0] if isinstance(splits, list) and splits else ""
    name = choose_split(path, splits, split, SPLIT_CURE if has_options else _name_directory(path, first))
    folder = str(Path(path, name))
    return SplitFiles(_list_files(folder, _read_json(folder, _STATE)), name)


def _name_directory(path: str, split: Any) -> str:
    return f"name the split's directory: {Path(path, str(split))}"


def choose_split(place: str, splits: Any, wanted: str | None, cure: str = SPLIT_CURE) -> str:
    """Return the wanted split, or the only one; `cure` says how one is chosen.

    Raises:
        DataError: the choice is not clear, or there is no such split.
    """
    names = [name for name in splits if isinstance(name, str)] if isinstance(splits, list) else []
    if not names:
        raise DataError(place, "names no split", "write the dataset again")
    if wanted is None and len(names) > 1:
        raise DataError(place, f"has several splits: {', '.join(names)}", cure)
    if wanted is not None and wanted not in names:
        raise DataError(place, f"has no split {wanted!r}; it has {', '.join(names)}", cure)
    return wanted or names[0]


def _list_files(path: str, state: dict[str, Any]) -> tuple[str, ...]:
    if state.get("_indices_data_files") or state.get("_indices_files"):
        # Old versions kept a selection or an order of the rows beside them; current ones would silently ignore it.
        cure = "load it with the version of datasets that wrote it, and save flatten_indices() of it"
        raise DataError(path, "its rows are chosen by an indices file, as old versions of datasets wrote it", cure)
    entries = state.get("_data_files")
    named = [entry.get("filename") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    names = [name for name in named if isinstance(name, str)]
    if not names or len(names) < len(named):
        raise DataError(str(Path(path, _STATE)), "names no Arrow file", "write the dataset again")
    files = tuple(str(Path(path, name)) for name in names)
    missing = next((file for file in files if not Path(file).is_file()), None)
    if missing is not None:
        raise DataError(missing, f"no such file; {_STATE} beside it names it", "copy the whole directory again")
    return files


def _read_json(path: str, name: str) -> dict[str, Any]:
    place = Path(path, name)
    try:
        value = json.loads(place.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(str(place), f"cannot be read: {error}", "copy or write the whole directory again") from error
    if not isinstance(value, dict):
        raise DataError(str(place), "is no JSON object", "write the dataset again")
    return value
