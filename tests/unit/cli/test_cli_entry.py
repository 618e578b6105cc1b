"""The entry point: exit codes, what errors look like, doctor and completion."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

from audit.cli import cli
from audit.doctor import examine
from audit.errors import ConfigError
from audit.schema import FORMATS
from tests.servers import running_server
from tests.unit.cli.conftest import Ask


def raise_in_query(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("audit.query.named_queries", fail)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("place", "finding", "cure"), 2, "Error: place: finding (cure)"),
        (ConfigError("\x1b[31m", "finding"), 2, r"Error: \x1b[31m: finding"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (ValueError("oops"), 70, "This is a bug in persona-audit"),
        (OSError(errno.ENOSPC, "No space left on device", "x.part"), 2, "make room"),
    ],
)
def test_every_way_to_fail_has_its_exit_code_and_words(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    raise_in_query(monkeypatch, error)
    result = ask("query", "--list")
    assert result.exit_code == code
    assert words in result.stderr
    assert ("Traceback" in result.stderr) == (code == 70)
    assert result.stdout == ""


def test_commands_are_listed_in_the_order_of_work() -> None:
    assert list(cli.commands) == [
        "scan", "summary", "query", "show", "validate", "judge", "export", "compare", "check", "traits", "vectors",
        "formats", "cache", "doctor", "completion",
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(cli.commands) - {"traits", "vectors", "cache"}))
def test_every_command_has_an_example_in_its_help(ask: Ask, name: str) -> None:
    result = ask(name, "--help")
    assert result.exit_code == 0
    assert f"  persona-audit {name} " in result.stdout


@pytest.mark.parametrize("name", ["list", "show", "check", "write"])
def test_every_traits_command_has_an_example_in_its_help(ask: Ask, name: str) -> None:
    assert f"  persona-audit traits {name}" in ask("traits", name, "--help").stdout


@pytest.mark.parametrize("name", ["extract", "list", "show", "check", "import", "export", "add"])
def test_every_vectors_command_has_an_example_in_its_help(ask: Ask, name: str) -> None:
    assert f"  persona-audit vectors {name} " in ask("vectors", name, "--help").stdout or name == "list"


def test_the_help_of_scan_names_every_format_and_no_other(ask: Ask) -> None:
    words = " ".join(ask("scan", "--help").stdout.split())
    named = re.search(r"Record family: (.+?) \(", words)
    assert named
    assert tuple(re.split(r", | or ", named[1])) == FORMATS
    assert "plain rows" not in words


def test_every_setting_of_a_scan_is_an_option() -> None:
    from dataclasses import fields

    from audit.config import ScanConfig

    parameters = {parameter.name for parameter in cli.commands["scan"].params}
    assert {field.name for field in fields(ScanConfig)} <= parameters
    context = click.Context(cli.commands["scan"])
    defaults = {parameter.name: parameter.get_default(context) for parameter in cli.commands["scan"].params}
    for field in fields(ScanConfig):
        if isinstance(field.default, (int, str)) and not isinstance(field.default, bool):
            assert defaults[field.name] == field.default


def test_an_unknown_command_exits_2(ask: Ask) -> None:
    assert ask("scna").exit_code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_names_the_program(ask: Ask, shell: str) -> None:
    result = ask("completion", shell)
    assert result.exit_code == 0
    assert "_PERSONA_AUDIT_COMPLETE" in result.stdout


def test_a_shell_completes_the_commands_and_their_options() -> None:
    from click.shell_completion import ShellComplete

    complete = ShellComplete(cli, {}, "persona-audit", "_PERSONA_AUDIT_COMPLETE").get_completions
    assert [item.value for item in complete([], "com")] == ["compare", "completion"]
    assert "--fail-on" in [item.value for item in complete(["compare", "a.audit", "b.audit"], "--f")]


def test_doctor_tells_of_a_token_without_showing_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("audit.doctor._examine_torch", lambda problems: {"devices": [], "threads": 1, "cuda": None})
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert examine()["hub"]["token_set"] is False
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = examine()
    assert found["hub"]["token_set"] is True
    assert found["hub"]["offline"] is True
    assert found["hub"]["cache"] == str(tmp_path / "hub")
    assert "hf_secret" not in json.dumps(found)
    assert {"demo_model", "demo_vectors"} <= found.keys()


def test_doctor_exits_2_and_says_how_to_get_what_is_missing(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.doctor._examine_torch", lambda problems: {"devices": [], "threads": 1, "cuda": None})
    monkeypatch.setattr("audit.doctor.NEEDED", ("numpy", "no-such-package"))
    result = ask("doctor")
    assert result.exit_code == 2
    assert "PROBLEM: no-such-package is not installed (pip install no-such-package)" in result.stdout


def test_doctor_asks_a_server_what_it_serves(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.doctor._examine_torch", lambda problems: {"devices": [], "threads": 1, "cuda": None})
    with running_server() as server:
        found = json.loads(ask("doctor", "--json", "--server", server.url).stdout)
        assert found["baseline_server"] == {"is_reachable": True, "models": ["llama"]}
    result = ask("doctor", "--server", server.url)
    assert result.exit_code == 2
    assert "start the server, or check the URL" in result.stdout
