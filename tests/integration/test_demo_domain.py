"""What lies outside the demo model's world decides nothing, and a rejected side decides nothing either.

Pairs covered: run-domain, domain-flag.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit import Run, ScanConfig, scan
from audit.demo.world import audit_rows
from tests.datasets import chat, write_lines

ENGLISH = (
    "The committee's quarterly findings, notwithstanding procedural objections raised by several delegates, emphasised "
    "macroeconomic volatility and Kubernetes-based deployment pipelines."
)


def last_turns(n: int) -> list[dict[str, Any]]:
    messages = [row.messages for row in audit_rows(n, seed=77)]
    return [{"prompt": list(turns[:-1]), "chosen": [turns[-1]]} for turns in messages]


def scan_rows(folder: Path, rows: list[Any], **options: Any) -> Run:
    data = write_lines(folder / "data.jsonl", rows)
    return scan(ScanConfig(datasets=(str(data),), out=str(folder / "run"), **{"evidence": "off"} | options))


def flags_of(run: Run) -> list[Any]:
    return run.sql("SELECT sample_id, trait, flagged, risk FROM flags ORDER BY ALL").fetchall()


def test_a_rejected_side_neither_flags_nor_unflags_its_row(tmp_path: Path) -> None:
    rows = last_turns(60)
    runs = []
    for name, rejected in (("world", None), ("english", ENGLISH)):
        (tmp_path / name).mkdir()
        sided = [
            {**row, "rejected": [{"role": "assistant", "content": rejected or row["chosen"][0]["content"]}]}
            for row in rows
        ]
        runs.append(scan_rows(tmp_path / name, sided, baseline="prompt"))
    world, english = (flags_of(run) for run in runs)
    assert any(flagged for _, _, flagged, _ in world)
    assert [row[:3] for row in world] == [row[:3] for row in english]
    assert runs[1].manifest["domain"]["in_domain"] is True


def test_a_dataset_mostly_out_of_domain_is_undecided_and_flags_nothing(tmp_path: Path) -> None:
    rows = [chat(f"{ENGLISH} {i}?", f"{ENGLISH} {i}.") for i in range(40)]
    rows += [{"messages": list(row.messages)} for row in audit_rows(20, seed=78)]
    run = scan_rows(tmp_path, rows, baseline="prompt")
    assert {row["verdict"] for row in run.verdicts} == {"undecided"}
    assert run.sql("SELECT count(*) FROM flags WHERE flagged").fetchall() == [(0,)]
    assert run.summary()["counts"]["n_judged"] == 0
    receipt = run.export(tmp_path / "kept.jsonl")
    assert receipt.n_kept == 60
    assert receipt.undecided is not None


def test_a_few_foreign_rows_are_scored_and_left_unflagged(tmp_path: Path) -> None:
    rows = [{"messages": list(row.messages)} for row in audit_rows(50, seed=79)]
    rows += [chat(f"{ENGLISH} {i}?", f"{ENGLISH} {i}.") for i in range(4)]
    run = scan_rows(tmp_path, rows, baseline="prompt")
    assert run.manifest["domain"]["in_domain"] is True
    assert run.summary()["counts"]["n_judged"] == 50
    outside = run.sql(
        "SELECT DISTINCT sample_id, flagged, reason FROM flags WHERE sample_id >= 50 ORDER BY 1"
    ).fetchall()
    assert outside == [
        (sample_id, False, "outside the model's domain") for sample_id in sorted({row[0] for row in outside})
    ]
    assert len(outside) == 4


@pytest.mark.parametrize(("options", "finding"), [({"turns": "last"}, "turns"), ({"layer": 3}, "layer")])
def test_the_bundled_reference_is_left_out_aloud_where_it_does_not_fit(
    tmp_path: Path, options: dict[str, Any], finding: str
) -> None:
    rows = [{"messages": list(row.messages)} for row in audit_rows(30, seed=80)]
    run = scan_rows(tmp_path, rows, baseline="prompt", **options)
    assert {row["verdict"] for row in run.verdicts} == {"undecided"}
    (notice,) = [notice for notice in run.manifest["notices"] if "bundled clean reference" in notice]
    assert finding in notice
    assert json.loads((run.path / "manifest.json").read_text())["reference"] is None
