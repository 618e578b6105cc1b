"""`scan`: words to settings, the gate, and what goes to which stream. The job itself is a stand-in here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from audit.config import ScanConfig
from audit.errors import VectorError
from audit.events import Listener, Noted, Warned
from audit.store import RunStore
from audit.summary import summarise_run
from tests.fabricated import make_run, scored
from tests.unit.cli.conftest import Ask


class FakeJob(ModuleType):
    """Stands in for `audit.run`: remembers the settings and returns a run that was made by hand."""

    def __init__(self, run: Path) -> None:
        super().__init__("audit.run")
        self.path = run
        self.configs: list[ScanConfig] = []
        self.n_scored, self.n_reused = 3, 1

    def choose_vectors(self, config: ScanConfig) -> dict[str, None]:
        if "missing.safetensors" in config.vectors:
            raise VectorError("missing.safetensors", "no such file")
        return {"evil": None, "sycophantic": None}

    def scan(self, config: ScanConfig, *, listener: Listener) -> FakeJob:
        self.configs.append(config)
        listener(Noted("reading"))
        listener(Warned("OUT OF DOMAIN"))
        return self

    def summary(self) -> dict[str, Any]:
        return summarise_run(self.path, RunStore(self.path).read_manifest())


Start = Callable[..., FakeJob]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    def make(**verdicts: str) -> FakeJob:
        run = make_run(tmp_path / "a.audit", [scored(0.1)] * 4, dataset=tmp_path / "a.jsonl", verdicts=verdicts)
        job = FakeJob(run)
        directions = ModuleType("audit.directions")
        directions.choose_vectors = job.choose_vectors  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "audit.directions", directions)
        monkeypatch.setitem(sys.modules, "audit.run", job)
        return job

    return make


def test_options_become_settings(start: Start, ask: Ask) -> None:
    job = start()
    words = "scan a.jsonl b.jsonl --out o --model m --vectors v1 --vectors v2 --traits evil,sycophantic --layer 3"
    words += (
        " --orthogonal --turns last --baseline prompt --keep-columns id,kind --limit 5 --seed 7 --nll --strict --fresh"
    )
    assert ask(*words.split()).exit_code == 0
    (config,) = job.configs
    assert config == ScanConfig(
        datasets=("a.jsonl", "b.jsonl"),
        out="o",
        model="m",
        vectors=("v1", "v2"),
        traits=("evil", "sycophantic"),
        layer=3,
        orthogonal=True,
        turns="last",
        baseline="prompt",
        keep_columns=("id", "kind"),
        limit=5,
        seed=7,
        nll=True,
        strict=True,
        fresh=True,
    )


def test_drawn_baselines_are_asked_for_by_number(start: Start, ask: Ask) -> None:
    job = start()
    assert ask("scan", "a.jsonl", "--baseline-samples", "4").exit_code == 0
    assert job.configs == [ScanConfig(datasets=("a.jsonl",), baseline_samples=4)]
    refused = ask("scan", "a.jsonl", "--baseline-samples", "1")
    assert refused.exit_code == 2
    assert "--baseline-samples: one drawn answer carries chance" in refused.stderr
    assert "--baseline-samples 4" in ask("scan", "--help").stdout


def test_no_options_are_the_defaults_of_the_library(start: Start, ask: Ask) -> None:
    job = start()
    ask("scan", "a.jsonl")
    assert job.configs == [ScanConfig(datasets=("a.jsonl",))]


def test_json_alone_is_on_standard_output_and_counts_what_was_scored(start: Start, ask: Ask) -> None:
    start()
    result = ask("scan", "a.jsonl", "--json")
    values = json.loads(result.stdout)
    assert (values["n_scored"], values["n_reused"]) == (3, 1)
    assert result.stderr == "note: reading\nwarning: OUT OF DOMAIN\n"


def test_quiet_leaves_the_summary(start: Start, ask: Ask) -> None:
    start()
    result = ask("scan", "a.jsonl", "--quiet")
    assert result.stderr == ""
    assert result.stdout.startswith("✓ CLEAR")
    assert "now 3 rows read, 1 reused" in result.stdout


@pytest.mark.parametrize(
    ("verdict", "options", "code"),
    [
        ("risk", [], 0),
        ("risk", ["--fail-on", "risk"], 1),
        ("watch", ["--fail-on", "risk"], 0),
        ("watch", ["--fail-on", "risk", "--fail-on", "evil=watch"], 1),
        ("undecided", [], 0),
        ("undecided", ["--fail-on", "risk"], 1),
        ("undecided", ["--fail-on", "risk", "--allow-undecided"], 0),
    ],
)
def test_the_gate_decides_the_exit_code_after_the_summary_is_printed(
    start: Start, ask: Ask, verdict: str, options: list[str], code: int
) -> None:
    start(evil=verdict)
    result = ask("scan", "a.jsonl", *options)
    assert result.exit_code == code
    assert "evil" in result.stdout
    assert ("--fail-on" in result.stderr) == (code == 1)


def test_a_passed_limit_is_in_the_json_too(start: Start, ask: Ask) -> None:
    start(evil="risk")
    result = ask("scan", "a.jsonl", "--json", "--fail-on", "risk")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["limits_passed"] == ["risk: evil is risk"]


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        (["a.jsonl", "--fail-on", "rsk"], "is no limit"),
        (["a.jsonl", "--fail-on", "evli=risk"], "no trait 'evli'"),
        (["a.jsonl", "--shard-rows", "5000"], "--shard-rows: 5000 is out of range"),
        (["a.jsonl", "--traits", "Evil!"], "is no trait name"),
        (["a.jsonl", "--format", "xml"], "'xml' is not known"),
        (["a.jsonl", "--vectors", "missing.safetensors", "--fail-on", "risk"], "no such file"),
        (["a.jsonl", "--turns", "some"], "Invalid value for '--turns'"),
        (["a.jsonl", "--limit", "x"], "is not a valid integer"),
        ([], "Missing argument 'DATASET...'"),
    ],
)
def test_a_wrong_setting_exits_2_before_the_job_begins(start: Start, ask: Ask, words: list[str], finding: str) -> None:
    job = start()
    result = ask("scan", *words)
    assert result.exit_code == 2
    assert finding in result.stderr
    assert job.configs == []
