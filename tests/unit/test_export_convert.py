"""`formats`: the same records in another container or shape; what has no place there is an error, never dropped."""

from __future__ import annotations

import datetime
import decimal
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import ConfigError, ExportError
from audit.export import ExportReceipt, export_run
from audit.export.formats import read_formats
from audit.samples import survey_source
from tests.datasets import chat, write_lines
from tests.fabricated import FakeRecord, make_run_over, scored


def convert(
    path: Path, name: str, formats: str, records: Sequence[FakeRecord] | None = None, **options: Any
) -> ExportReceipt:
    run = path.parent / f"{path.name}.audit"
    if not run.exists():
        make_run_over(run, [survey_source(str(path))], records)
    return export_run(run, output=path.parent / name, formats=[formats], **options)


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_names_are_checked() -> None:
    assert read_formats(["chat, parquet"]).shape == "chat"
    assert read_formats(["parquet", "chat", "parquet"]).container == "parquet"
    for given, finding in ((["yaml"], "'yaml' is not known"), (["chat,alpaca"], "names two record shapes")):
        with pytest.raises(ConfigError, match=finding):
            read_formats(given)


RECORDS = [
    {"prompt": "a\n", "completion": 'b, "c"', "n": 1, "big": 2**60, "extra": None},
    {"prompt": "", "completion": "😀", "n": 1.5, "tags": ["x"]},
    {"completion": "d", "prompt": "e", "n": None, "deep": {"a": {"b": [{"c": None, "d": 1}]}}},
]


def test_json_containers_keep_every_field(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", RECORDS)
    convert(tmp_path / "a.jsonl", "out.json", "json")
    assert json.loads((tmp_path / "out.json").read_bytes()) == RECORDS
    convert(tmp_path / "out.json", "back.jsonl", "jsonl")
    assert read_lines(tmp_path / "back.jsonl") == RECORDS
    convert(tmp_path / "a.jsonl", "none.json", "json", where="false")
    assert json.loads((tmp_path / "none.json").read_bytes()) == []


@pytest.mark.parametrize("container", ["parquet", "arrow"])
def test_text_becomes_a_table_of_one_schema_and_comes_back(
    tmp_path: Path, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.export.schemas.CHUNK_ROWS", 1)
    write_lines(tmp_path / "a.jsonl", RECORDS)
    convert(tmp_path / "a.jsonl", f"out.{container}", container)
    survey_source(str(tmp_path / f"out.{container}"))
    convert(tmp_path / f"out.{container}", "back.jsonl", "jsonl")
    keys = ["prompt", "completion", "n", "big", "extra", "tags", "deep"]
    expected = [{key: record.get(key) for key in keys} for record in RECORDS]
    # Arrow cannot tell a null inside an object from a field that is not there.
    expected[2]["deep"] = {"a": {"b": [{"d": 1}]}}
    back = read_lines(tmp_path / "back.jsonl")
    assert [list(record) for record in back] == [keys] * 3
    assert back == expected


def test_nulls_inside_structs_are_left_out_of_json(tmp_path: Path) -> None:
    rows = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "content": "4", "name": "f"},
        {"role": "assistant", "content": "Four."},
    ]
    pq.write_table(pa.Table.from_pylist([{"messages": rows, "extra": None}]), tmp_path / "a.parquet")
    convert(tmp_path / "a.parquet", "out.jsonl", "jsonl")
    rows[1].pop("content")
    assert read_lines(tmp_path / "out.jsonl") == [{"messages": rows, "extra": None}]
    assert b"null" in (tmp_path / "out.jsonl").read_bytes()


UTC_TIME = pa.timestamp("us", "UTC")


