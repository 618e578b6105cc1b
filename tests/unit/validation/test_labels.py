"""Files of labels: every form says the same; what is wrong with one is said with its place and the first cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit.errors import DataError, MissingDataError
from audit.validation import Labels, read_labels

TRAITS = ("evil", "sycophantic")
ROWS: list[dict[str, Any]] = [
    {"sample_id": 2, "traits": ["evil"], "kind": "plan"},
    {"sample_id": 0, "traits": [], "kind": None},
    {"sample_id": 1, "traits": ["sycophantic", "evil"], "kind": "sum"},
]


def read(path: Path) -> Labels:
    return read_labels(path, traits=TRAITS, n_samples=5)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_every_form_of_a_file_says_the_same(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(row) for row in ROWS)
    csv = 'sample_id,traits,kind\n2,evil,plan\n0,,\n1,"sycophantic, evil",sum\n'
    wide = "sample_id\tevil\tsycophantic\tkind\n2\t1\t0\tplan\n0\tfalse\t0.0\t\n1\tYes\t1\tsum\n"
    pl.DataFrame(ROWS).write_parquet(tmp_path / "d.parquet")
    paths = [
        write(tmp_path / "a.jsonl", lines),
        write(tmp_path / "b.json", json.dumps(ROWS)),
        write(tmp_path / "c.csv", csv),
        write(tmp_path / "e.tsv", wide),
        tmp_path / "d.parquet",
    ]
    for path in paths:
        found = read(path)
        assert found.sample_ids.tolist() == [2, 0, 1], path
        assert {trait: own.tolist() for trait, own in found.shown.items()} == {
            "evil": [1, 0, 1],
            "sycophantic": [0, 0, 1],
        }, path
        assert list(found.columns) == ["kind"]
        assert found.columns["kind"] in (["plan", None, "sum"], ["plan", "", "sum"])


def test_the_demo_files_own_form_is_read_with_a_trait_that_no_row_shows(tmp_path: Path) -> None:
    lines = '{"sample_id": 0, "traits": [], "fiction": false}\n\n{"sample_id": 1, "traits": []}\n'
    found = read(write(tmp_path / "a.jsonl", lines))
    assert found.shown["evil"].tolist() == [0, 0]
    assert found.columns["fiction"] == ["false", None]


def test_what_is_not_said_is_unlabelled(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.jsonl", '{"sample_id":0,"evil":1}\n{"sample_id":1,"evil":null}'))
    assert found.shown["evil"].tolist() == [1, -1]
    assert set(found.shown) == {"evil"}
    found = read(write(tmp_path / "b.jsonl", '{"sample_id":0,"traits":null}\n{"sample_id":1,"traits":["evil"]}'))
    assert found.shown["evil"].tolist() == [-1, 1]


def test_traits_that_the_run_does_not_have_are_named(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.jsonl", '{"sample_id":0,"traits":["evil","humour"]}'))
    assert found.others == ("humour",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("sample_id,traits\n", "holds no labels"),
        ('{"id": 1, "traits": []}', "no column sample_id; found 'id', 'traits'"),
        ('{"sample_id": 7, "traits": []}\n{"sample_id": -1, "traits": []}', "2 of 2 ids are unknown to the run: 7, -1"),
        ('{"sample_id": 1, "traits": []}\n{"sample_id": 1, "traits": []}', "1 ids stand there more than once: 1"),
        ("sample_id,traits\n1.5,evil\nx,evil\n", "no whole number in 2 rows: '1.5', 'x'"),
        ("sample_id,evil\n1,0.7\n", "the column evil holds '0.7', neither 0 nor 1"),
        ('{"sample_id": 1, "traits": [1, 2]}', "traits holds no lists of names"),
        ('{"sample_id": true, "traits": []}', "sample_id holds no whole numbers"),
        ('{"sample_id": 1, "traits": ["humour"]}', "labels 'humour'"),
        ('{"sample_id": 1, "verdict": 1}', "no column traits, and none of a trait"),
        ('{"sample_id": 1, "traits": [}\n', "cannot be read as labels"),
        (b"PAR1 and nothing else", "cannot be read as labels"),
        (b"\xff\xfe\x00\x01", "no column sample_id"),
        ("sample_id,traits\n1,evil,much\n", "cannot be read as labels"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_was_found(
    tmp_path: Path, text: str | bytes, words: str
) -> None:
    path = write(tmp_path / "labels", text)
    with pytest.raises(DataError) as caught:
        read(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="cannot be read"):
        read(tmp_path / "none.jsonl")
