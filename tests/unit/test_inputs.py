"""What a scan is told about its datasets reaches every one of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import datasets
import pytest

from audit.config import ScanConfig
from audit.errors import DataError
from audit.events import ignore_events
from audit.inputs import read_range, survey_inputs
from audit.samples import Sample

ROW = {"q": "a", "a": "b"}
LINE = json.dumps(ROW).encode() + b"\n"


def test_field_options_hold_for_every_dataset(tmp_path: Path) -> None:
    for name in ("one.jsonl", "two.jsonl"):
        (tmp_path / name).write_bytes(LINE)
    config = ScanConfig(datasets=(str(tmp_path / "*.jsonl"),), prompt_key="q", response_key="a")
    inputs = survey_inputs(config, ignore_events)
    samples = list(read_range(inputs, 0, 2, turns="all"))
    assert [s.turns[0].response for s in samples if isinstance(s, Sample)] == ["b", "b"]
    assert [sample.sample_id for sample in samples] == [0, 1]


def test_a_split_is_chosen_by_the_scan(tmp_path: Path) -> None:
    rows = {split: datasets.Dataset.from_list([{"prompt": "a", "completion": split}]) for split in ("train", "test")}
    datasets.DatasetDict(rows).save_to_disk(tmp_path / "saved")
    (source,) = survey_inputs(ScanConfig(datasets=(str(tmp_path / "saved"),), split="test"), ignore_events).sources
    assert source.split == "test"


def test_a_file_that_breaks_off_is_read_up_to_the_limit(tmp_path: Path) -> None:
    whole = gzip.compress(
        b"".join(json.dumps({"prompt": str(n * 7919), "completion": "b"}).encode() + b"\n" for n in range(20_000))
    )
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    path = str(tmp_path / "a.jsonl.gz")
    with pytest.raises(DataError, match="truncated"):
        survey_inputs(ScanConfig(datasets=(path,)), ignore_events)
    assert survey_inputs(ScanConfig(datasets=(path,), limit=5), ignore_events).n_records == 5
