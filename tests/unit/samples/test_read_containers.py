"""Every record of every container is accounted for, at the place where it lies."""

from __future__ import annotations

import gzip
import json
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import DataError, RecordError
from audit.samples import Sample, SkippedSample, read_records, read_sample_at, read_samples, survey_source


def pair(response: str) -> dict[str, Any]:
    return {"prompt": "a", "completion": response}


def compact(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


def write(tmp_path: Path, data: bytes, name: str = "data.jsonl") -> str:
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def read(path: str, **options: Any) -> list[str]:
    """The response of each record, or the code of the reason why it has none."""
    samples = read_samples(survey_source(path), **options)
    return [s.turns[0].response if isinstance(s, Sample) else s.reason.partition(":")[0] for s in samples]


def compress(data: bytes, codec: str) -> bytes:
    if codec == "none":
        return data
    return gzip.compress(data) if codec == "gzip" else pa.compress(data, codec="zstd", asbytes=True)


MIXED = (
    compact(pair("one")) + "\r\n"
    "\n"
    '  {"prompt": "a", "completion": \n'
    + compact(pair("two ✓ \u2028 \x85")) + "\n \t\r\n"
    '{"other": 1}\n'
    "[1]\n"
    + '[' * 100_000 + "\n"
    + '{"prompt": ' + "9" * 5000 + "}\n"
    '{"prompt": "a", "completion": "NUL \x00"}\n'
    + compact(pair("last"))
)  # fmt: skip
MIXED_CODES = ["one", "bad_json", "two ✓ \u2028 \x85", "no_shape", "no_shape", *["bad_json"] * 3, "last"]
MIXED_LINES = [1, 3, 4, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")],
)
def test_lines_are_read_where_they_lie_whatever_else_is_broken(
    tmp_path: Path, encoding: str, mark: bytes, codec: str
) -> None:
    text = mark + MIXED.encode(encoding)
    path = write(tmp_path, compress(text, codec))
    assert read(path) == MIXED_CODES
    source = survey_source(path)
    samples = list(read_samples(source, first_id=100))
    assert [sample.sample_id for sample in samples] == list(range(100, 109))
    assert [sample.place.line for sample in samples] == MIXED_LINES
    for sample, record in zip(samples, read_records(source), strict=True):
        offset, length = sample.place.byte_offset, sample.place.byte_length
        assert offset is not None
        assert length is not None
        assert text[offset : offset + length] == record.raw
        assert read_sample_at(source, sample.place, sample_id=sample.sample_id) == sample
    assert samples[0].place.byte_length == len(compact(pair("one")).encode(encoding))


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("indent", [None, 2])
def test_array_elements_are_read_where_they_lie(tmp_path: Path, encoding: str, codec: str, indent: int | None) -> None:
    records = [pair('x"]},{[\\'), pair("é✓😀"), {"n": [[], {}]}, 5, pair("last")]
    text = (" \n" + json.dumps(records, indent=indent, ensure_ascii=False) + "\n ").encode(encoding)
    path = write(tmp_path, compress(text, codec), "data.json")
    assert read(path) == ['x"]},{[\\', "é✓😀", "no_shape", "no_shape", "last"]
    source = survey_source(path)
    assert [record.line for record in read_records(source)] == [1, 2, 3, 4, 5]
    for sample, record in zip(read_samples(source), records, strict=True):
        offset, length = sample.place.byte_offset, sample.place.byte_length
        assert offset is not None
        assert length is not None
        named = "utf-8" if encoding == "utf-8" else source.encoding
        assert json.loads(text[offset : offset + length].decode(named)) == record
        assert read_sample_at(source, sample.place, sample_id=sample.sample_id) == sample


def test_a_broken_element_leaves_the_others_alone(tmp_path: Path) -> None:
    array = f'[{compact(pair("one"))}, {{"prompt": }}, }}, tru, {compact(pair("two"))},]'
    assert read(write(tmp_path, array.encode())) == ["one", "bad_json", "bad_json", "bad_json", "two"]


@pytest.mark.parametrize("rest", [', {"prompt": "br', ', {"prompt": "br"', ', {"prompt": "br"}', ",", ""])
def test_an_array_that_breaks_off_is_refused_and_can_be_read_up_to_there(tmp_path: Path, rest: str) -> None:
    path = write(tmp_path, f"[{compact(pair('one'))}, {compact(pair('two'))}{rest}".encode())
    with pytest.raises(DataError, match=r"array is not closed; \d records? comes? before.*--limit \d"):
        survey_source(path)
    source = survey_source(path, limit=1)
    assert [sample.turns[0].message.content for sample in read_samples(source) if isinstance(sample, Sample)] == ["one"]


def test_an_undecodable_line_is_skipped_with_its_line_number(tmp_path: Path) -> None:
    good = compact(pair("one")).encode()
    path = write(tmp_path, good + b'\n\n{"prompt": "\xff"}\n' + good)
    skipped = next(s for s in read_samples(survey_source(path)) if isinstance(s, SkippedSample))
    assert (skipped.place.line, skipped.format, skipped.reason) == (
        3,
        None,
        "undecodable: byte 13 of 15 is not UTF-8 (invalid start byte)",
    )


def test_half_a_code_unit_at_the_end_is_undecodable(tmp_path: Path) -> None:
    data = b"\xff\xfe" + (compact(pair("one")) + "\n{").encode("utf-16-le") + b"x"
    assert read(write(tmp_path, data)) == ["one", "undecodable"]


def test_a_byte_order_mark_before_a_later_line_is_read_over(tmp_path: Path) -> None:
    good = compact(pair("one")).encode()
    assert read(write(tmp_path, good + b"\n\xef\xbb\xbf" + good)) == ["one", "one"]


def test_strict_reading_stops_at_the_first_bad_record_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, MIXED.encode())
    samples = read_samples(survey_source(path), strict=True)
    assert isinstance(next(samples), Sample)
    with pytest.raises(RecordError, match=r"data\.jsonl:3: bad_json: .*--strict"):
        next(samples)


