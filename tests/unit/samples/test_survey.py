"""What a file is gets found in its content and said; what cannot be scored is refused with finding and cure."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import ConfigError, DataError, MissingDataError
from audit.samples import Source, read_samples, survey_source

CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
PAIR = {"prompt": "a", "completion": "b"}


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def write(tmp_path: Path, data: bytes, name: str = "data.jsonl") -> str:
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def test_a_source_names_what_was_found(tmp_path: Path) -> None:
    data = lines(CHAT, CHAT, PAIR) + b"\nnot json\n"
    path = write(tmp_path, data)
    assert survey_source(path) == Source(
        path=path,
        container="jsonl",
        codec="none",
        encoding="utf-8",
        sha256=hashlib.sha256(data).hexdigest(),
        n_records=4,
        format="chat",
        fit_share=0.5,
        n_probed=4,
        description="chat messages in JSON lines (2 of 4 first rows fit)",
    )


def test_a_source_survives_json_and_pickle(tmp_path: Path) -> None:
    source = survey_source(write(tmp_path, lines(CHAT)))
    assert Source(**json.loads(json.dumps(dataclasses.asdict(source)))) == source
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301  our own bytes


@pytest.mark.parametrize("name", ["data.jsonl", "data.txt", "data.parquet", "data.json.gz"])
def test_the_content_decides_and_not_the_name(tmp_path: Path, name: str) -> None:
    array = json.dumps([CHAT, CHAT], indent=1).encode()
    assert survey_source(write(tmp_path, lines(CHAT), name)).container == "jsonl"
    assert survey_source(write(tmp_path, array, name)).container == "json_array"
    zipped = survey_source(write(tmp_path, gzip.compress(array), name))
    assert (zipped.container, zipped.codec, zipped.n_records) == ("json_array", "gzip", 2)
    framed = survey_source(write(tmp_path, pa.compress(lines(CHAT), codec="zstd", asbytes=True), name))
    assert (framed.container, framed.codec, framed.n_records) == ("jsonl", "zstd", 1)


def test_one_object_over_several_lines_is_one_record(tmp_path: Path) -> None:
    source = survey_source(write(tmp_path, json.dumps(CHAT, indent=2).encode()))
    assert (source.container, source.n_records) == ("json_object", 1)


def test_a_broken_first_line_does_not_hide_the_others(tmp_path: Path) -> None:
    source = survey_source(write(tmp_path, b'{"messages": [\n' + lines(CHAT, CHAT)))
    assert (source.container, source.n_records, source.format) == ("jsonl", 3, "chat")


def test_rows_are_looked_at_until_one_fits(tmp_path: Path) -> None:
    source = survey_source(write(tmp_path, b"broken\n" * 300 + lines(*[CHAT] * 50)))
    assert (source.format, source.n_probed, source.n_records) == ("chat", 301, 350)


def test_a_given_format_is_used_though_another_fits_more_rows(tmp_path: Path) -> None:
    path = write(tmp_path, lines(CHAT, CHAT, PAIR))
    source = survey_source(path, format="prompt_completion")
    assert (source.format, source.fit_share) == ("prompt_completion", 1 / 3)
    reasons = [getattr(sample, "reason", "ok").partition(":")[0] for sample in read_samples(source)]
    assert reasons == ["no_shape", "no_shape", "ok"]


def test_a_limit_bounds_what_is_counted_and_read_but_not_what_is_hashed(tmp_path: Path) -> None:
    data = lines(*[CHAT] * 5)
    source = survey_source(write(tmp_path, data), limit=2)
    assert (source.n_records, source.sha256) == (2, hashlib.sha256(data).hexdigest())
    assert len(list(read_samples(source))) == 2


@pytest.mark.parametrize(
    ("data", "finding", "cure"),
    [
        (b"", "empty", "written"),
        (b"\n \n", "no record", "written"),
        (b"[ ]", "no record", "written"),
        (b"\xef\xbb\xbf", "no record", "written"),
        (bytes(range(256)) * 20, "binary", "Parquet"),
        (b'{\x00"\x00', "binary", "byte order mark"),
        (b"\x7fELF\xff\xfe" * 10, "no record can be read.*undecodable", "Parquet"),
        (b"a,b\n1,2\n", "no record can be read.*bad_json", "JSON lines"),
        (b"PK\x03\x04rest", "zip", "JSON lines"),
        (b"ARROW1\x00\x00", "Arrow", "Parquet"),
        (b"PAR1 and then nothing", "Parquet", "again"),
        (b"\xff\xfe\x00\x00{\x00\x00\x00", "UTF-32", "JSON lines"),
        (b"\x1f\x8b\x08\x00", "gzip", "again"),
        (gzip.compress(b""), "holds nothing", "written"),
        (lines({"input_ids": [1], "labels": [1]}), "tokenised", "text"),
        (lines({"prompt": "a"}), "without responses", "completion"),
        (lines({"a": 1, "b": 2}), "found 'a', 'b'", "'messages'"),
        (lines({}), "no keys", "'messages'"),
        (b"[1, 2]", "not an object", "JSON lines"),
        (json.dumps([CHAT]).encode() + b"[]", "follows the end", "one array"),
    ],
)
def test_a_file_without_anything_to_score_is_refused_with_finding_and_cure(
    tmp_path: Path, data: bytes, finding: str, cure: str
) -> None:
    path = write(tmp_path, data)
    with pytest.raises(DataError) as caught:
        survey_source(path)
    assert caught.value.place == path
    assert re.search(finding, caught.value.finding)
    assert cure in caught.value.cure


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    for size in (1, 10, 100, 100_000):
        with pytest.raises(DataError):
            survey_source(write(tmp_path, b"\x80" + os.urandom(size)))


def test_places_without_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        survey_source(str(tmp_path / "absent.jsonl"))
    with pytest.raises(MissingDataError, match="no such file"):
        survey_source("a\0b")
    with pytest.raises(DataError, match="without a dataset"):
        survey_source(str(tmp_path))
    write(tmp_path, lines(CHAT))
    with pytest.raises(DataError, match=r"name the files in it, such as .*data\.jsonl"):
        survey_source(str(tmp_path))
    with pytest.raises(DataError, match="regular"):
        survey_source("/dev/null")


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    path = write(tmp_path, lines(CHAT))
    with pytest.raises(ConfigError, match="choose one of chat, "):
        survey_source(path, format="poem")
    with pytest.raises(DataError, match="fits --format alpaca"):
        survey_source(path, format="alpaca")


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "data.parquet")
    pq.write_table(pa.table({"messages": pa.array([], pa.string())}), path)
    with pytest.raises(DataError, match="no record"):
        survey_source(path)
