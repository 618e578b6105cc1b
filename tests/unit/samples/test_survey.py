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
from audit.samples import Sample, SkippedSample, Source, read_conversations, read_samples, survey_source

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
        description="chat messages in JSON lines "
        "(only 2 of 4 first rows fit, the others will be skipped; 1 fit prompt_completion)",
    )


def test_a_source_is_hashable_and_survives_json_and_pickle(tmp_path: Path) -> None:
    renamed = {"dialogue": CHAT["messages"]}
    source = survey_source(write(tmp_path, lines(renamed)), keys={"messages": "dialogue"})
    assert source.keys == {"messages": "dialogue"}
    assert {source: 1}[source] == 1
    assert Source.restore(json.loads(json.dumps(dataclasses.asdict(source)))) == source
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
        (b"ARROW1\x00\x00", "cannot be read as Arrow", "again"),
        (gzip.compress(b"PAR1 and so on", mtime=0), "a table compressed as a whole", "decompress"),
        (b"PAR1 and then nothing", "Parquet", "again"),
        (b"\xff\xfe\x00\x00{\x00\x00\x00", "UTF-32", "JSON lines"),
        (b"\x1f\x8b\x08\x00", "gzip", "again"),
        (gzip.compress(b"", mtime=0), "holds nothing", "written"),
        (lines({"input_ids": [1], "labels": [1]}), "tokenised", "text"),
        (lines({"prompt": "a"}), "without responses", "persona-audit formats"),
        (lines({"Question": "a", "id": 1, "topic": "b", "source": "c"}), "without responses", "--response-key"),
        (lines({"text": "once upon a time"}), "plain text in 'text'.*only when asked for", "--format text"),
        (lines({"text": "once", "input_ids": [1]}), "plain text", "--format text"),
        (lines({"a": 1, "b": 2}), "found 'a', 'b'", "--messages-key"),
        (lines({}), "no keys", "persona-audit formats"),
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
    with pytest.raises(DataError, match="File name too long"):
        survey_source("a" * 5000)
    with pytest.raises(DataError, match="without a dataset"):
        survey_source(str(tmp_path))
    write(tmp_path, lines(CHAT))
    with pytest.raises(DataError, match=r"name the files in it, such as .*data\.jsonl, .*'.*/\*\.jsonl'"):
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


@pytest.mark.parametrize(
    ("record", "keys", "format"),
    [
        ({"dialogue": CHAT["messages"], "messages": "a note"}, {"messages": "dialogue"}, "chat"),
        ({"dialogue": [{"from": "gpt", "value": "a"}]}, {"messages": "dialogue"}, "chat"),
        ({"q": "a", "a": "b"}, {"prompt": "q", "response": "a"}, "prompt_completion"),
        ({"good": "a", "bad": "b", "prompt": "c"}, {"chosen": "good", "rejected": "bad"}, "preference"),
        ({"body": "once upon a time"}, {"text": "body"}, "text"),
    ],
)
def test_fields_are_found_under_the_names_that_the_user_gives(
    tmp_path: Path, record: dict[str, Any], keys: dict[str, str], format: str
) -> None:
    assert survey_source(write(tmp_path, lines(record)), keys=keys).format == format


def test_a_field_option_that_does_not_apply_is_refused_with_those_that_do(tmp_path: Path) -> None:
    path = write(tmp_path, lines(CHAT))
    with pytest.raises(
        ConfigError, match=r"--text-key: does not apply to --format chat \(.*--messages-key, --system-key"
    ):
        survey_source(path, format="chat", keys={"text": "a"})
    with pytest.raises(ConfigError, match=r"--messages-key: no format has it together with --chosen-key"):
        survey_source(path, keys={"messages": "a", "chosen": "b"})


def test_a_misfit_names_the_field_that_the_user_named(tmp_path: Path) -> None:
    path = write(tmp_path, lines(CHAT, {"dialogue": CHAT["messages"]}))
    with pytest.raises(
        DataError, match=r"no record of 2 has the field 'talk' that --messages-key names; found 'messages'"
    ):
        survey_source(path, keys={"messages": "talk"})
    source = survey_source(path, keys={"messages": "dialogue"})
    first, second = read_samples(source)
    assert isinstance(first, SkippedSample)
    assert first.reason == "no_shape: no 'dialogue' (--messages-key); found 'messages'"
    assert isinstance(second, Sample)


def test_conversations_are_read_or_the_reason_is_given(tmp_path: Path) -> None:
    source = survey_source(write(tmp_path, lines({"talk": CHAT["messages"]})), keys={"messages": "talk"})
    conversations = read_conversations(source, {"talk": CHAT["messages"]})
    assert not isinstance(conversations, str)
    assert [[m.content for m in c.messages] for c in conversations] == [["a", "b"]]
    assert read_conversations(source, {"other": 1}) == "no_shape: no 'talk' (--messages-key); found 'other'"
    assert str(read_conversations(source, {"talk": [{"role": "alien", "content": ""}]})).startswith("unknown_role: ")
