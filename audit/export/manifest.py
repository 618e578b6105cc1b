"""The manifest beside an export: inputs and outputs by hash, counts, and every record that was not kept, with why.

Written as it is read, so that a million reasons are not held. Knows the run's manifest, not its tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from audit.export.receipt import ExportReceipt
from audit.samples import Source


def write_manifest(
    sink: BinaryIO,
    run_path: Path,
    manifest: Mapping[str, Any],
    sources: Sequence[Source],
    receipt: ExportReceipt,
    hashes: Mapping[str, str],
    dropped: Iterable[Mapping[str, Any]],
) -> None:
    """Write the manifest of an export: one JSON object, whose last field lists the dropped records one a line."""
    described = {
        "format_version": 1,
        "tool_version": manifest["tool_version"],
        "run": str(run_path),
        "undecided": receipt.undecided,
        "filter": {
            "condition": receipt.condition,
            "drop": receipt.drop,
            "keeps_unscored": receipt.keeps_unscored,
        },
        "counts": {
            "records": receipt.n_records,
            "kept": receipt.n_kept,
            "rejected": receipt.n_rejected,
            "flagged": receipt.n_flagged,
            "failed_condition": receipt.n_failed,
            "unscored": sum(receipt.n_unscored.values()),
            "unscored_by_reason": receipt.n_unscored,
            "flagged_by_trait": receipt.flagged_by_trait,
            "judged_by_trait": receipt.judged_by_trait,
            "never_judged": receipt.n_never_judged,
        },
        "inputs": [{"path": source.path, "sha256": source.sha256, "n_records": source.n_records} for source in sources],
        "outputs": [{"path": path, "sha256": hashes[path]} for path in receipt.outputs],
        "rejected": [{"path": path, "sha256": hashes[path]} for path in receipt.rejected],
        "card": receipt.card,
        "dropped_columns": list(receipt.dropped_columns),
        "verdicts": manifest["verdicts"],
        "receipt": asdict(receipt),
    }
    text = json.dumps(described, indent=1).removesuffix("\n}")
    sink.write(text.encode() + b',\n "dropped": [')
    before = b"\n  "
    for entry in dropped:
        sink.write(before + json.dumps(entry).encode())
        before = b",\n  "
    sink.write(b"]\n}\n" if before == b"\n  " else b"\n ]\n}\n")
