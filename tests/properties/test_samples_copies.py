"""Whatever the file looks like: its pieces are its bytes, and a copy is made of the records that were kept."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.errors import DataError
from audit.samples import Source, copy_records, read_records, survey_source

MARKS = {"utf-8": b"", "utf-8-sig": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
ANCHOR = '{"prompt": "", "completion": ""}'

texts = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
records = st.builds(
    lambda value, is_ascii: json.dumps(value, ensure_ascii=is_ascii),
    st.dictionaries(texts, values, max_size=3) | values,
    st.booleans(),
)
blanks = st.text(" \t\r\n", max_size=3)
damage = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=8)


@st.composite
def line_files(draw: st.DrawFn) -> tuple[str, str]:
    """A text in lines, some broken, some blank, the last perhaps without an ending; and its encoding."""
    lines = draw(st.lists(records | damage | st.text(" \t\r", max_size=2), max_size=8))
    lines.insert(draw(st.integers(0, len(lines))), ANCHOR)
    endings = [draw(st.sampled_from(["\n", "\r\n"])) for _ in lines]
    if draw(st.booleans()):
        endings[-1] = ""
    text = "".join(line + ending for line, ending in zip(lines, endings, strict=True))
    return text, draw(st.sampled_from(sorted(MARKS)))


@st.composite
def array_files(draw: st.DrawFn) -> tuple[str, str]:
    """A JSON array with odd white space, and its encoding."""
    elements = [*draw(st.lists(records, max_size=6)), ANCHOR]
    parts = [draw(blanks), "[", draw(blanks)]
    for position, element in enumerate(elements):
        parts += [draw(blanks), ",", draw(blanks), element] if position else [element]
    return "".join([*parts, draw(blanks), "]", draw(blanks)]), draw(st.sampled_from(sorted(MARKS)))


def write(path: Path, text: str, encoding: str, codec: str) -> tuple[bytes, Source] | None:
    """Write the text and survey it; None for a text that is refused, such as one that begins like an array."""
    data = MARKS[encoding] + text.encode(encoding.removesuffix("-sig"))
    packed = {"none": bytes, "gzip": gzip.compress, "zstd": lambda d: pa.compress(d, codec="zstd", asbytes=True)}[codec]
    path.write_bytes(packed(data))
    try:
        return data, survey_source(str(path))
    except DataError:
        return None


def copy(source: Source, kept: set[int]) -> tuple[bytes, bytes]:
    output, rejected = io.BytesIO(), io.BytesIO()
    copy_records(source, kept, output, rejected)
    return output.getvalue(), rejected.getvalue()


slow_disk = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)


@slow_disk
@given(file=line_files(), codec=st.sampled_from(["none", "gzip", "zstd"]), data=st.data())
def test_lines_kept_and_rejected_are_the_lines_of_the_input(
    tmp_path: Path, file: tuple[str, str], codec: str, data: st.DataObject
) -> None:
    text, encoding = file
    if text.lstrip(" \t\r\n")[:1] == "[" or "\0" in text:
        text = ANCHOR + "\n" + text
    written = write(tmp_path / "data", text, encoding, codec)
    assert written is not None
    whole, source = written
    raws = [record.raw for record in read_records(source)]
    *ended, last = text.split("\n")
    lines = [*(line.removesuffix("\r") for line in ended), last]
    assert raws == [line.encode(encoding.removesuffix("-sig")) for line in lines if line.strip(" \t\r")]
    assert copy(source, set(range(len(raws)))) == (whole, MARKS[encoding])
    kept = data.draw(st.sets(st.sampled_from(range(len(raws)))))
    output, rejected = copy(source, kept)
    assert len(output) + len(rejected) == len(whole) + len(MARKS[encoding])
    for copied, indices in ((output, kept), (rejected, set(range(len(raws))) - kept)):
        (tmp_path / "copy").write_bytes(copied)
        found = [r.raw for r in read_records(_as_copy(source, tmp_path / "copy"))]
        assert [raw for raw in found if raw] == [raws[index] for index in sorted(indices)]


def _as_copy(source: Source, path: Path) -> Source:
    return Source(str(path), source.container, "none", source.encoding, "", 0, source.format, 1.0, 0, "")


@slow_disk
@given(file=array_files(), codec=st.sampled_from(["none", "gzip", "zstd"]), data=st.data())
def test_array_elements_keep_their_bytes_and_the_copy_is_an_array(
    tmp_path: Path, file: tuple[str, str], codec: str, data: st.DataObject
) -> None:
    text, encoding = file
    bare = encoding.removesuffix("-sig")
    written = write(tmp_path / "data", text, encoding, codec)
    assert written is not None
    whole, source = written
    expected = json.loads(text)
    found = list(read_records(source))
    assert [json.loads(record.raw.decode(bare)) for record in found] == expected
    for record in found:
        assert record.byte_offset is not None
        assert whole[record.byte_offset :].startswith(record.raw)
    assert copy(source, set(range(len(found))))[0] == whole
    kept = data.draw(st.sets(st.sampled_from(range(len(found)))))
    for copied, indices in zip(copy(source, kept), (kept, set(range(len(found))) - kept), strict=True):
        assert copied.startswith(MARKS[encoding])
        assert json.loads(copied[len(MARKS[encoding]) :].decode(bare)) == [expected[index] for index in sorted(indices)]
        for index in indices:
            assert found[index].raw in copied


@slow_disk
@given(data=st.binary(max_size=60), opening=st.sampled_from([b"", b"[", b"{", b"[{", b"\xff\xfe[", b"\xff\xfe{"]))
def test_any_bytes_are_copied_whole_or_refused(tmp_path: Path, data: bytes, opening: bytes) -> None:
    anchored = opening + data + (b"\n" + ANCHOR.encode() + b"\n" if not opening.startswith(b"\xff") else b"")
    (tmp_path / "data").write_bytes(anchored)
    try:
        source = survey_source(str(tmp_path / "data"))
    except DataError:
        return
    assert copy(source, set(range(source.n_records)))[0] == anchored


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7])
@pytest.mark.parametrize("encoding", sorted(MARKS))
def test_where_chunks_end_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int, encoding: str
) -> None:
    texts = [
        # In UTF-16 the bytes of a line feed lie across the units of the second string.
        ANCHOR + '\r\n\n{"a": "\\"\\\\ ✓😀", "b": "\u0a41\u4100\u0a41"}\r\n  \nx',
        ' [ {"a": "]},\\\\\\" ✓"} ,\r\n[[], {}],"s", 1, ' + ANCHOR + " ] \n",
    ]
    for text in texts:
        written = write(tmp_path / "data", text, encoding, "none")
        assert written is not None
        whole, source = written
        expected = list(read_records(source))
        monkeypatch.setattr("audit.samples.streams.CHUNK_BYTES", chunk_bytes)
        assert list(read_records(survey_source(source.path))) == expected
        assert copy(source, set(range(source.n_records)))[0] == whole
        monkeypatch.undo()
