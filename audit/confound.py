"""What else explains a score: length, lists, code, refusals, and how far the cheap baseline agrees.

Asks the named queries, so that a summary and `query --name` never differ; changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audit.query import open_connection, read_batches, run_named

CONFOUNDS = ("n_response_tokens", "n_baseline_tokens", "list_share", "code_share", "is_refusal")

_MEMORY_MB, _THREAD_MEMORY_MB = 800, 100
"""Joining the turns of ten million records takes 2 GB where it may; held to this it takes hardly longer."""


def measure_confounds(path: Path, traits: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Return, per trait, the correlation of a turn's score with what should not explain it (sql/length_effect.sql)."""
    found = _ask(path, "length_effect")
    return {trait: {name: found.get(trait, {}).get(name) for name in CONFOUNDS} for trait in traits}


def measure_run_agreement(path: Path) -> dict[str, float | None]:
    """Return, per trait, how far the cheap difference goes with the true one (sql/baseline_agreement.sql)."""
    return {trait: row["correlation"] for trait, row in _ask(path, "baseline_agreement").items()}


def _ask(path: Path, name: str) -> dict[str, Mapping[str, Any]]:
    """Return the rows of a named query by trait."""
    memory_mb = max(_MEMORY_MB, _THREAD_MEMORY_MB * (os.cpu_count() or 1))
    with open_connection(path, memory_mb=memory_mb) as connection:
        rows = [row for batch in read_batches(run_named(connection, name)) for row in batch.to_pylist()]
    return {row["trait"]: row for row in rows}
