"""Which settings two scans of one run directory must share, and what is said where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.config import SETTINGS_BEFORE, ScanConfig
from audit.errors import RunError
from audit.plan import refuse_other_settings
from audit.store import RunStore


def settings(**options: object) -> dict[str, object]:
    return ScanConfig(datasets=("a.jsonl",), **options).compared()  # type: ignore[arg-type]


def test_a_run_from_before_a_setting_is_continued_as_it_was_made(tmp_path: Path) -> None:
    before = {name: value for name, value in settings(evidence="off").items() if name not in SETTINGS_BEFORE}
    refuse_other_settings(RunStore(tmp_path), {"config": before}, settings(evidence="off"))
    with pytest.raises(RunError, match="evidence: the run has off, this scan full"):
        refuse_other_settings(RunStore(tmp_path), {"config": before}, settings())


def test_both_levels_of_evidence_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="evidence: the run has full, this scan off"):
        refuse_other_settings(RunStore(tmp_path), {"config": settings()}, settings(evidence="off"))
