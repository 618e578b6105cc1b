"""Rows written to a file, and what the check says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.preflight import check_datasets

Find = Callable[..., dict[str, str]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Give the codes that a trainer meets in rows, each with its effect; defaults are left out."""

    def check(trainer: str, *rows: Any, **settings: Any) -> dict[str, str]:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (report,) = check_datasets([str(path)], trainer=trainer, **settings).trainers
        return {found.rule.code: found.rule.effect for found in report.findings if not found.rule.is_default}

    return check
