"""Dataset cards read as a Markdown reader does, and their loading lines run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import datasets
import pytest


def blocks(card: str, section: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a section, as a Markdown reader finds them."""
    found, opened, language, lines, heading = [], "", "", [], ""
    for line in card.splitlines():
        if not opened and (match := re.match(r"#+ (.*)", line)):
            heading = match[1]
        elif not opened and (match := re.match(r"(`{3,})(\w+)$", line)):
            opened, language, lines = match[1], match[2], []
        elif opened and line == opened:
            opened = ""
            if heading == section:
                found.append((language, "\n".join(lines)))
        elif opened:
            lines.append(line)
    assert not opened
    return found


def load_by_card(folder: Path, card: str, monkeypatch: pytest.MonkeyPatch) -> datasets.Dataset:
    """Run the loading lines of the card in its folder."""
    language, lines = blocks(card, "TRL")[0]
    assert language == "python"
    monkeypatch.chdir(folder)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    names: dict[str, Any] = {}
    exec(lines, names)
    dataset: datasets.Dataset = names["dataset"]
    return dataset
