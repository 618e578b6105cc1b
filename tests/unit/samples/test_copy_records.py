"""A copy keeps the kept records byte for byte, and trainers can load it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import DataError
from audit.samples import CopyCounts, Source, copy_records, read_records, survey_source


def survey(tmp_path: Path, data: bytes) -> Source:
    path = tmp_path / "data.json"
    path.write_bytes(data)
    return survey_source(str(path))


def copy(source: Source, *kept: int) -> tuple[bytes, bytes]:
    output, rejected = io.BytesIO(), io.BytesIO()
    counts = copy_records(source, set(kept), output, rejected)
    assert counts == CopyCounts(len(kept), source.n_records - len(kept))
    return output.getvalue(), rejected.getvalue()


A, B, C = (b'{"prompt":"a",  "completion": "%d"}' % n for n in range(3))


def test_a_line_takes_its_ending_and_the_blank_lines_after_it_along(tmp_path: Path) -> None:
    source = survey(tmp_path, b"\n" + A + b"\r\n \n" + b"broken\n\n" + C)
    assert copy(source, 0, 2) == (b"\n" + A + b"\r\n \n" + C, b"broken\n\n")
    assert copy(source, 1) == (b"\nbroken\n\n", A + b"\r\n \n" + C)


def test_the_byte_order_mark_goes_to_both_outputs(tmp_path: Path) -> None:
    source = survey(tmp_path, b"\xef\xbb\xbf" + A + b"\n" + B + b"\n")
    assert copy(source, 1) == (b"\xef\xbb\xbf" + B + b"\n", b"\xef\xbb\xbf" + A + b"\n")


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ((0, 1, 2), b"[\n  " + A + b" ,\n  " + B + b",  " + C + b"\n]\n"),
        ((1, 2), b"[\n  " + B + b",  " + C + b"\n]\n"),
        ((0, 2), b"[\n  " + A + b",  " + C + b"\n]\n"),
        ((2,), b"[\n  " + C + b"\n]\n"),
        ((), b"[\n  \n]\n"),
    ],
)
def test_an_array_stays_an_array_with_its_separators(tmp_path: Path, kept: tuple[int, ...], expected: bytes) -> None:
    source = survey(tmp_path, b"[\n  " + A + b" ,\n  " + B + b",  " + C + b"\n]\n")
    output, rejected = copy(source, *kept)
    assert output == expected
    assert len(json.loads(output)) + len(json.loads(rejected)) == 3


def test_an_array_that_breaks_off_is_not_copied_in_silence(tmp_path: Path) -> None:
    source = survey(tmp_path, b"[" + A + b", " + B + b', {"prompt": 1}]')
    Path(source.path).write_bytes(b"[" + A + b", " + B + b', {"prompt')
    with pytest.raises(DataError, match="not closed; 2 records come before"):
        copy(source, 0, 1)


def test_a_single_object_is_copied_or_not(tmp_path: Path) -> None:
    data = b'\n{\n"prompt": "a",\n"completion": "b"\n}\n'
    source = survey(tmp_path, data)
    assert copy(source, 0) == (data, b"")
    assert copy(source)[0].strip() == b""


def test_a_predicate_may_choose_and_rejected_records_may_be_dropped(tmp_path: Path) -> None:
    output = io.BytesIO()
    source = survey(tmp_path, b"\n".join([A, B, C]))
    assert copy_records(source, lambda index: index != 1, output) == CopyCounts(2, 1)
    assert output.getvalue() == A + b"\n" + C


def test_a_broken_stream_is_not_copied_in_silence(tmp_path: Path) -> None:
    data = pa.compress(b"\n".join([A] * 5000), codec="gzip", asbytes=True)
    source = survey(tmp_path, data)
    Path(source.path).write_bytes(data[:-10])
    with pytest.raises(DataError, match="truncated"):
        copy_records(source, range(5000), io.BytesIO())


def make_table() -> pa.Table:
    schema = pa.schema(
        [
            pa.field("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
            pa.field("weight", pa.float32(), metadata={"unit": "none"}),
            pa.field("kind", pa.dictionary(pa.int8(), pa.string())),
        ],
        metadata={"origin": "a test"},
    )
    rows = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": str(n)}], "weight": n / 7}
        for n in range(1000)
    ]
    rows[3] = {"messages": None, "weight": None}
    kinds = [{"kind": f"kind {n % 3}"} for n in range(1000)]
    return pa.Table.from_pylist([row | kind for row, kind in zip(rows, kinds, strict=True)], schema=schema)


@pytest.mark.parametrize("compression", ["zstd", "gzip", "snappy", "none", {"weight": "gzip", "kind": "none"}])
@pytest.mark.parametrize("compliant", [True, False])
def test_a_table_keeps_values_schema_metadata_and_compression(
    tmp_path: Path, compression: str, compliant: bool
) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(make_table(), path, row_group_size=300, compression=compression, use_compliant_nested_type=compliant)
    table = pq.read_table(path)
    source = survey_source(str(path))
    dropped = {0, 3, 299, 300, 700, *range(600, 690)}
    with open(tmp_path / "kept", "wb") as output, open(tmp_path / "rejected", "wb") as rejected:
        counts = copy_records(source, lambda index: index not in dropped, output, rejected)
    assert counts == CopyCounts(1000 - len(dropped), len(dropped))
    for name, indices in (("kept", [i for i in range(1000) if i not in dropped]), ("rejected", sorted(dropped))):
        copied = pq.read_table(tmp_path / name)
        assert copied.schema.equals(table.schema, check_metadata=True)
        assert copied.to_pylist() == table.take(indices).to_pylist()
    before, after = (pq.read_metadata(name) for name in (path, tmp_path / "kept"))
    assert after.schema.equals(before.schema)
    assert after.num_row_groups == before.num_row_groups
    for column in range(before.num_columns):
        assert after.row_group(0).column(column).compression == before.row_group(0).column(column).compression


def test_a_table_copied_whole_or_not_at_all_stays_a_table(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(make_table(), path)
    table = pq.read_table(path)
    output, rejected = io.BytesIO(), io.BytesIO()
    copy_records(survey_source(str(path)), range(1000), output, rejected)
    assert pq.read_table(pa.BufferReader(output.getvalue())).equals(table)
    assert pq.read_table(pa.BufferReader(rejected.getvalue())).num_rows == 0


@pytest.mark.parametrize("name", ["identity-shift-aoa.jsonl", "alpaca-eval-alpaca-7b.json"])
def test_datasets_loads_a_copy(tmp_path: Path, name: str) -> None:
    source = survey_source(str(Path(__file__).parents[2] / "data" / name))
    with open(tmp_path / "copy.json", "wb") as output:
        copy_records(source, {1, 3, 4}, output)
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "copy.json"), split="train", cache_dir=str(tmp_path / "cache")
    )
    records = [json.loads(record.raw) for record in read_records(source)]
    assert list(loaded) == [records[1], records[3], records[4]]
