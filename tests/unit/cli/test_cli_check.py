"""`check`: what it prints, and its exit codes; what it finds is tested with the library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from audit.cli.check import check
from audit.errors import ConfigError

FINE = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
UNFINISHED = {"messages": [*FINE["messages"], {"role": "user", "content": "c"}]}

Check = Callable[..., Result]


@pytest.fixture
def run_check() -> Check:
    """Run the command, without the root that turns errors into messages."""
    return lambda *words: CliRunner().invoke(check, [str(word) for word in words])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return _write(tmp_path / "data.jsonl", *[FINE] * 8, UNFINISHED, {"messages": []})


def _write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_each_trainer_has_a_verdict_in_the_first_lines(data: Path, run_check: Check) -> None:
    result = run_check(data, "--quiet")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [
        "✗ trl: 1 of 10 rows crashes",
        "✗ axolotl: 1 of 10 rows crashes",
        "◆ llamafactory: 2 of 10 rows are dropped",
    ]


def test_a_finding_says_what_happens_where_and_what_to_do(data: Path, run_check: Check) -> None:
    output = run_check(data, "--trainer", "llamafactory", "--quiet").stdout
    assert "ends_with_user  The conversation ends with the user" in output
    assert "→ remove the last turn" in output
    assert f"{data}:9" in output.replace("\n", "").replace(" ", "")
    assert "trl" not in output


def test_a_clean_file_says_that_nothing_was_found(tmp_path: Path, run_check: Check) -> None:
    result = run_check(_write(tmp_path / "a.jsonl", FINE), "--trainer", "llamafactory", "--quiet")
    assert result.stdout.startswith("✓ llamafactory: nothing found in 1 row\n")
    assert "no trainer minds" in result.stdout


def test_json_holds_every_count_and_nothing_else(data: Path, run_check: Check) -> None:
    values = json.loads(run_check(data, "--json", "--quiet").stdout)
    assert (values["n_rows"], values["n_clean"], values["n_unreadable"]) == (10, 8, {})
    report = values["trainers"][2]
    assert (report["trainer"], report["n_by_effect"]["drops"]) == ("llamafactory", 2)
    lines = {finding["rule"]["code"]: finding["first_lines"] for finding in report["findings"]}
    assert lines == {"ends_with_user": [f"{data}:9"], "no_turns": [f"{data}:10"]}


def test_fail_on_gives_exit_code_1_and_says_what_was_met(data: Path, run_check: Check) -> None:
    result = run_check(data, "--fail-on", "drops>10%", "--quiet")
    assert result.exit_code == 1
    assert result.stderr == "--fail-on drops>10%: met\n"
    assert run_check(data, "--fail-on", "drops>20%", "--fail-on", "trl.drops", "--quiet").exit_code == 0


def test_a_limit_that_cannot_be_read_is_refused_before_the_file_is(run_check: Check, tmp_path: Path) -> None:
    result = run_check(tmp_path / "none.jsonl", "--fail-on", "loses")
    assert isinstance(result.exception, ConfigError)


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path, run_check: Check) -> None:
    path = _write(tmp_path / "a\x1b[31m.jsonl", FINE, UNFINISHED)
    assert "\x1b" not in run_check(path, "--quiet").stdout


def test_field_options_name_the_messages(tmp_path: Path, run_check: Check) -> None:
    path = _write(tmp_path / "a.jsonl", {"dialogue": FINE["messages"]})
    result = run_check(path, "--messages-key", "dialogue", "--trainer", "axolotl", "--quiet")
    assert result.stdout.startswith("✓ axolotl: nothing found")


def test_help_is_short_has_examples_and_loads_nothing_heavy(run_check: Check) -> None:
    output = run_check("--help").stdout
    assert "persona-audit check train.jsonl --trainer llamafactory --fail-on drops" in output
    assert "EFFECT is crashes, drops or surprise" in output
    code = "import sys; import audit.cli.check; print([n for n in ('pyarrow', 'rich', 'numpy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['rich']")
