"""The command in a process of its own: what it loads, what it leaves behind in a pipe, how it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fabricated import make_run, scored

PROGRAM = [sys.executable, "-m", "audit.cli"]
HEAVY = ("torch", "transformers", "duckdb", "polars", "pyarrow", "rich", "numpy", "faiss")


def call(*words: object, **options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **options}
    command = [*PROGRAM, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    records = [scored(0.1), scored(0.9, flagged=["evil"], response="ünï \x1b[31m 漢字")]
    return make_run(folder / "a.audit", records, dataset=folder / "a.jsonl")


@pytest.mark.parametrize(
    "words", [["--help"], ["scan", "--help"], ["vectors", "--help"], ["--version"], ["completion", "fish"]]
)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys\nfrom audit.cli import cli\n"
        f"cli({words!r}, standalone_mode=False)\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_is_quick() -> None:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        assert call("--help").returncode == 0
        times.append(time.perf_counter() - began)
    assert min(times) < 0.4


@pytest.mark.parametrize(
    "words", [["query", "--list"], ["summary"], ["query", "FROM samples"], ["show", "1"], ["export"]]
)
def test_asking_a_run_does_not_load_torch(run: Path, words: list[str], tmp_path: Path) -> None:
    named = [words[0], *([] if words[1:] == ["--list"] else [str(run)]), *words[1:]]
    named += ["--output", str(tmp_path / "out.jsonl")] if words[0] == "export" else []
    script = (
        "import sys\nfrom audit.cli import cli\n"
        f"cli({named!r}, standalone_mode=False)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_early_ends_the_command_quietly(run: Path) -> None:
    command = [*PROGRAM, "query", str(run), "FROM range(1000000)", "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"range\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_nobody_reading_at_all_is_no_error_either(run: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*PROGRAM, "query", str(run), "SELECT 1"], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_interrupt_exits_130_without_a_traceback(run: Path) -> None:
    endless = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 5"
    with subprocess.Popen([*PROGRAM, "query", str(run), endless], stderr=subprocess.PIPE, text=True) as process:
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted." in errors
    assert "Traceback" not in errors


def test_a_user_error_exits_2_in_one_line(tmp_path: Path) -> None:
    done = call("summary", tmp_path / "no.audit")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Error: ")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_a_terminal_of_any_encoding_shows_every_character_somehow(run: Path, encoding: str) -> None:
    command = [*PROGRAM, "show", str(run), "1"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout
    assert (r"\u6f22" if encoding != "utf-8" else "漢").encode() in done.stdout
    table = [*PROGRAM, "query", str(run), "SELECT '漢' AS a"]
    assert subprocess.run(table, capture_output=True, env=environment, check=False, timeout=60).returncode == 0


def test_a_shell_completes_commands_and_query_names(run: Path) -> None:
    def complete(words: str, position: int) -> str:
        return call(_PERSONA_AUDIT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(position)).stdout

    assert "plain,export" in complete("persona-audit ex", 1)
    assert "plain,top_by_trait" in complete("persona-audit query x --name top", 4)
