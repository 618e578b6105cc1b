"""Arrow files and directories of `save_to_disk` are read like any other table, whatever wrote them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import ConfigError, DataError, MissingDataError
from audit.samples import Sample, SkippedSample, Source, hash_source, read_sample_at, read_samples, survey_source
from audit.samples.tables import open_table


def pairs(names: Iterable[object]) -> list[dict[str, Any]]:
    return [{"prompt": "a", "completion": str(name)} for name in names]


def write_arrow(
    path: Path, table: pa.Table, kind: str = "file", *, compression: str | None = None, rows: int = 3
) -> str:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return str(path)


def save(dataset: Any, path: Path, **options: Any) -> str:
    dataset.save_to_disk(path, **options)
    return str(path)


def responses(source: Source) -> list[str]:
    return [s.turns[0].response if isinstance(s, Sample) else s.reason.partition(":")[0] for s in read_samples(source)]


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize("kind", ["file", "stream"])
def test_both_arrow_formats_are_known_by_their_content(tmp_path: Path, kind: str, compression: str | None) -> None:
    path = write_arrow(tmp_path / "data.bin", pa.Table.from_pylist(pairs(range(8))), kind, compression=compression)
    source = survey_source(path)
    assert (source.container, source.n_records, source.format) == ("arrow", 8, "prompt_completion")
    assert responses(source) == [*"01234567"]
    whole = list(read_samples(source))
    for start in range(9):
        for stop in range(start, 10):
            assert list(read_samples(source, start=start, stop=stop)) == whole[start:stop]
    assert [sample.place.line for sample in whole] == list(range(1, 9))
    assert [read_sample_at(source, sample.place, sample_id=sample.sample_id) for sample in whole] == whole


def test_an_arrow_row_that_is_no_utf8_is_skipped_alone(tmp_path: Path) -> None:
    texts = pa.array([b"one", b"\xff", b"two"]).view(pa.string())
    nested = pa.StructArray.from_arrays([pa.array(["a"] * 3), texts], ["role", "content"])
    table = pa.table({"prompt": ["a"] * 3, "completion": texts, "extra": nested})
    assert responses(survey_source(write_arrow(tmp_path / "a.arrow", table))) == ["one", "undecodable", "two"]


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_a_damaged_arrow_file_is_an_error_and_no_crash(tmp_path: Path, kind: str) -> None:
    data = Path(write_arrow(tmp_path / "a.arrow", pa.Table.from_pylist(pairs(range(8))), kind)).read_bytes()
    (tmp_path / "a.arrow").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"a\.arrow: cannot be read as Arrow.*write the file again"):
        survey_source(str(tmp_path / "a.arrow"))


def test_offsets_that_lead_out_of_the_file_are_an_error_and_no_crash(tmp_path: Path) -> None:
    offsets = b"".join(offset.to_bytes(4, "little") for offset in (0, 2**30, 2))
    texts = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(b"ab")])
    with pytest.raises(DataError, match="cannot be read as Arrow"):
        survey_source(write_arrow(tmp_path / "a.arrow", pa.table({"prompt": texts, "completion": texts})))


@pytest.mark.parametrize("container", ["parquet", "arrow"])
def test_objects_that_datasets_keeps_as_json_are_read_as_objects(tmp_path: Path, container: str) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "tool_calls": [call]}]
    dataset = datasets.Dataset.from_dict({"messages": [messages, messages[:1]]}, on_mixed_types="use_json")
    assert "arrow.json" in str(dataset.data.schema)
    path = str(tmp_path / "data")
    if container == "parquet":
        dataset.to_parquet(path)
    else:
        save(dataset, tmp_path / "data")
    first, second = read_samples(survey_source(path))
    assert isinstance(first, Sample)
    assert (first.turns[0].response, '"f"' in first.turns[0].message.tool_calls) == ("b", True)
    assert isinstance(second, SkippedSample)


def test_a_saved_dataset_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    chosen = datasets.Dataset.from_list(pairs(range(20))).select([3, 1, 19, 7])
    path = save(chosen, tmp_path / "saved", num_shards=3)
    source = survey_source(path)
    assert (source.path, source.container, source.split, len(source.files)) == (path, "arrow", "", 3)
    assert responses(source) == ["3", "1", "19", "7"]
    assert list(read_samples(source))[2].place.source == path
    assert hash_source(source) == source.sha256
    os.truncate(source.files[1], 100)
    assert hash_source(source) != source.sha256
    os.remove(source.files[1])
    with pytest.raises(MissingDataError, match=r"data-00001-of-00003\.arrow: cannot be read"):
        hash_source(source)


def test_of_several_splits_one_has_to_be_chosen(tmp_path: Path) -> None:
    one, two = (datasets.Dataset.from_list(pairs(names)) for names in ("ab", "cde"))
    path = save(datasets.DatasetDict(train=one, test=two), tmp_path / "saved")
    with pytest.raises(DataError, match=r"several splits: train, test \(choose one with --split NAME\)"):
        survey_source(path)
    with pytest.raises(DataError, match="no split 'dev'; it has train, test"):
        survey_source(path, split="dev")
    source = survey_source(path, split="test")
    assert (source.split, responses(source)) == ("test", ["c", "d", "e"])
    assert "split test" in source.description
    alone = save(datasets.DatasetDict(train=one), tmp_path / "alone")
    assert survey_source(alone).split == "train"
    with pytest.raises(DataError, match="has no splits"):
        survey_source(f"{path}/train", split="test")


def test_a_file_has_no_splits(tmp_path: Path) -> None:
    path = write_arrow(tmp_path / "a.arrow", pa.Table.from_pylist(pairs("a")))
    with pytest.raises(ConfigError, match=r"--split.*has no splits"):
        survey_source(path, split="train")


def test_a_registry_of_files_is_no_saved_dataset(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"mine": {"file_name": "a.jsonl"}}')
    (tmp_path / "a.jsonl").write_text(json.dumps(pairs("a")[0]))
    with pytest.raises(DataError, match="a directory, not a file"):
        survey_source(str(tmp_path))


def test_a_saved_dataset_that_is_damaged_is_refused_with_the_place(tmp_path: Path) -> None:
    path = save(datasets.Dataset.from_list(pairs("ab")), tmp_path / "saved")
    state = json.loads(Path(path, "state.json").read_text())
    for damage, finding in (
        ({"_data_files": [{"filename": "gone.arrow"}]}, r"gone\.arrow: no such file"),
        ({"_data_files": None}, "names no Arrow file"),
        ({"_indices_data_files": [{"filename": "indices.arrow"}]}, "indices file.*flatten_indices"),
    ):
        Path(path, "state.json").write_text(json.dumps({**state, **damage}))
        with pytest.raises(DataError, match=finding):
            survey_source(path)
    Path(path, "state.json").write_text("{")
    with pytest.raises(DataError, match=r"state\.json: cannot be read"):
        survey_source(path)
    shutil.rmtree(path)
    with pytest.raises(MissingDataError):
        survey_source(path)


def test_any_row_group_and_any_batch_is_read_in_small_batches(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(pairs(range(1000)))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000)
    for path, container in (
        (str(tmp_path / "a.parquet"), "parquet"),
        (write_arrow(tmp_path / "a.arrow", table, rows=1000), "arrow"),
    ):
        with open_table((path,), container) as opened:
            assert (opened.n_rows, opened.schema.names) == (1000, ["prompt", "completion"])
            batches = list(opened.read_batches(300, 900))
        assert all(batch.num_rows <= 256 for _, batch in batches)
        first = 300
        for start, batch in batches:
            assert start == first
            first += batch.num_rows
        assert first == 900
        assert [row for _, batch in batches for row in batch.to_pylist()] == pairs(range(300, 900))


def test_a_row_group_of_a_whole_file_is_not_held_at_once(tmp_path: Path) -> None:
    texts = [f"{n}" * 2000 for n in range(10_000)]
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"prompt": texts, "completion": texts}), path, compression="none", use_dictionary=False)
    before_bytes = most_bytes = pa.total_allocated_bytes()
    with open_table((path,), "parquet") as table:
        for _ in table.read_batches(0, table.n_rows):
            most_bytes = max(most_bytes, pa.total_allocated_bytes())
    assert most_bytes - before_bytes < os.path.getsize(path) / 5
