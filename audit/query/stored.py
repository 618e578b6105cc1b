"""The stored wide table of a run: whether it is there and can stand for what it was computed from.

A run that is not finished, or was written by an older version, has none; then the relation is computed.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from audit.schema import sample_scores_schema
from audit.store import RunStore


def find_stored_scores(store: RunStore, traits: tuple[str, ...]) -> Path | None:
    """Return the wide table where it has the run's columns and a row for every record of its parts; else None.

    It can always be computed again, so a damaged one is passed over.
    """
    path = store.sample_scores_path
    try:
        with pq.ParquetFile(path) as file:
            is_whole = file.schema_arrow.equals(sample_scores_schema(traits))
            n_rows = file.metadata.num_rows
    except (OSError, pa.ArrowException):
        return None
    return path if is_whole and n_rows == sum(part.n_rows for part in store.parts()) else None
