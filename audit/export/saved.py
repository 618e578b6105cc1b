"""A directory as `datasets` saves one: Arrow rows, and beside them what they are called and where they lie.

Written by hand, so that rows stream and what the input's own description says stays. Does not know rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit.samples import Source
from audit.samples.splices import AddedField
from audit.samples.table_copies import add_feature

ROWS = "data-00000-of-00001.arrow"

_STATE = "state.json"
_INFO = "dataset_info.json"
# What the input's description counts is no longer so.
_COUNTED = ("splits", "download_checksums", "download_size", "dataset_size", "size_in_bytes", "post_processing_size")


def is_saved(path: Path) -> bool:
    """Tell whether a directory is one that `datasets` saved and nobody put anything else in, or is empty."""
    names = [entry.name for entry in path.iterdir()]
    return not names or (_STATE in names and all(name in (_STATE, _INFO) or name.endswith(".arrow") for name in names))


def describe_saved(folder: Path, source: Source, identity: str, added: AddedField | None, *, is_copy: bool) -> None:
    """Write what makes a directory with rows in it one that `datasets.load_from_disk` reads.

    `identity` tells this selection of rows from others: `datasets` caches by it.
    """
    info: dict[str, Any] = {}
    state: Mapping[str, Any] = {}
    if is_copy and source.files:
        beside = Path(source.files[0]).parent
        found = _read_json(beside / _INFO)
        info = {key: value for key, value in found.items() if key not in _COUNTED}
        state = _read_json(beside / _STATE)
        if added is not None:
            add_feature(info, added)
    columns = state.get("_format_columns")
    described = {
        "_data_files": [{"filename": ROWS}],
        "_fingerprint": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "_format_columns": [*columns, added.name] if columns and added else columns,
        "_format_kwargs": state.get("_format_kwargs") or {},
        "_format_type": state.get("_format_type"),
        "_output_all_columns": bool(state.get("_output_all_columns")),
        "_split": state.get("_split") or source.split or None,
    }
    (folder / _STATE).write_text(json.dumps(described, indent=1), encoding="utf-8")
    (folder / _INFO).write_text(json.dumps(info, indent=1), encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
