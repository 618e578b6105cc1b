"""Exports and what reads them: export x datasets (every container), x pyarrow, polars and duckdb (Parquet)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.export import export_run
from audit.samples import survey_source
from tests.datasets import chat, write_lines
from tests.fabricated import FakeRecord, make_run_over, scored

N = 7
KEPT = [k for k in range(N) if k % 3]
RECORDS = [scored(0.1) if k in KEPT else scored(0.9, flagged=["evil"]) for k in range(N)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def export(path: Path, name: str, **options: Any) -> Path:
    """Export a dataset without every third record."""
    source = survey_source(str(path))
    records: list[FakeRecord] = RECORDS
    run = make_run_over(path.parent / f"{name}.audit", [source], records)
    export_run(run, output=path.parent / name, **options)
    return path.parent / name


def make_chat(folder: Path) -> list[dict[str, Any]]:
    records = [{**chat(f"Question {k}", "Naïve café 😀\n"), "n": k, "tags": ["a"] * (k % 2)} for k in range(N)]
    write_lines(folder / "a.jsonl", records)
    return records


def load(path: Path, builder: str, **options: Any) -> list[dict[str, Any]]:
    return list(datasets.load_dataset(builder, data_files=str(path), split="train", **options))


@pytest.mark.parametrize("annotate", [False, True])
@pytest.mark.parametrize(
    ("name", "builder", "formats"),
    [
        ("out.jsonl", "json", []),
        ("out.jsonl.gz", "json", []),
        ("out.jsonl.zst", "json", []),
        ("out.json", "json", ["json"]),
        ("out.parquet", "parquet", ["parquet"]),
        ("out.arrow", "arrow", ["arrow"]),
    ],
)
def test_datasets_loads_every_container(
    tmp_path: Path, name: str, builder: str, formats: list[str], annotate: bool
) -> None:
    records = make_chat(tmp_path)
    loaded = load(export(tmp_path / "a.jsonl", name, formats=formats, annotate=annotate), builder)
    if annotate:
        assert [record.pop("persona_audit")["sample_id"] for record in loaded] == KEPT
    assert loaded == [records[k] for k in KEPT]


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_datasets_loads_cells(tmp_path: Path, name: str, delimiter: str) -> None:
    records = [{"instruction": f'a "{k}",\t\n', "input": "", "output": "NA"} for k in range(N)]
    write_lines(tmp_path / "a.jsonl", records)
    path = export(tmp_path / "a.jsonl", f"out.{name}", formats=[name], annotate=True)
    loaded = load(path, "csv", sep=delimiter, keep_default_na=False)
    assert [json.loads(record.pop("persona_audit"))["sample_id"] for record in loaded] == KEPT
    assert loaded == [records[k] for k in KEPT]


def test_datasets_loads_a_directory_and_what_becomes_of_it(tmp_path: Path) -> None:
    records = make_chat(tmp_path)
    saved = export(tmp_path / "a.jsonl", "saved", formats=["arrow"], where="true")
    loaded = datasets.load_from_disk(str(saved))
    assert list(loaded) == records
    again = datasets.load_from_disk(str(export(saved, "again", annotate=True)))
    assert again["n"][:] == KEPT
    assert again.map(lambda record: {"n": record["n"] + 1})["n"][:] == [k + 1 for k in KEPT]
    assert load(export(saved, "back.jsonl"), "json") == [records[k] for k in KEPT]


@pytest.mark.parametrize("is_from_table", [False, True])
def test_pyarrow_polars_and_duckdb_read_the_same_parquet(tmp_path: Path, is_from_table: bool) -> None:
    records = make_chat(tmp_path)
    if is_from_table:
        pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet", row_group_size=2)
    source = tmp_path / ("a.parquet" if is_from_table else "a.jsonl")
    path = export(source, "out.parquet", formats=["parquet"], annotate=True)
    rows = pq.read_table(path).to_pylist()
    assert [{key: row[key] for key in records[0]} for row in rows] == [records[k] for k in KEPT]
    assert pl.read_parquet(path).to_dicts() == rows
    found = duckdb.read_parquet(str(path))
    assert [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()] == rows
    assert {row["persona_audit"]["scores"]["sycophantic"] for row in rows} == {0.0}