def table_with(value: Any, kind: pa.DataType) -> pa.Table:
    values = pa.array([value, value], type=kind)
    return pa.table({"prompt": ["a", "b"], "completion": ["c", "d"], "x": values})


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), UTC_TIME, "2026-01-02T03:04:05+00:00"),
        (datetime.date(2026, 1, 2), pa.date32(), "2026-01-02"),
        (datetime.timedelta(seconds=90), pa.duration("s"), 90.0),
        (decimal.Decimal("1.20"), pa.decimal128(5, 2), "1.20"),
        (float("nan"), pa.float64(), None),
        ([("k", 1)], pa.map_(pa.string(), pa.int64()), [["k", 1]]),
        ({"a": None, "b": 1}, pa.struct([("a", pa.string()), ("b", pa.int8())]), {"b": 1}),
        (["a", None], pa.list_(pa.string()), ["a", None]),
    ],
)  # fmt: skip
def test_values_of_tables_are_written_as_json_has_them(
    tmp_path: Path, value: Any, kind: pa.DataType, written: Any
) -> None:
    pq.write_table(table_with(value, kind), tmp_path / "a.parquet")
    convert(tmp_path / "a.parquet", "out.jsonl", "jsonl")
    assert [record["x"] for record in read_lines(tmp_path / "out.jsonl")] == [written, written]


@pytest.mark.parametrize(("value", "kind"), [(b"\xff", pa.binary()), (float("inf"), pa.float32())])
def test_values_without_a_counterpart_are_refused(tmp_path: Path, value: Any, kind: pa.DataType) -> None:
    pq.write_table(table_with(value, kind), tmp_path / "a.parquet")
    with pytest.raises(ExportError, match=r"a\.parquet:1: the field 'x' cannot be written to jsonl"):
        convert(tmp_path / "a.parquet", "out.jsonl", "jsonl")


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_csv_holds_texts_and_numbers_and_reads_back(tmp_path: Path, name: str, delimiter: str) -> None:
    records = [
        {"prompt": f'a{delimiter}"b"\r\nc', "completion": "", "n": 1, "is": True},
        {"prompt": " d\r", "completion": "e"},
    ]
    write_lines(tmp_path / "a.jsonl", records)
    convert(tmp_path / "a.jsonl", f"out.{name}", name, annotate=True)
    assert (tmp_path / f"out.{name}").read_text().splitlines()[0] == delimiter.join(
        ["prompt", "completion", "n", "is", "persona_audit"]
    )
    convert(tmp_path / f"out.{name}", "back.jsonl", "jsonl")
    back = read_lines(tmp_path / "back.jsonl")
    assert [json.loads(record.pop("persona_audit"))["sample_id"] for record in back] == [0, 1]
    assert back == [
        {"prompt": records[0]["prompt"], "completion": "", "n": "1", "is": "true"},
        {"prompt": " d\r", "completion": "e", "n": "", "is": ""},
    ]


def test_message_lists_have_no_place_in_csv(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [chat("a", "b")])
    with pytest.raises(ExportError, match=r"a\.jsonl:1: the field 'messages' cannot be written to csv: a list"):
        convert(tmp_path / "a.jsonl", "out.csv", "csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("chunk", [1, 2, 1000])
def test_fields_of_two_kinds_have_no_place_in_a_table(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.export.schemas.CHUNK_ROWS", chunk)
    records = [{"prompt": "a", "completion": "b", "x": value} for value in (None, 1, 2.5, "three")]
    write_lines(tmp_path / "a.jsonl", records)
    with pytest.raises(ExportError, match=r"a\.jsonl:4: the field 'x' is of another kind than before"):
        convert(tmp_path / "a.jsonl", "out.parquet", "parquet")
    write_lines(tmp_path / "b.jsonl", [{"prompt": "a", "completion": "b", "x": 2**70}])
    with pytest.raises(ExportError, match=r"b\.jsonl:1: the field 'x'"):
        convert(tmp_path / "b.jsonl", "out.parquet", "parquet")
    write_lines(tmp_path / "c.jsonl", [{"prompt": "a", "completion": "b", "x": {}}])
    with pytest.raises(ExportError, match=r"c\.jsonl: the field 'x' holds objects without fields only"):
        convert(tmp_path / "c.jsonl", "out.parquet", "parquet")


SYSTEM = chat("Hi", "Hello.", system="Be kind.")
SHAPES = {
    "chat": SYSTEM,
    "sharegpt": {
        "conversations": [
            {"from": "system", "value": "Be kind."},
            {"from": "human", "value": "Hi"},
            {"from": "gpt", "value": "Hello."},
        ]
    },
    "alpaca": {"instruction": "Hi", "input": "", "output": "Hello.", "system": "Be kind."},
    "prompt_completion": {"prompt": SYSTEM["messages"][:2], "completion": SYSTEM["messages"][2:]},
}


@pytest.mark.parametrize("target", sorted(SHAPES))
@pytest.mark.parametrize("given", sorted(SHAPES))
def test_a_shape_holds_the_conversation_and_nothing_else(tmp_path: Path, given: str, target: str) -> None:
    write_lines(tmp_path / "a.jsonl", [{**SHAPES[given], "id": 7}])
    convert(tmp_path / "a.jsonl", "out.jsonl", target)
    assert read_lines(tmp_path / "out.jsonl") == [SHAPES[target]]


def test_fields_that_the_user_named_are_found(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"dialogue": SYSTEM["messages"]}])
    source = survey_source(str(tmp_path / "a.jsonl"), format="chat", keys={"messages": "dialogue"})
    run = make_run_over(tmp_path / "a.audit", [source])
    export_run(run, output=tmp_path / "out.parquet", formats=["parquet", "sharegpt"], annotate=True)
    (row,) = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert row["conversations"] == SHAPES["sharegpt"]["conversations"]
    assert row["persona_audit"]["scores"]["evil"] == pytest.approx(0.1)


