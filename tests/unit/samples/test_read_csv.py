"""A CSV is read as its writer meant it: quotes, line breaks and all, each row at the bytes where it lies."""

from __future__ import annotations

import csv
import gzip
import io
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from audit.errors import DataError
from audit.samples import Sample, SkippedSample, read_records, read_sample_at, read_samples, survey_source

ROWS = [
    ("plain", "one"),
    ('with, comma; tab\t and "quotes"', "two\r\nlines\n\nand a blank one"),
    ("", "no prompt ✓ 😀 \u2028 \x85"),
    ('quote in the middle 5" wide', "three"),
]


def table(
    rows: list[tuple[str, ...]], delimiter: str = ",", ending: str = "\r\n", quoting: int = csv.QUOTE_MINIMAL
) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows(rows)
    return text.getvalue()


def write(tmp_path: Path, data: bytes | str, name: str = "data.csv") -> str:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def read(path: str, **options: Any) -> list[str]:
    """The response of each record, or the code of the reason why it has none."""
    samples = read_samples(survey_source(path, **options))
    return [s.turns[0].response if isinstance(s, Sample) else s.reason for s in samples]


@pytest.mark.parametrize("codec", ["", ".gz", ".zst"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("delimiter", "name"), [(",", "a.csv"), (";", "a.CSV"), ("|", "a.csv"), ("\t", "a.csv"), ("\t", "a.tsv")]
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_rows_are_what_was_written_at_the_bytes_where_they_lie(
    tmp_path: Path, codec: str, encoding: str, delimiter: str, name: str, ending: str
) -> None:
    text = table([("prompt", "completion"), *ROWS], delimiter, ending).encode(encoding)
    packed = {"": bytes, ".gz": gzip.compress, ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True)}[
        codec
    ]
    source = survey_source(write(tmp_path, packed(text), name + codec))
    assert (source.container, source.delimiter, source.n_records) == ("csv", delimiter, 4)
    samples = list(read_samples(source))
    prompts = ["".join(m.content for m in s.turns[0].prompt) for s in samples if isinstance(s, Sample)]
    assert [(p, s.turns[0].response) for p, s in zip(prompts, samples, strict=True) if isinstance(s, Sample)] == ROWS
    assert [sample.place.line for sample in samples] == [1, 2, 3, 4]
    for sample, record in zip(samples, read_records(source), strict=True):
        offset, length = sample.place.byte_offset, sample.place.byte_length
        assert offset is not None
        assert length is not None
        assert text[offset : offset + length] == record.raw
        assert read_sample_at(source, sample.place, sample_id=sample.sample_id) == sample


def test_blank_lines_are_no_records_and_may_stand_before_the_header(tmp_path: Path) -> None:
    path = write(tmp_path, "\r\n \nprompt,completion\n\na,one\n\r\n,two\n \t\n")
    assert read(path) == ["one", "two"]
    assert [sample.place.line for sample in read_samples(survey_source(path))] == [1, 2]


def test_a_line_of_tabs_is_a_row_where_tabs_part_the_cells(tmp_path: Path) -> None:
    assert read(write(tmp_path, "prompt\tcompletion\n\t\na\tb\n", "a.tsv")) == ["", "b"]


def test_a_row_that_is_no_csv_is_skipped_with_the_reason(tmp_path: Path) -> None:
    text = 'prompt,completion\n1,2,3\nonly\n"a"b,c\n\xff\nx,y\n"a,b\n'.encode("latin-1")
    assert read(write(tmp_path, text)) == [
        "bad_csv: 3 cells, the header has 2",
        "bad_csv: 1 cell, the header has 2",
        "bad_csv: ',' expected after '\"'",
        "undecodable: byte 1 of 1 is not UTF-8 (invalid start byte)",
        "y",
        "bad_csv: a quote is not closed",
    ]


def test_column_names_may_hold_anything(tmp_path: Path) -> None:
    names = ('the "prompt"; or so', "a, b\nand c")
    path = write(tmp_path, table([names, ("a", "one")]))
    assert read(path, keys={"prompt": names[0], "response": names[1]}) == ["one"]


def test_a_file_of_one_column_is_read(tmp_path: Path) -> None:
    assert read(write(tmp_path, 'text\nonce upon\n\n"a, time"\n'), format="text") == ["once upon", "a, time"]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two columns are named 'prompt'"):
        survey_source(write(tmp_path, "prompt,completion,prompt\n1,2,3\n"))


def test_a_header_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="header cannot be read: bad_csv: a quote is not closed"):
        survey_source(write(tmp_path, '"prompt,completion\n1,2\n'))


def test_message_lists_in_cells_are_refused_with_a_cure(tmp_path: Path) -> None:
    messages = '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]'
    path = write(tmp_path, table([("messages", "n"), (messages, "1")]))
    with pytest.raises(DataError, match=r"'messages' holds JSON.*convert it to JSON lines or Parquet"):
        survey_source(path)


def test_a_cell_of_megabytes_is_read_in_any_thread(tmp_path: Path) -> None:
    long = 'x"\n' * 1_000_000
    path = write(tmp_path, table([("prompt", "completion"), ("a", long), ("b", "short")]))
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(read(path)))
    thread.start()
    thread.join()
    assert found == [long, "short"]


def test_a_quote_that_is_never_closed_costs_its_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.samples.window.RECORD_BYTES", 1_000_000)
    data = b'prompt,completion\na,one\nb,"two\n' + b"c,three\n" * 300_000
    source = survey_source(write(tmp_path, gzip.compress(data), "data.csv.gz"))
    kinds = Counter(type(sample) for sample in read_samples(source))
    assert kinds == {Sample: 300_001, SkippedSample: 1}


def test_a_row_without_an_end_is_an_error_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.samples.window.RECORD_BYTES", 1_000_000)
    data = b'prompt,completion\na,one\nb,"' + b"x" * 6_000_000
    with pytest.raises(DataError, match=r"next row is longer than 1,000,000 bytes; 1 record comes before"):
        survey_source(write(tmp_path, gzip.compress(data), "data.csv.gz"))


def test_json_in_a_file_named_csv_is_json(tmp_path: Path) -> None:
    assert survey_source(write(tmp_path, '{"prompt": "a", "completion": "b"}\n')).container == "jsonl"
    assert survey_source(write(tmp_path, '[\n{"prompt": "a", "completion": "b"}]\n')).container == "json_array"


def test_a_range_of_rows_is_the_same_part_of_the_whole(tmp_path: Path) -> None:
    source = survey_source(write(tmp_path, table([("prompt", "completion"), *[("a\n", str(n)) for n in range(7)]])))
    whole = list(read_samples(source))
    assert list(read_samples(source, start=2, stop=5)) == whole[2:5]
    assert not any(isinstance(sample, SkippedSample) for sample in whole)
