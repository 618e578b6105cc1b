"""Settings are checked when they are made, and say what they refuse."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from audit.config import ScanConfig, dataset_stem
from audit.errors import ConfigError


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("datasets", ()),
        ("format", "xml"),
        ("turns", "first"),
        ("baseline_by", "hash"),
        ("dtype", "int8"),
        ("layer", 0),
        ("max_new_tokens", 0),
        ("max_tokens", 1),
        ("shard_rows", 0),
        ("shard_rows", 1001),
        ("batch_tokens", 0),
        ("limit", 0),
        ("seed", -1),
        ("traits", ("Evil",)),
        ("traits", ("line",)),
        ("keep_columns", ("a\nb",)),
        ("keep_columns", ("line",)),
    ],
)
def test_a_value_that_cannot_work_is_refused(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError):
        ScanConfig(**{"datasets": ("a.jsonl",), setting: value})


def test_the_demo_model_has_no_revision() -> None:
    with pytest.raises(ConfigError, match="--revision"):
        ScanConfig(datasets=("a.jsonl",), revision="main")


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a/b.jsonl", "b"),
        ("b.jsonl.gz", "b"),
        ("b.JSON.zst", "b"),
        ("b.v2.parquet", "b.v2"),
        ("noext", "noext"),
        (".jsonl", ".jsonl"),
    ],
)
def test_the_run_is_named_after_the_dataset(path: str, stem: str) -> None:
    assert dataset_stem(path) == stem
    assert ScanConfig(datasets=(path,)).run_path.name == f"{stem}.audit"


def test_settings_are_frozen() -> None:
    config = ScanConfig(datasets=("a.jsonl",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]


def test_where_a_run_lies_is_not_compared_but_what_decides_scores_is() -> None:
    one = ScanConfig(datasets=("a.jsonl",), out="x", fresh=True)
    assert one.compared() == ScanConfig(datasets=("a.jsonl",), out="y").compared()
    assert one.compared() != ScanConfig(datasets=("a.jsonl",), seed=1).compared()
    assert one.compared() != ScanConfig(datasets=("a.jsonl",), orthogonal=True).compared()


def test_one_path_is_not_taken_for_a_list_of_letters_and_paths_are_accepted() -> None:
    with pytest.raises(ConfigError, match="is one path"):
        ScanConfig(datasets="a.jsonl")  # type: ignore[arg-type]
    config = ScanConfig(datasets=(Path("a.jsonl"),), reference=Path("clean.audit"))  # type: ignore[arg-type]
    assert (config.datasets, config.reference) == (("a.jsonl",), "clean.audit")


@pytest.mark.parametrize("columns", [("Source",), ("id", "ID")])
def test_sql_ignores_case_in_column_names(columns: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="--keep-columns"):
        ScanConfig(datasets=("a.jsonl",), keep_columns=columns)


@pytest.mark.parametrize(
    ("options", "is_here"),
    [
        ({}, True),
        ({"baseline": "prompt"}, True),
        ({"baseline": "none"}, False),
        ({"baseline": "ready.jsonl"}, False),
        ({"baseline_server": "http://localhost:8000"}, False),
    ],
)
def test_a_model_answers_here_unless_a_server_or_a_file_does(options: dict[str, Any], is_here: bool) -> None:
    assert ScanConfig(datasets=("a.jsonl",), **options).generates_here == is_here


def test_that_a_server_answers_is_compared_and_where_it_stands_is_not() -> None:
    here, there = (ScanConfig(datasets=("a.jsonl",), baseline_server=f"http://{host}") for host in "ab")
    assert here.compared() == there.compared() != ScanConfig(datasets=("a.jsonl",)).compared()