def test_what_a_shape_cannot_hold_is_an_error_that_names_the_record(tmp_path: Path) -> None:
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    write_lines(tmp_path / "a.jsonl", [pair, pair])
    with pytest.raises(
        ExportError, match=r"a\.jsonl:1: cannot be converted to chat: not_convertible: .*two sides.*--format"
    ):
        convert(tmp_path / "a.jsonl", "out.jsonl", "chat")
    assert not (tmp_path / "out.jsonl").exists()


MIXED = [
    scored(0.1),
    FakeRecord(reason="bad_json: no JSON"),
    FakeRecord(reason="bad_messages: x"),
    scored(0.9, flagged=["evil"]),
]


def mixed_lines(path: Path) -> Path:
    lines = [json.dumps(chat("a", "b")), "{broken", '{"messages": [1]}', json.dumps(chat("c", "d"))]
    path.write_text("\n".join(lines))
    return path


def test_kept_records_that_cannot_be_read_cannot_be_converted(tmp_path: Path) -> None:
    path = mixed_lines(tmp_path / "a.jsonl")
    with pytest.raises(
        ExportError, match=r"a\.jsonl:2: cannot be converted: bad_json: .*export without --keep-skipped"
    ):
        convert(path, "out.parquet", "parquet", MIXED, keep_skipped=True)


@pytest.mark.parametrize(
    ("formats", "suffix", "n_left_out"), [("json", "json", 1), ("sharegpt", "jsonl", 2), ("alpaca,csv", "csv", 2)]
)
def test_rejected_records_are_converted_too_and_what_cannot_be_is_counted(
    tmp_path: Path, formats: str, suffix: str, n_left_out: int
) -> None:
    path = mixed_lines(tmp_path / "a.jsonl")
    receipt = convert(path, f"out.{suffix}", formats, MIXED, rejected=tmp_path / f"rejected.{suffix}")
    assert (receipt.n_kept, receipt.n_rejected, receipt.n_left_out) == (1, 3, n_left_out)
    assert survey_source(str(tmp_path / f"rejected.{suffix}")).n_records == 3 - n_left_out
    assert "could not be converted" in Path(receipt.card).read_text()


def test_the_suffix_says_what_is_in_the_file(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [chat("a", "b")])
    for name, formats, cure in (
        (
            "out.jsonl",
            "parquet",
            r"would hold Parquet \(choose a name that ends in .parquet, or convert with --format jsonl",
        ),
        ("out.jsonl", "json", "would hold a JSON array"),
        ("out.parquet", "arrow,chat", "would hold Arrow"),
        ("out.csv", "chat", "would hold JSON lines like its input"),
    ):
        with pytest.raises(ExportError, match=cure):
            convert(tmp_path / "a.jsonl", name, formats)
    with pytest.raises(ExportError, match="would not be of the same kind"):
        convert(tmp_path / "a.jsonl", "out.arrow", "arrow", rejected=tmp_path / "rejected")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for n_records in (3_000, 9_000):
        path = tmp_path / f"{n_records}.jsonl"
        write_lines(path, (chat("Hi", "x" * 1_000) for _ in range(n_records)))
        make_run_over(tmp_path / f"{path.name}.audit", [survey_source(str(path))])
        tracemalloc.start()
        convert(path, f"{n_records}.parquet", "parquet", annotate=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
