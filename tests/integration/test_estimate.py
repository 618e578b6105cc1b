"""A dry run says what the scan then finds, and leaves nothing behind.

Pairs covered: estimate-run, estimate-answers, workload-shard.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from audit import ScanConfig, estimate_scan, scan, workload
from audit import estimate as estimate_module
from audit.answers import cache_path
from audit.cli import cli
from audit.errors import AuditError
from tests.datasets import chat, chats, write_lines, write_vectors
from tests.models import model_path, one_thread

__all__ = ["one_thread"]

pytestmark = pytest.mark.usefixtures("one_thread", "short_timing")


@pytest.fixture
def short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate_module, "TIMED_ROWS", (2, 12))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty rows, of which the last twenty repeat the first, and two that cannot be scored."""
    folder = tmp_path_factory.mktemp("estimate")
    rows = chats(40)
    write_lines(folder / "data.jsonl", [*rows, *rows[:20], chat("Who?", ""), {"messages": "none"}])
    write_vectors(folder / "vectors", model_path("llama"))
    return folder


def config(folder: Path, out: Path, **options: Any) -> ScanConfig:
    settings = {"max_new_tokens": 6, "shard_rows": 20, "model": str(model_path("llama")), **options}
    settings.setdefault("datasets", (str(folder / "data.jsonl"),))
    return ScanConfig(vectors=(str(folder / "vectors"),), out=str(out), **settings)


def list_tree(*roots: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for root in roots for path in [root, *root.rglob("*")] if path.exists()}


def test_a_dry_run_counts_what_the_scan_then_reports(folder: Path, tmp_path: Path) -> None:
    estimate = estimate_scan(config(folder, tmp_path / "run"))
    run = scan(config(folder, tmp_path / "run"))
    counts, baseline = run.manifest["counts"], run.manifest["baseline"]
    (found,) = run.sql(
        "SELECT count(*), sum(n_prompt_tokens)::BIGINT, sum(n_response_tokens)::BIGINT FROM turns "
        "WHERE n_response_tokens IS NOT NULL"
    ).fetchall()
    assert (estimate.n_samples, estimate.n_turns) == (counts["n_samples"], counts["n_turns"]) == (62, 82)
    assert estimate.n_readable == 61
    assert (estimate.n_parts.value, estimate.prompt_tokens.value, estimate.response_tokens.value) == found
    assert (estimate.n_prompts.value, estimate.n_generated.value) == (baseline["n_prompts"], baseline["n_generated"])
    assert estimate.n_cached.value == 0
    assert estimate.response_tokens.is_exact
    size = sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
    assert size / 2 < estimate.disk_bytes < size * 2
    assert 0 < estimate.total_s.low < estimate.total_s.value < estimate.total_s.high
    assert set(estimate.seconds) == {"loading", "reading", "probing", "generating", "scoring", "findings"}
    assert min(estimate.seconds["generating"], estimate.seconds["scoring"]) > 0
    assert estimate.memory_bytes > estimate.weight_bytes > 0
    assert estimate.model["attention"] == run.manifest["model"]["forward"]["attention"]


def test_cached_answers_are_counted_and_left_as_they_are(folder: Path, tmp_path: Path) -> None:
    scan(config(folder, tmp_path / "run"))
    before = cache_path().read_bytes()
    estimate = estimate_scan(config(folder, tmp_path / "other"))
    assert estimate.n_cached.value == estimate.n_prompts.value > 0
    assert estimate.n_generated.value == estimate.seconds["generating"] == 0
    assert cache_path().read_bytes() == before
    without = estimate_scan(config(folder, tmp_path / "other", no_cache=True))
    assert without.n_generated.value == without.n_prompts.value


@pytest.mark.parametrize("baseline", ["generate", "prompt", "none"])
def test_nothing_is_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, baseline: str) -> None:
    monkeypatch.chdir(tmp_path)
    before = list_tree(folder, tmp_path, cache_path().parent)
    estimate = estimate_scan(config(folder, tmp_path / "deep" / "run", baseline=baseline))
    assert list_tree(folder, tmp_path, cache_path().parent) == before
    assert (estimate.n_prompts.value > 0) == (baseline != "none")