def test_a_range_is_the_same_part_of_the_whole(tmp_path: Path) -> None:
    array = json.dumps([pair(str(n)) for n in range(7)]).encode()
    table = str(tmp_path / "data.parquet")
    pq.write_table(pa.Table.from_pylist([pair(str(n)) for n in range(7)]), table, row_group_size=3)
    for path in (write(tmp_path, array, "a.json"), write(tmp_path, b"\n".join(array[1:-1].split(b", {"))), table):
        source = survey_source(path)
        whole = list(read_samples(source, first_id=5))
        for start in range(8):
            for stop in range(start, 9):
                assert list(read_samples(source, first_id=5, start=start, stop=stop)) == whole[start:stop]
        assert list(read_samples(source, first_id=5, only={1, 4, 6})) == [whole[1], whole[4], whole[6]]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_truncated_stream_is_an_error_that_says_how_far_it_got(tmp_path: Path, codec: str) -> None:
    data = "".join(compact(pair(f"{n * 7919 % 10007} {n}")) + "\n" for n in range(20_000)).encode()
    whole = compress(data, codec)
    path = write(tmp_path, whole[: len(whole) * 3 // 4])
    with pytest.raises(DataError, match=rf"{codec} stream is truncated; [\d,]+ records come before") as caught:
        survey_source(path)
    n_before = int(caught.value.cure.split()[-1])
    assert 1000 < n_before < 20_000
    source = survey_source(path, limit=n_before)
    assert len(list(read_samples(source))) == n_before
    with pytest.raises(DataError, match="truncated"):
        list(read_records(source))


def test_a_corrupt_stream_is_an_error(tmp_path: Path) -> None:
    data = gzip.compress((compact(pair("one")) + "\n").encode() * 3)
    with pytest.raises(DataError, match=r"gzip stream is corrupt.*3 records come before"):
        survey_source(write(tmp_path, data[:-8] + bytes(8)))


def test_a_file_that_shrank_since_the_survey_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, (compact(pair("one")) + "\n").encode() * 3)
    source = survey_source(path)
    last = list(read_samples(source))[-1]
    write(tmp_path, (compact(pair("one")) + "\n").encode())
    with pytest.raises(DataError, match="fewer records"):
        list(read_samples(source))
    with pytest.raises(DataError, match="gone"):
        read_sample_at(source, last.place, sample_id=2)


def test_nested_messages_are_read_from_a_table(tmp_path: Path) -> None:
    path = str(tmp_path / "data.parquet")
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "n": 1}
    call = {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}], "n": 2}
    pq.write_table(pa.Table.from_pylist([chat, {"messages": None, "n": 3}, call]), path)
    source = survey_source(path)
    assert (source.container, source.n_records, source.format) == ("parquet", 3, "chat")
    first, second, third = read_samples(source, keep_columns=("n",))
    assert isinstance(first, Sample)
    assert (first.turns[0].response, first.kept, first.place.byte_offset) == ("b", {"n": 1}, None)
    assert isinstance(second, SkippedSample)
    assert (second.reason.partition(":")[0], second.place.line) == ("no_shape", 2)
    assert isinstance(third, Sample)
    assert third.turns[0].response == ""
    assert read_sample_at(source, third.place, sample_id=2, keep_columns=("n",)) == third


