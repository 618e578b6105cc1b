"""`cache show | clear`: what is told and what is removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit.answers import Answer, Generator, open_cache
from tests.unit.cli.conftest import Ask


@pytest.fixture
def filled(cache_folder: Path) -> Path:
    path = cache_folder / "answers.sqlite"
    with open_cache(path, 1 << 30) as cache:
        for name, n in (("tiny \x1b[31m", 2), ("large", 3)):
            generator = Generator(name, {"fingerprint": name})
            cache.keep(generator, {generator.key(str(i)): Answer("yes" * n, 1, True) for i in range(n)})
    return path


def test_an_empty_cache_is_shown_and_not_made(ask: Ask, cache_folder: Path) -> None:
    result = ask("cache", "show")
    assert result.exit_code == 0
    assert str(cache_folder) in result.stdout
    assert "nothing yet" in result.stdout
    assert list(cache_folder.iterdir()) == []
    assert "removed 0 answers" in ask("cache", "clear").stdout


def test_show_tells_place_size_limit_and_models(ask: Ask, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONA_AUDIT_CACHE_SIZE", "3MiB")
    shown = json.loads(ask("cache", "show", "--json").stdout)
    assert shown["path"] == str(filled)
    assert (shown["n_answers"], shown["limit_bytes"]) == (5, 3 << 20)
    assert shown["size_bytes"] > 0
    assert {entry["model"]: entry["n_answers"] for entry in shown["models"]} == {"tiny \x1b[31m": 2, "large": 3}
    words = ask("cache", "show").stdout
    assert "5 answers" in words
    assert "3.0 MiB" in words
    assert "\x1b" not in words


def test_clear_says_what_it_removed(ask: Ask, filled: Path) -> None:
    assert "removed 3 answers of large" in ask("cache", "clear", "--model", "large").stdout
    unknown = ask("cache", "clear", "--model", "large")
    assert unknown.exit_code == 2
    assert "--model large" in unknown.stderr
    cleared = json.loads(ask("cache", "clear", "--json").stdout)
    assert (cleared["n_answers"], cleared["path"]) == (2, str(filled))


def test_a_damaged_cache_is_an_error_to_show_and_can_be_cleared(ask: Ask, filled: Path) -> None:
    filled.write_bytes(b"damage" * 5000)
    shown = ask("cache", "show")
    assert shown.exit_code == 2
    assert "cache clear" in shown.stderr
    assert "removed a damaged cache" in ask("cache", "clear").stdout
    assert ask("cache", "show").exit_code == 0


@pytest.mark.parametrize("name", ["show", "clear"])
def test_both_have_an_example_in_their_help(ask: Ask, name: str) -> None:
    assert f"  persona-audit cache {name}" in ask("cache", name, "--help").stdout