def test_a_pipe_is_not_kept(folder: Path, tmp_path: Path) -> None:
    words = ["scan", "-", "--model", str(model_path("llama")), "--vectors", str(folder / "vectors"), "--dry-run"]
    before = list_tree(tmp_path)
    done = CliRunner().invoke(
        cli, [*words, "--out", str(tmp_path / "run"), "--json"], input=(folder / "data.jsonl").read_bytes()
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["n_samples"] == 62
    assert list_tree(tmp_path) == before


def test_an_unfinished_scan_has_less_to_do(folder: Path, tmp_path: Path) -> None:
    run = scan(config(folder, tmp_path / "run"))
    for table in ("samples", "turns", "scores", "differences"):
        sorted((run.path / table).iterdir())[-1].unlink()
    before = list_tree(run.path)
    estimate = estimate_scan(config(folder, tmp_path / "run"))
    assert estimate.n_done == 60
    assert list_tree(run.path) == before


Spoil = Callable[[Path], dict[str, Any]]


def _other_settings(tmp_path: Path) -> dict[str, Any]:
    return {"seed": 5}


def _missing_data(tmp_path: Path) -> dict[str, Any]:
    return {"datasets": (str(tmp_path / "gone.jsonl"),)}


def _missing_trait(tmp_path: Path) -> dict[str, Any]:
    return {"traits": ("unknown",)}


def _foreign_directory(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "other").mkdir(exist_ok=True)
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    return {"out": tmp_path / "other"}


def _missing_reference(tmp_path: Path) -> dict[str, Any]:
    return {"reference": str(tmp_path / "gone.audit")}


def _unfitting_baseline(tmp_path: Path) -> dict[str, Any]:
    write_lines(tmp_path / "ready.jsonl", [chat("Nobody asked this.", "Fine.")])
    return {"baseline": str(tmp_path / "ready.jsonl")}


@pytest.mark.parametrize(
    ("spoil", "out"),
    [
        (_missing_data, "new"),
        (_missing_trait, "new"),
        (_foreign_directory, ""),
        (_missing_reference, "new"),
        (_unfitting_baseline, "new"),
        (_other_settings, "run"),
    ],
)
def test_a_dry_run_stops_where_the_scan_would(folder: Path, tmp_path: Path, spoil: Spoil, out: str) -> None:
    if out == "run":
        scan(config(folder, tmp_path / "run"))
    options = {"out": tmp_path / out, **spoil(tmp_path)}
    messages = []
    for job in (estimate_scan, scan):
        with pytest.raises(AuditError) as caught:
            job(config(folder, **options))
        messages.append((type(caught.value), str(caught.value)))
    assert messages[0] == messages[1]


def test_of_many_records_a_part_is_tokenised_and_the_interval_holds(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = chats(300)
    write_lines(tmp_path / "many.jsonl", rows)
    settings = config(folder, tmp_path / "run", datasets=(str(tmp_path / "many.jsonl"),))
    exact = estimate_scan(settings)
    monkeypatch.setattr(workload, "EXACT_ROWS", 100)
    monkeypatch.setattr(workload, "SAMPLED_ROWS", 100)
    sampled = estimate_scan(settings)
    assert not sampled.response_tokens.is_exact
    assert sampled.response_tokens.low <= exact.response_tokens.value <= sampled.response_tokens.high
    assert sampled.response_tokens.high < 1.3 * exact.response_tokens.value
    assert (sampled.n_samples, sampled.n_turns) == (exact.n_samples, exact.n_turns)
    assert sampled.n_prompts.value == pytest.approx(exact.n_prompts.value, rel=0.02)
    assert estimate_scan(settings).response_tokens == sampled.response_tokens


def test_distinct_prompts_are_counted_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "_KEPT_HASHES", 256)
    distinct = workload._Distinct()
    hashes = np.random.default_rng(0).integers(0, 1 << 63, 20_000).tolist()
    for start in range(0, 20_000, 64):
        distinct.add(2 * value for value in hashes[start : start + 64] * 2)
        assert len(distinct._kept) <= 512
    count = distinct.count()
    assert count.low < 20_000 < count.high
    assert count.value == pytest.approx(20_000, rel=0.2)


def test_people_read_the_same_figures(folder: Path, tmp_path: Path) -> None:
    words = ["scan", str(folder / "data.jsonl"), "--model", str(model_path("llama")), "--max-new-tokens", "6"]
    words += ["--vectors", str(folder / "vectors"), "--dry-run", "--out", str(tmp_path / "run"), "--quiet"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    estimate = estimate_scan(config(folder, tmp_path / "run"))
    assert f"{estimate.n_samples:,}, 1 of which cannot be read" in done.output
    assert f"{estimate.n_prompts.value:,.0f} distinct to answer, 0 cached" in done.output
    assert "an estimate from a timed part" in done.output
    assert not os.path.lexists(tmp_path / "run")


def test_clean_data_that_is_yet_to_be_scanned_is_named_and_neither_missed_nor_written(
    folder: Path, tmp_path: Path
) -> None:
    clean = write_lines(tmp_path / "clean.jsonl", chats(4))
    estimate = estimate_scan(config(folder, tmp_path / "run", reference=str(clean)))
    assert any("clean.jsonl is scanned first" in notice for notice in estimate.notices)
    assert [path.name for path in tmp_path.iterdir()] == ["clean.jsonl"]
    with pytest.raises(AuditError, match="no such file"):
        estimate_scan(config(folder, tmp_path / "run", reference=str(tmp_path / "nowhere.jsonl")))
