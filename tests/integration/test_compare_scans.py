"""Scans compared with each other: the same one twice, one of other data, one at another layer.

Pairs covered: run-compare, compare-query.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from audit import ScanConfig, scan
from tests.datasets import chats, write_lines, write_vectors
from tests.models import model_path


def config(folder: Path, data: str, out: str, **options: object) -> ScanConfig:
    return ScanConfig(
        datasets=(str(folder / data),),
        model=str(model_path("llama")),
        vectors=(str(folder / "vectors"),),
        out=str(folder / out),
        evidence="off",
        max_new_tokens=4,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    records = chats(30)
    write_lines(folder / "old.jsonl", records)
    write_lines(folder / "new.jsonl", records[10:])
    write_vectors(folder / "vectors", model_path("llama"))
    return folder


def test_two_scans_of_the_same_data_with_the_same_settings_have_no_difference(folder: Path) -> None:
    first = scan(config(folder, "old.jsonl", "first"))
    # Other parts and budgets, which decide no score.
    second = scan(config(folder, "old.jsonl", "second", shard_rows=7, batch_tokens=64))
    values = first.compare(second)
    assert values["is_different"] is False
    assert all(row["largest_change"] in (None, 0.0) for row in values["traits"])
    assert first.compare(folder / "first")["is_different"] is False


def test_a_scan_of_other_data_or_at_another_layer_is_said_to_differ(folder: Path) -> None:
    old = scan(config(folder, "old.jsonl", "old"))
    new = scan(config(folder, "new.jsonl", "new"))
    values = old.compare(new)
    assert values["is_different"] is True
    assert values["counts"]["n_both"] in (None, 20)
    assert [row["unit"] for row in values["traits"]] == ["score"] * len(values["traits"])
    layer = new.manifest["vectors"][0]["layer"]
    other = scan(config(folder, "old.jsonl", "other", layer=layer - 1 or layer + 1))
    values = old.compare(other)
    assert {found["name"].split()[0] for found in values["differences"] if found["decides"]} == {"vector"}
    # Without a reference nothing has a z, so there is no scale that both have.
    assert [row["unit"] for row in values["traits"]] == [None] * len(values["traits"])
