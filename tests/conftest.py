"""No test touches the caches of whoever runs it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# Property tests try the same examples everywhere, so that a red run can be had again; `search` draws new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("search")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

_KEY = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the session, its fixtures and its subprocesses a cache of their own."""
    folder = config.stash[_KEY] = tempfile.TemporaryDirectory(prefix="persona-audit-cache-")
    os.environ["PERSONA_AUDIT_CACHE"] = folder.name
    os.environ["PERSONA_AUDIT_VECTORS"] = str(Path(folder.name) / "vectors")
    os.environ.pop("PERSONA_AUDIT_CACHE_SIZE", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_KEY].cleanup()


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty cache, so that none leans on what another one generated."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("PERSONA_AUDIT_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def vectors_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a place of its own for the vectors that it keeps; nothing is there yet."""
    folder = tmp_path_factory.mktemp("kept") / "vectors"
    monkeypatch.setenv("PERSONA_AUDIT_VECTORS", str(folder))
    return folder
