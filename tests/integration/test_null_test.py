"""The set-up's test of itself: a right one passes, planted errors are named, and the commands say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from audit import nulltest
from audit.assets import demo_model_dir, demo_vectors_dir
from audit.cli import cli
from audit.demo.evidence_samples import ERRORS, OwnSamples, draw_own_samples
from audit.model.chat import RenderedTurn
from audit.model.evidence import measure_evidence
from audit.model.load import LoadedModel, load_model
from audit.model.turns import TokenizedTurn
from audit.nulltest import NullReport, choose_questions, judge_null, make_job, run_null_test
from audit.vectors import load_vectors

DIRECTIONS = {
    trait: (vector.layer, vector.vector_ld[vector.layer])
    for trait, vector in load_vectors([str(demo_vectors_dir())]).items()
}


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(model=str(demo_model_dir()))


@pytest.fixture(scope="module")
def samples(model: LoadedModel) -> OwnSamples:
    return draw_own_samples(model, 48, 9_601)


def judge(model: LoadedModel, turns: list[TokenizedTurn]) -> NullReport:
    job = make_job(model, DIRECTIONS)
    found = measure_evidence(model, turns, job=job, batch_tokens=8192, seeds=range(len(turns)))
    return judge_null(found, list(job.vectors), n_traits=len(DIRECTIONS))


def test_a_set_up_that_is_right_passes(model: LoadedModel, samples: OwnSamples) -> None:
    assert judge(model, list(samples.turns)).findings == []
    report = run_null_test(model, DIRECTIONS, choose_questions(is_demo_model=True))
    assert report.findings == []
    assert report.read_back == 1.0
    assert set(report.directions) == {*DIRECTIONS, "random"}


@pytest.mark.parametrize("error", sorted(ERRORS))
def test_planted_errors_are_found(model: LoadedModel, samples: OwnSamples, error: str) -> None:
    plant: Callable[[OwnSamples, LoadedModel], list[TokenizedTurn]] = ERRORS[error]
    assert "surprise" in " ".join(judge(model, plant(samples, model)).findings)


def test_a_scan_that_reads_another_prompt_than_was_answered_is_found(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = nulltest.render_turn

    def render_otherwise(model: LoadedModel, turn: object) -> object:
        rendered = render(model, turn)  # type: ignore[arg-type]
        assert isinstance(rendered, RenderedTurn)
        shift = len("Now, ")
        return replace(rendered, text=f"Now, {rendered.text}", start=rendered.start + shift, stop=rendered.stop + shift)

    monkeypatch.setattr(nulltest, "render_turn", render_otherwise)
    monkeypatch.setattr(nulltest, "N_SAMPLES", 32)
    report = run_null_test(model, DIRECTIONS, choose_questions(is_demo_model=True))
    assert report.read_back == 0.0
    assert "does not find the prompt" in " ".join(report.findings)


def test_doctor_and_vectors_check_run_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nulltest, "N_SAMPLES", 32)
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(cli, ["doctor", "--deep", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["null_test"]["findings"] == []
    vector = str(demo_vectors_dir() / "evil.safetensors")
    checked = CliRunner().invoke(cli, ["vectors", "check", vector, "--model", str(demo_model_dir()), "--deep"])
    assert checked.exit_code == 0, checked.output
    assert "what it must be" in checked.output

    def break_span(turn: TokenizedTurn) -> TokenizedTurn:
        return replace(turn, start=1, n_prompt_tokens=1)

    draw = nulltest.draw_turns
    monkeypatch.setattr(nulltest, "draw_turns", lambda *a, **k: [turn and break_span(turn) for turn in draw(*a, **k)])
    broken = CliRunner().invoke(cli, ["vectors", "check", vector, "--model", str(demo_model_dir()), "--deep"])
    assert broken.exit_code == 2
    assert "surprise" in broken.output
    assert CliRunner().invoke(cli, ["doctor", "--deep"]).exit_code == 2


def test_the_model_is_needed_and_deep_is_asked_for(tmp_path: Path) -> None:
    vector = str(demo_vectors_dir() / "evil.safetensors")
    assert "name it with --model" in CliRunner().invoke(cli, ["vectors", "check", vector, "--deep"]).output
    assert "add --deep" in CliRunner().invoke(cli, ["doctor", "--model", "x"]).output


def test_too_few_answers_and_numbers_that_are_none_do_not_pass() -> None:
    nothing = np.full((4, 1), np.nan)
    found = nulltest.Evidence(nothing, nothing, nothing[:, 0], nothing[:, 0], nothing[:, 0])
    words = " ".join(judge_null(found, ["evil"], n_traits=1).findings)
    assert "too few" in words
    assert "mean z of evil is +nan" in words
