"""A small run with everything in it, and the command line to ask it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from audit.cli import cli
from tests.fabricated import FakeRecord, make_run, scored

HOSTILE = "Evil \x1b[31mred\x1b[0m [bold]text[/bold] \u202e"

Ask = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    records = [
        scored(0.1),
        scored(0.9, flagged=["evil"], cluster_id=1, response=HOSTILE, baseline_response=HOSTILE),
        FakeRecord(reason="bad_json: no JSON \x1b[5m", raw=b"{"),
        scored(0.4, 0.8, flagged=["evil", "sycophantic"], cluster_id=0, response="x" * 5000),
    ]
    return make_run(
        tmp_path / "a.audit",
        records,
        dataset=tmp_path / "a.jsonl",
        verdicts={"evil": "risk", "sycophantic": "watch"},
    )


@pytest.fixture
def ask() -> Ask:
    """Run the command line; standard output and error apart."""

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words], prog_name="persona-audit")

    return invoke
