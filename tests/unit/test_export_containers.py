"""What an export writes for each container: CSV, Arrow, directories of `save_to_disk`, compressed text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import ExportError
from audit.export import ExportReceipt, export_run
from audit.samples import Source, survey_source
from tests.datasets import chat
from tests.fabricated import FakeRecord, make_run_over, scored

KEEP_1_AND_3 = [scored(0.9, flagged=["evil"]), scored(0.1), scored(0.9, flagged=["evil"]), scored(0.1)]


def export(source: Source, output: Path, records: list[FakeRecord] | None = None, **options: Any) -> ExportReceipt:
    run = output.parent / f"{output.name}.audit"
    make_run_over(run, [source], records)
    return export_run(run, output=output, **options)


def write_csv(path: Path, text: str, encoding: str = "utf-8") -> Source:
    path.write_bytes(text.encode(encoding))
    return survey_source(str(path), format="prompt_completion")


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_csv_rows_keep_their_bytes_under_the_header(tmp_path: Path, delimiter: str) -> None:
    d = delimiter
    header = f'\r\n"prompt"{d}completion\r\n'
    rows = [f"a{d}b\r\n", f'"x ""{d}\n\r\ny"{d}  c\n\n', f'{d}""\r\n', f"d{d}'e'"]
    source = write_csv(tmp_path / "a.csv", "\ufeff" + header + "".join(rows))
    assert source.n_records == 4
    export(source, tmp_path / "out.csv", KEEP_1_AND_3, rejected=tmp_path / "rejected.csv")
    assert (tmp_path / "out.csv").read_bytes().decode() == "\ufeff" + header + rows[1] + rows[3]
    assert (tmp_path / "rejected.csv").read_bytes().decode() == "\ufeff" + header + rows[0] + rows[2]
    export(source, tmp_path / "all.csv", KEEP_1_AND_3, where="true", keep_skipped=True)
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def arrow_table(n: int = 4) -> pa.Table:
    messages = [chat("Hi", f"Answer {k}")["messages"] for k in range(n)]
    table = pa.table(
        {"messages": messages, "k": pa.array(range(n), pa.int16()), "kind": pa.array(["a"] * n).dictionary_encode()}
    )
    return table.replace_schema_metadata({"origin": "a test"})


@pytest.mark.parametrize("opening", [pa.ipc.new_file, pa.ipc.new_stream])
def test_an_arrow_file_stays_of_its_kind_with_schema_and_metadata(tmp_path: Path, opening: Any) -> None:
    table = arrow_table()
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, opening(sink, table.schema) as writer:
        for start in range(4):
            writer.write_table(table.slice(start, 1))
    source = survey_source(str(tmp_path / "a.arrow"))
    export(source, tmp_path / "out.arrow", KEEP_1_AND_3, rejected=tmp_path / "rejected.arrow")
    reading = pa.ipc.open_file if opening is pa.ipc.new_file else pa.ipc.open_stream
    for name, indices in (("out", [1, 3]), ("rejected", [0, 2])):
        with pa.memory_map(str(tmp_path / f"{name}.arrow")) as file:
            copied = reading(file).read_all()
            assert copied.schema.equals(table.schema, check_metadata=True)
            assert copied.to_pylist() == table.take(indices).to_pylist()


def saved_dataset(folder: Path) -> tuple[datasets.Dataset, Source]:
    records = [{**chat("Hi", f"Answer {k}"), "label": k % 2} for k in range(4)]
    dataset = datasets.Dataset.from_list(records).cast_column("label", datasets.ClassLabel(names=["bad", "good"]))
    dataset.info.description = "What it is."
    datasets.DatasetDict({"train": dataset, "test": dataset}).save_to_disk(
        str(folder), num_shards={"train": 3, "test": 1}
    )
    return dataset, survey_source(str(folder), split="train")


def test_a_saved_dataset_becomes_one_that_datasets_loads(tmp_path: Path) -> None:
    dataset, source = saved_dataset(tmp_path / "saved")
    receipt = export(source, tmp_path / "out", KEEP_1_AND_3, rejected=tmp_path / "rejected")
    assert receipt.outputs == (str(tmp_path / "out"),)
    for name, indices in (("out", [1, 3]), ("rejected", [0, 2])):
        loaded = datasets.load_from_disk(str(tmp_path / name))
        assert loaded.features == dataset.features
        assert list(loaded) == list(dataset.select(indices))
        assert loaded.info.description == "What it is."
        assert loaded.split == "train"
    assert not list(tmp_path.glob("*.part"))


def test_a_saved_dataset_is_converted_to_the_container_that_the_output_names(tmp_path: Path) -> None:
    dataset, source = saved_dataset(tmp_path / "saved")
    for name in ("out.jsonl", "out.json", "out.parquet", "out.arrow"):
        export(source, tmp_path / name, KEEP_1_AND_3)
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()] == list(
        dataset.select([1, 3])
    )
    assert json.loads((tmp_path / "out.json").read_bytes()) == list(dataset.select([1, 3]))
    assert datasets.Dataset.from_parquet(str(tmp_path / "out.parquet"), cache_dir=tmp_path).features == dataset.features
    assert datasets.Dataset.from_file(str(tmp_path / "out.arrow")).features == dataset.features


def test_an_earlier_saved_dataset_is_replaced_only_with_overwrite_and_nothing_else_is(tmp_path: Path) -> None:
    _, source = saved_dataset(tmp_path / "saved")
    run = make_run_over(tmp_path / "a.audit", [source])
    export_run(run, output=tmp_path / "out")
    with pytest.raises(ExportError, match="exists already"):
        export_run(run, output=tmp_path / "out")
    assert export_run(run, output=tmp_path / "out", where="false", overwrite=True).n_kept == 0
    assert len(datasets.load_from_disk(str(tmp_path / "out"))) == 0
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "letter").write_text("dear")
    with pytest.raises(ExportError, match="is a directory of something else"):
        export_run(run, output=tmp_path / "precious", overwrite=True)


def test_nothing_is_written_over_into_or_around_an_input(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    _, source = saved_dataset(tmp_path / "all" / "saved")
    run = make_run_over(tmp_path / "a.audit", [source])
    first = Path(source.files[0])
    for output, finding in (
        (first, "is an input"),
        (tmp_path / "all" / "saved", "is an input"),
        (first.parent, "holds an input"),
        (first.parent / "new.jsonl", "lies inside an input"),
        (tmp_path / "all" / "saved" / "new", "lies inside an input"),
        (tmp_path / "all", "holds an input"),
    ):
        with pytest.raises(ExportError, match=finding):
            export_run(run, output=output, overwrite=True)
        with pytest.raises(ExportError, match=finding):
            export_run(run, output=tmp_path / f"x{output.suffix}", rejected=output, overwrite=True)
    assert len(datasets.load_from_disk(str(tmp_path / "all" / "saved"))["train"]) == 4


def test_files_of_a_directory_may_differ_in_metadata_but_not_in_columns(tmp_path: Path) -> None:
    _, source = saved_dataset(tmp_path / "saved")
    table = datasets.Dataset.from_file(source.files[1]).data.table
    for name, other in (
        ("same", table.replace_schema_metadata({"fingerprint": "x"})),
        ("fewer", table.drop_columns("label")),
    ):
        with pa.OSFile(source.files[1], "wb") as sink, pa.ipc.new_stream(sink, other.schema) as writer:
            writer.write_table(other)
        run = make_run_over(tmp_path / f"{name}.audit", [survey_source(source.path, split="train")])
        if name == "same":
            export_run(run, output=tmp_path / name, annotate=True)
            assert datasets.load_from_disk(str(tmp_path / name))["label"][:] == [0, 1, 0, 1]
        else:
            with pytest.raises(ExportError, match="its files do not have the same columns"):
                export_run(run, output=tmp_path / name)
            assert not (tmp_path / name).exists()


def test_a_fingerprint_of_other_rows_is_not_copied(tmp_path: Path) -> None:
    described = {"info": {"features": {"prompt": {"dtype": "string", "_type": "Value"}}}, "fingerprint": "f00"}
    table = pa.table({"prompt": ["a"], "completion": ["b"]}).replace_schema_metadata(
        {"huggingface": json.dumps(described)}
    )
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    export(survey_source(str(tmp_path / "a.arrow")), tmp_path / "out.arrow")
    with pa.memory_map(str(tmp_path / "out.arrow")) as file:
        kept = json.loads(pa.ipc.open_stream(file).schema.metadata[b"huggingface"])
    assert kept == {"info": described["info"]}


def test_a_changed_file_of_a_directory_is_noticed(tmp_path: Path) -> None:
    _, source = saved_dataset(tmp_path / "saved")
    run = make_run_over(tmp_path / "a.audit", [source])
    path = Path(source.files[1])
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ExportError, match="has changed since the scan"):
        export_run(run, output=tmp_path / "out")


def write_lines(path: Path, n: int = 4) -> Source:
    path.write_text("".join(json.dumps(chat("Hi", f"Answer {k}")) + "\n" for k in range(n)))
    return survey_source(str(path))


def test_text_is_compressed_where_the_name_says_so_and_gzip_is_the_same_every_time(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.jsonl")
    receipt = export(source, tmp_path / "out.jsonl.gz")
    export(source, tmp_path / "again.jsonl.gz")
    packed = (tmp_path / "out.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "a.jsonl").read_bytes()
    assert packed == (tmp_path / "again.jsonl.gz").read_bytes()
    assert receipt.notices == ("LLaMA-Factory reads no compressed files: unpack out.jsonl.gz for it",)
    export(source, tmp_path / "out.jsonl.zst")
    with pa.input_stream(str(tmp_path / "out.jsonl.zst"), compression="zstd") as stream:
        assert stream.read() == (tmp_path / "a.jsonl").read_bytes()
    with pytest.raises(ExportError, match="Parquet is not compressed as a whole"):
        export(source, tmp_path / "out.parquet.gz", formats=["parquet"])


def test_several_inputs_are_named_after_themselves_and_converted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    _, saved = saved_dataset(tmp_path / "in" / "b")
    sources = [write_lines(tmp_path / "in" / "a.jsonl"), saved, write_lines(tmp_path / "in" / "a.json")]
    run = make_run_over(tmp_path / "a.audit", sources)
    export_run(run, output=tmp_path / "same")
    export_run(run, output=tmp_path / "tables", formats=["parquet"], annotate=True)
    export_run(run, output=tmp_path / "arrows", formats=["arrow,chat"])
    for folder, names in (
        ("same", ["a.json", "a.jsonl", "b"]),
        ("tables", ["a-2.parquet", "a.parquet", "b.parquet"]),
        ("arrows", ["a-2.arrow", "a.arrow", "b"]),
    ):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == names
    ids = [row["sample_id"] for row in pq.read_table(tmp_path / "tables" / "b.parquet")["persona_audit"].to_pylist()]
    assert ids == [4, 5, 6, 7]
