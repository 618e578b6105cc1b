"""`judge.parquet`: a judge's word per record and trait, with who judged, and by what, in the file's metadata.

Knows neither who asks a judge nor who filters by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit.errors import RunError
from audit.schema import JUDGE as JUDGE_SCHEMA
from audit.store import JUDGE, write_table

RANDOM = "random"
"""The draw of a record that was drawn from all that could be flagged."""

_KEY = b"persona_audit_judge"


def has_opinions(run_path: Path | str) -> bool:
    """Tell whether somebody has judged records of the run."""
    return (Path(run_path) / JUDGE).is_file()


def read_described(run_path: Path | str) -> dict[str, Any]:
    """Return, per trait, who judged it and how; nothing where nobody has.

    Raises:
        RunError: the file is damaged.
    """
    path = Path(run_path) / JUDGE
    if not path.is_file():
        return {}
    try:
        found = json.loads((pq.read_schema(path).metadata or {}).get(_KEY, b"{}"))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunError(str(path), f"cannot be read: {error}", "remove it, and judge again") from error
    return dict(found)


def write_opinions(
    run_path: Path, rows: Sequence[Mapping[str, Any]], described: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write the judge's word, with what is there already of other traits, or of more records by the same judge.

    Args:
        rows: of the schema JUDGE.
        described: per trait that was judged, who did and how; `judge`, `spec_sha256` and `threshold` are its identity.
    """
    earlier = read_described(run_path)
    kept = []
    own = {(row["sample_id"], row["trait"]): dict(row) for row in rows}
    if earlier:
        for row in pq.read_table(run_path / JUDGE).to_pylist():
            trait = row["trait"]
            if trait not in described:
                kept.append(row)
            elif _is_same(earlier.get(trait, {}), described[trait]):
                if (again := own.get((row["sample_id"], trait))) is None:
                    score = row["judge_score"]
                    present = None if score is None else score >= described[trait]["threshold"]
                    kept.append({**row, "is_judged_present": present})
                elif row["draw"] == RANDOM:
                    again["draw"] = RANDOM
    merged = sorted([*kept, *own.values()], key=lambda row: (row["sample_id"], row["trait"]))
    metadata = {_KEY: json.dumps({**earlier, **described}).encode()}
    write_table(run_path / JUDGE, pa.Table.from_pylist(merged, schema=JUDGE_SCHEMA.with_metadata(metadata)))


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in ("judge", "spec_sha256", "has_context"))
