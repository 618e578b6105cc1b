"""Patterns stand for the datasets they match, in order; everything else is a path as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from audit.errors import MissingDataError
from audit.samples import locate_datasets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.jsonl", "a.jsonl", "c.csv", "deep/er/d.jsonl", "saved/state.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_pattern_stands_for_what_it_matches_in_order(folder: Path) -> None:
    assert locate_datasets(["c.csv", "*.jsonl", "a.jsonl"]) == ["c.csv", "a.jsonl", "b.jsonl", "a.jsonl"]
    assert locate_datasets(["[ab].jsonl", "?.csv"]) == ["a.jsonl", "b.jsonl", "c.csv"]
    assert locate_datasets([str(folder / "*.csv")]) == [str(folder / "c.csv")]


def test_two_stars_cross_directories(folder: Path) -> None:
    assert locate_datasets(["**/*.jsonl"]) == ["a.jsonl", "b.jsonl", "deep/er/d.jsonl"]


def test_directories_are_matched_only_where_they_are_datasets(folder: Path) -> None:
    assert locate_datasets(["*e*"]) == ["saved"]


def test_a_file_of_that_very_name_wins_over_the_pattern(folder: Path) -> None:
    (folder / "a*.jsonl").write_text("{}")
    assert locate_datasets(["a*.jsonl"]) == ["a*.jsonl"]


def test_paths_that_are_no_patterns_stay_whether_they_exist_or_not(folder: Path) -> None:
    assert locate_datasets(["-", "absent.jsonl", "org/name:config"]) == ["-", "absent.jsonl", "org/name:config"]


def test_a_pattern_that_matches_nothing_is_an_error(folder: Path) -> None:
    with pytest.raises(MissingDataError, match=r"\*\.parquet: no file matches this pattern \(.*working directory"):
        locate_datasets(["*.parquet"])
    os.makedirs("empty.jsonl")
    with pytest.raises(MissingDataError):
        locate_datasets(["empty*"])
