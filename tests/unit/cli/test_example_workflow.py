"""The example workflow: valid YAML, and command lines that our commands understand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from audit.cli import cli
from audit.limits import COMPARISON, RUN, parse_limits

PATH = Path(__file__).resolve().parents[3] / "examples" / "github-actions.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
ENV: dict[str, str] = WORKFLOW["env"]
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["audit"]["steps"]


def command_lines() -> list[list[str]]:
    """Return every command line of ours, with the workflow's environment put in, up to what the shell keeps."""
    lines = [line.strip() for step in STEPS for line in step.get("run", "").splitlines()]
    found = []
    for line in lines:
        if line.startswith("persona-audit "):
            words = shlex.split(re.sub(r"(\s2?>|\s\|\|).*$", "", line))
            found.append([re.sub(r"\$(\w+)", lambda name: ENV[name[1]], word) for word in words])
    return found


def test_it_scans_on_data_and_compares_with_the_base_branch() -> None:
    # YAML reads the word `on` as true.
    assert WORKFLOW[True]["pull_request"]["paths"] == ["data/*.jsonl"]
    assert [words[1] for words in command_lines()] == ["scan", "scan", "compare"]
    clean, data, compare = command_lines()
    assert clean[clean.index("--out") + 1] == data[data.index("--reference") + 1]
    assert data[data.index("--out") + 1] == compare[3]


@pytest.mark.parametrize("words", command_lines(), ids=lambda words: words[1])
def test_every_command_line_is_one_that_the_commands_take(words: list[str]) -> None:
    command = cli.commands[words[1]]
    context = command.make_context(words[1], words[2:])
    assert isinstance(context, click.Context)
    vocabulary = {"scan": RUN, "compare": COMPARISON}[words[1]]
    assert len(parse_limits(context.params["fail_on"], vocabulary=vocabulary)) == ("--fail-on" in words)


def test_actions_are_pinned_to_a_major_version() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert {name.split("@")[0] for name in used} >= {"actions/checkout", "actions/cache", "actions/upload-artifact"}
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)


def test_nothing_from_a_pull_request_is_pasted_into_a_shell() -> None:
    """Titles, branches and file names are the sender's: an expression inside `run` would make them program text."""
    assert not [step for step in STEPS if "${{" in step.get("run", "")]


def test_steps_that_are_named_by_others_exist() -> None:
    text = PATH.read_text(encoding="utf-8")
    named = set(re.findall(r"steps\.(\w+)\.outputs", text))
    assert named == {step["id"] for step in STEPS if "id" in step}


@pytest.mark.parametrize(
    ("step_id", "code", "ends_with"),
    [("scan", 0, 0), ("scan", 1, 0), ("scan", 2, 2), ("compare", 1, 0), ("compare", 70, 70)],
)
def test_a_limit_that_was_passed_lets_the_steps_behind_it_run_an_error_does_not(
    tmp_path: Path, step_id: str, code: int, ends_with: int
) -> None:
    (step,) = (step for step in STEPS if step.get("id") == step_id)
    program = tmp_path / "persona-audit"
    program.write_text(f"#!/bin/sh\necho printed\necho limit >&2\nexit {code}\n")
    program.chmod(0o755)
    env = {**ENV, "PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(tmp_path / "out")}
    # As GitHub runs it.
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=env, capture_output=True, check=False)
    assert done.returncode == ends_with, done.stderr
    assert (tmp_path / "out").read_text() == f"code={code}\n"
    summary = subprocess.run(
        ["bash", "-e", "-c", next(step["run"] for step in STEPS if step.get("name") == "Write the job summary")],
        cwd=tmp_path,
        env={**env, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")},
        check=False,
    )
    assert summary.returncode == 0
    assert "    printed\n" in (tmp_path / "summary.md").read_text()
    assert "    limit\n" in (tmp_path / "summary.md").read_text()
