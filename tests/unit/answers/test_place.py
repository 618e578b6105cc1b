"""Where the cache lies, and how large it may grow."""

from __future__ import annotations

import pwd
from pathlib import Path

import platformdirs
import pytest
from platformdirs import windows
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from audit.answers.place import DEFAULT_LIMIT_BYTES, cache_limit_bytes, cache_path
from audit.errors import CacheError, ConfigError


def test_the_environment_names_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERSONA_AUDIT_CACHE", str(tmp_path / "here"))
    assert cache_path() == tmp_path / "here" / "answers.sqlite"


@pytest.mark.parametrize(
    ("system", "variables", "place"),
    [
        (Unix, {}, "/home/ann/.cache/persona-audit"),
        (Unix, {"XDG_CACHE_HOME": "/var/ann"}, "/var/ann/persona-audit"),
        (Unix, {"XDG_CACHE_HOME": "relative"}, "/home/ann/.cache/persona-audit"),
        (MacOS, {}, "/home/ann/Library/Caches/persona-audit"),
        (Windows, {}, "/local/persona-audit/Cache"),
    ],
)
def test_the_default_is_the_users_cache_directory(
    monkeypatch: pytest.MonkeyPatch, system: type, variables: dict[str, str], place: str
) -> None:
    for name in ("PERSONA_AUDIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ann", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(platformdirs, "PlatformDirs", system)
    monkeypatch.setattr(windows, "get_win_folder", {"CSIDL_LOCAL_APPDATA": "/local"}.get)
    assert str(cache_path().parent) == place


def test_without_a_home_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(user: int) -> None:
        raise KeyError(user)

    for name in ("PERSONA_AUDIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(pwd, "getpwuid", fail)
    with pytest.raises(CacheError, match="PERSONA_AUDIT_CACHE"):
        cache_path()


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("", DEFAULT_LIMIT_BYTES),
        ("4096", 4096),
        ("500MB", 500_000_000),
        ("2GiB", 2 << 30),
        ("1.5 g", 1_500_000_000),
        ("0", 0),
    ],
)
def test_the_size_is_read_as_people_write_it(monkeypatch: pytest.MonkeyPatch, text: str, n_bytes: int) -> None:
    monkeypatch.setenv("PERSONA_AUDIT_CACHE_SIZE", text)
    assert cache_limit_bytes() == n_bytes


@pytest.mark.parametrize("text", ["much", "-1", "2 GiB or so", "1e9"])
def test_what_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PERSONA_AUDIT_CACHE_SIZE", text)
    with pytest.raises(ConfigError, match="PERSONA_AUDIT_CACHE_SIZE"):
        cache_limit_bytes()
