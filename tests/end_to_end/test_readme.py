"""What the README promises: its commands run, its code runs, its options exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.command import ROOT, demo_rows, environment, run

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").mkdir()
    (folder / "examples" / "demo.jsonl").write_bytes(demo_rows(150))
    labels = (ROOT / "examples" / "demo.labels.jsonl").read_text().splitlines(keepends=True)[:150]
    (folder / "examples" / "demo.labels.jsonl").write_text("".join(labels))
    return folder


def test_the_commands_of_the_main_job_run_in_order(folder: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("persona-audit ")]
    own = [line for line in lines if "--model" not in line]
    assert len(own) >= 5
    for line in own:
        outcome = run(*shlex.split(line, comments=True)[1:], cwd=folder)
        assert outcome.code == 0, f"{line}\n{outcome.err}"
        assert outcome.out.strip()


def test_the_python_example_runs(folder: Path) -> None:
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_options_that_are_named_exist() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    commands = (
        "scan",
        "query",
        "show",
        "validate",
        "judge",
        "export",
        "summary",
        "check",
        "formats",
        "traits write",
        "vectors import",
        "vectors extract",
        "vectors check",
        "doctor",
    )
    helps = "".join(run(*command.split(), "--help", cwd=ROOT).out for command in commands)
    assert {option for option in named if option not in helps} == set()


def test_every_family_of_the_formats_table_has_its_row() -> None:
    families = json.loads(run("formats", "--json", cwd=ROOT).out)["families"]
    rows = re.findall(r"^\| (\w+) \| (.+?) \|", README.partition("## What it reads")[2], re.MULTILINE)
    named = {name: needs for name, needs in rows if name != "family"}
    assert list(named)[: len(families)] == [family["name"] for family in families]
    for family in families:
        if family["name"] != "hh":
            assert set(re.findall(r"'(\w+)'", family["needs"])) == set(re.findall(r"`(\w+)`", named[family["name"]]))


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^make (\w+)", README, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_files_that_are_linked_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert all((ROOT / link).exists() for link in links)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['persona-audit', '--help']\n"
        "from audit.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'duckdb', 'polars', 'pyarrow', 'numpy', 'faiss'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
