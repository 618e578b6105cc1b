"""Versions of a run made by hand, with content ids as a scan of today gives them, and z as the test says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit.schema import FLAGS, SAMPLES
from tests.fabricated import FakeRecord, make_run


def make_version(
    path: Path,
    records: Sequence[FakeRecord],
    *,
    has_ids: bool = True,
    z: Mapping[int, float] | None = None,
    **options: Any,
) -> Path:
    """Write a finished run over records; `z` by sample id is that of every trait."""
    run = make_run(path, records, dataset=options.pop("dataset", path.with_suffix(".jsonl")), **options)
    if has_ids:
        ids = [None if record.reason else name_content(record) for record in records]
        for file in sorted((run / "samples").iterdir()):
            change_rows(file, SAMPLES, lambda row: {"content_id": ids[row["sample_id"]]})
    if z is not None:
        change_rows(run / "flags.parquet", FLAGS, lambda row: {"z": z.get(row["sample_id"])})
    return run


def name_content(record: FakeRecord) -> int:
    digest = hashlib.blake2b(f"{record.prompt}\0{record.response}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def change_rows(file: Path, schema: pa.Schema, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    rows = [{**row, **change(row)} for row in pq.read_table(file).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)


def change_manifest(run: Path, **changes: Any) -> Path:
    """Replace parts of a manifest; a mapping is merged into what is there."""
    manifest = json.loads((run / "manifest.json").read_text())
    for name, value in changes.items():
        manifest[name] = {**manifest[name], **value} if isinstance(value, dict) and manifest[name] else value
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run