def test_a_table_row_that_is_no_utf8_is_skipped_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "data.parquet")
    texts = pa.array([b"one", b"\xff", b"two"]).view(pa.string())
    pq.write_table(pa.table({"prompt": ["a"] * 3, "completion": texts}), path)
    assert read(path) == ["one", "undecodable", "two"]


def test_a_damaged_table_is_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "data.parquet")
    pq.write_table(pa.table({"prompt": ["a" * 500], "completion": ["b" * 500]}), path, compression="none")
    data = Path(path).read_bytes()
    write(tmp_path, data[:4] + b"\xff" * 60 + data[64:], "data.parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(read_samples(survey_source(path)))


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_memory_is_bounded_by_the_record_and_not_by_the_file(tmp_path: Path) -> None:
    record = compact(pair("x" * 2000)) + "\n"
    with gzip.open(tmp_path / "data.jsonl", "wb", compresslevel=1) as file:
        for _ in range(50):
            file.write(record.encode() * 1000)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = survey_source(str(tmp_path / "data.jsonl"))
    assert sum(1 for _ in read_samples(source)) == 50_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 30 * 1024


@pytest.mark.parametrize(("container", "n_repeats"), [("lines", 10_000_000), ("array", 1_000_000)])
def test_a_record_of_fifty_megabytes_is_read(tmp_path: Path, container: str, n_repeats: int) -> None:
    long = compact(pair('\\"x' * n_repeats))
    text = f"{long}\n{compact(pair('one'))}\n" if container == "lines" else f"[{long}, {compact(pair('one'))}]"
    path = write(tmp_path, text.encode())
    samples = list(read_samples(survey_source(path)))
    assert [len(s.turns[0].response) for s in samples if isinstance(s, Sample)] == [3 * n_repeats, 3]


@pytest.mark.parametrize("opening", [b"x", b"["])
def test_a_record_without_end_is_an_error_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: bytes
) -> None:
    for module in ("lines", "window"):
        monkeypatch.setattr(f"audit.samples.{module}.RECORD_BYTES", 1_000_000)
    with pytest.raises(DataError, match="longer than 1,000,000 bytes"):
        survey_source(write(tmp_path, gzip.compress(opening + b"x" * 5_000_000)))


@pytest.fixture
def small_stack() -> Iterator[None]:
    previous = threading.stack_size(512 * 1024)
    yield
    threading.stack_size(previous)


def test_deep_nesting_does_not_crash_a_worker_with_a_small_stack(tmp_path: Path, small_stack: None) -> None:
    text = (
        compact(pair("one"))
        + "\n"
        + '{"a":' * 50_000
        + "\n"
        + '{"prompt": "a", "completion": '
        + "[" * 900
        + "]" * 900
        + "}"
    )
    path = write(tmp_path, text.encode())
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(read(path)))
    thread.start()
    thread.join()
    assert found == ["one", "bad_json", "bad_messages"]
