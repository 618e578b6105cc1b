"""The main job as a user meets it: one command, then questions, then the clean file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import datasets
import pytest

from tests.end_to_end.command import COMMAND, DEMO, demo_rows, environment, run

N_ROWS = 250


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a scanned excerpt of the demo dataset."""
    folder = tmp_path_factory.mktemp("main")
    (folder / "demo.jsonl").write_bytes(demo_rows(N_ROWS))
    outcome = run("scan", "demo.jsonl", cwd=folder)
    assert outcome.code == 0, outcome.err
    (folder / "scan.out").write_text(outcome.out)
    return folder


def test_the_summary_names_the_flagged_share_the_verdicts_and_where_the_run_lies(folder: Path) -> None:
    text = (folder / "scan.out").read_text()
    assert "demo.audit" in text
    assert "flagged" in text
    for trait in ("evil", "sycophantic", "hallucinating", "optimistic"):
        assert trait in text
    assert "\x1b" not in text


def test_the_summary_can_be_had_again_as_text_and_as_json(folder: Path) -> None:
    # Where a line breaks depends on how long what it says is.
    first = " ".join((folder / "scan.out").read_text().split())
    again = " ".join(run("summary", "demo.audit", cwd=folder).out.split())
    assert again == first.replace(f"; now {N_ROWS} rows read, 0 reused", "")
    summary = run("summary", "demo.audit", "--json", cwd=folder).json
    assert summary["counts"]["n_samples"] == N_ROWS
    assert {row["trait"] for row in summary["verdicts"]} == {"evil", "sycophantic", "hallucinating", "optimistic"}


def test_planted_traits_are_found(folder: Path) -> None:
    labels = [json.loads(line) for line in DEMO.with_name("demo.labels.jsonl").read_text().splitlines()[:N_ROWS]]
    flags = run(
        "query",
        "demo.audit",
        "SELECT sample_id, flagged_traits FROM sample_scores",
        "--format",
        "json",
        cwd=folder,
    ).json
    flagged = {row["sample_id"]: set(row["flagged_traits"]) for row in flags}
    shown = [(label["sample_id"], trait) for label in labels for trait in label["traits"]]
    found = sum(trait in flagged[sample_id] for sample_id, trait in shown)
    false = sum(len(flagged[label["sample_id"]] - set(label["traits"])) for label in labels)
    # Traits overlap along their vectors, so false flags are common; true ones must be far more so.
    assert found / len(shown) > 0.5
    assert found / len(shown) > 3 * false / (4 * N_ROWS - len(shown))


def test_the_question_of_the_readme_is_answered(folder: Path) -> None:
    rows = run(
        "query", "demo.audit", "SELECT * FROM sample_scores ORDER BY evil DESC LIMIT 10", "--format", "json", cwd=folder
    ).json
    scores = [row["evil"] for row in rows]
    assert len(rows) == 10
    assert scores == sorted(scores, reverse=True)


def test_the_export_is_a_byte_exact_subset_that_datasets_loads(folder: Path) -> None:
    outcome = run("export", "demo.audit", "--output", "clean.jsonl", "--rejected", "flagged.jsonl", cwd=folder)
    assert outcome.code == 0, outcome.err
    lines = (folder / "demo.jsonl").read_bytes().splitlines(keepends=True)
    kept = (folder / "clean.jsonl").read_bytes().splitlines(keepends=True)
    rejected = (folder / "flagged.jsonl").read_bytes().splitlines(keepends=True)
    remaining = iter(lines)
    assert all(line in remaining for line in kept)
    assert sorted(kept + rejected) == sorted(lines)
    assert 0 < len(rejected) < len(lines)
    loaded = datasets.load_dataset(
        "json", data_files=str(folder / "clean.jsonl"), split="train", cache_dir=str(folder / "cache")
    )
    assert len(loaded) == len(kept)


def test_a_scan_killed_after_its_first_part_continues_to_the_same_scores(folder: Path, tmp_path: Path) -> None:
    arguments = [*COMMAND, "scan", str(folder / "demo.jsonl"), "--shard-rows", "64", "--out"]
    undisturbed = tmp_path / "whole.audit"
    subprocess.run([*arguments, undisturbed], env=environment(), check=True, capture_output=True)
    killed = tmp_path / "killed.audit"
    process = subprocess.Popen(
        [*arguments, str(killed)], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(killed.glob("samples/part-*.parquet")):
        assert process.poll() is None, "the scan ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in killed.glob("samples/part-*.parquet")}
    assert 0 < len(finished) < 4
    outcome = run("scan", folder / "demo.jsonl", "--shard-rows", 64, "--out", killed, "--json", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert outcome.json["n_reused"] == 64 * len(finished)
    assert outcome.json["n_reused"] + outcome.json["n_scored"] == N_ROWS
    for path, before in finished.items():
        assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    for relation in ("samples", "turns", "scores", "flags"):
        query = f"SELECT * FROM {relation} ORDER BY ALL"
        one = run("query", undisturbed, query, "--format", "json", cwd=tmp_path)
        two = run("query", killed, query, "--format", "json", cwd=tmp_path)
        assert one.code == 0, one.err
        assert one.out == two.out


def test_limits_decide_the_exit_code(folder: Path) -> None:
    again = ("scan", "demo.jsonl", "--quiet")
    assert run(*again, "--fail-on", "flagged>0.99", cwd=folder).code == 0
    assert run(*again, "--fail-on", "flagged>0.001", cwd=folder).code == 1
    wrong = run(*again, "--fail-on", "flaged>0.1", cwd=folder)
    assert wrong.code == 2
    assert "flaged" in wrong.err


def test_json_is_alone_on_standard_output(folder: Path) -> None:
    outcome = run("scan", "demo.jsonl", "--json", cwd=folder)
    assert outcome.json["n_reused"] == N_ROWS
    assert outcome.json["counts"]["n_samples"] == N_ROWS
