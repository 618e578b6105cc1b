"""Whatever the records, however they are written: what is kept is the input's own bytes, or a table's own values."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.export import export_run
from audit.samples import Source, load_families, survey_source
from tests.fabricated import FakeRecord, make_run_over, scored

MARKS = {"utf-8": b"", "utf-8-sig": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
ENDINGS = ("\n", "\r\n")
SHAPES = sorted(load_families())
CSV_HEADERS = {
    "prompt_completion": ("prompt", "completion"),
    "alpaca": ("instruction", "input", "output"),
    "qa": ("question", "answer"),
    "preference": ("prompt", "chosen", "rejected"),
}

texts = st.text(st.characters(codec="utf-8"), max_size=8)
blanks = st.text(" \t\r\n", max_size=3)
few = settings(deadline=None, max_examples=30)


@dataclass
class Written:
    """A text in parts: what stands before the records, each record with what it takes along, what stands after."""

    before: str
    records: list[str]
    after: str
    is_broken: list[bool]
    encoding: str
    separators: list[str] | None = None

    def join(self, indices: Sequence[int]) -> bytes:
        """The text with only these records."""
        parts = [self.before]
        for position, index in enumerate(indices):
            if self.separators is not None and position:
                parts.append(self.separators[index])
            parts.append(self.records[index])
        text = "".join([*parts, self.after])
        return MARKS[self.encoding] + text.encode(self.encoding.removesuffix("-sig"))


@st.composite
def shaped_records(draw: st.DrawFn, shape: str) -> str:
    """A record of a shape as JSON: its example with other texts, other fields, odd escapes and white space."""
    record = dict(load_families()[shape].example)
    record["extra"] = draw(
        st.none() | texts | st.lists(st.integers(), max_size=2) | st.dictionaries(texts, texts, max_size=2)
    )
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]))
    return json.dumps(record, ensure_ascii=draw(st.booleans()), separators=separators)


@st.composite
def line_files(draw: st.DrawFn, shape: str) -> Written:
    good = shaped_records(shape).map(lambda text: (text, False))
    bad = st.sampled_from(["{", '{"a": 1', "[]", "null", "x\x00y", '"']).map(lambda text: (text, True))
    found = [draw(good), *draw(st.lists(good | bad, max_size=5))]
    records = []
    for text, _ in found:
        after = "".join(
            draw(
                st.lists(
                    st.sampled_from(["", " \t"]).flatmap(lambda b: st.sampled_from(ENDINGS).map(lambda e: b + e)),
                    max_size=2,
                )
            )
        )
        padding = draw(st.sampled_from(["", " ", "\t "]))
        records.append(padding + text + padding + draw(st.sampled_from(ENDINGS)) + after)
    if draw(st.booleans()):
        records[-1] = records[-1].rstrip("\r\n\t ")
    before = draw(st.sampled_from(["", "\n", " \r\n"]))
    return Written(before, records, "", [is_bad for _, is_bad in found], draw(st.sampled_from(sorted(MARKS))))


@st.composite
def array_files(draw: st.DrawFn, shape: str) -> Written:
    good = shaped_records(shape).map(lambda text: (text, False))
    bad = st.sampled_from(["1", '"],["', "[{}]", "null", "{x}"]).map(lambda text: (text, True))
    found = [draw(good), *draw(st.lists(good | bad, max_size=5))]
    separators = [draw(blanks) + "," + draw(blanks) for _ in found]
    before, after = draw(blanks) + "[" + draw(blanks), draw(blanks) + "]" + draw(blanks)
    encoding = draw(st.sampled_from(sorted(MARKS)))
    return Written(before, [text for text, _ in found], after, [is_bad for _, is_bad in found], encoding, separators)


@st.composite
def csv_files(draw: st.DrawFn, header: tuple[str, ...]) -> Written:
    delimiter = draw(st.sampled_from([",", "\t", ";", "|"]))
    needy = set(delimiter + '"\r\n')

    def cell(text: str, is_quoted: bool) -> str:
        return '"' + text.replace('"', '""') + '"' if is_quoted or needy & set(text) else text

    def row(names: Sequence[str]) -> str:
        return delimiter.join(cell(name, draw(st.booleans())) for name in names)

    cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
    good = st.lists(cells, min_size=len(header), max_size=len(header)).map(lambda found: (found, False))
    ragged = st.just((["ragged"] * (len(header) + 1), True))
    found = [(["a"] * len(header), False), *draw(st.lists(good | ragged, max_size=5))]
    ends = [draw(st.sampled_from(ENDINGS)) for _ in found]
    blank = ["".join(draw(st.lists(st.sampled_from(ENDINGS), max_size=2))) for _ in found]
    records = [row(names) + end + more for (names, _), end, more in zip(found, ends, blank, strict=True)]
    if draw(st.booleans()):
        records[-1] = records[-1].removesuffix(ends[-1] + blank[-1])
    # Without quotes around it, a header of one kind says what parts the cells.
    before = draw(st.sampled_from(["", "\r\n"])) + delimiter.join(header) + draw(st.sampled_from(ENDINGS))
    return Written(before, records, "", [is_bad for _, is_bad in found], draw(st.sampled_from(sorted(MARKS))))


def check_bytes(written: Written, suffix: str, shape: str, data: st.DataObject) -> None:
    """Export all, then all but a random part, and compare with the text put together from its parts."""
    everything = range(len(written.records))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"in{suffix}")
        path.write_bytes(written.join(everything))
        source = survey_source(str(path), format=shape)
        assert source.n_records == len(written.records)
        flagged = data.draw(st.sets(st.sampled_from([i for i in everything if not written.is_broken[i]])))
        kept = [index for index in everything if index not in flagged]
        run = make_run_over(Path(folder, "run"), [source], fabricate(written, flagged))
        output, rejected = Path(folder, f"out{suffix}"), Path(folder, f"rejected{suffix}")
        export_run(run, output=output, where="true", keep_skipped=True)
        assert output.read_bytes() == path.read_bytes()
        export_run(run, output=output, keep_skipped=True, rejected=rejected, overwrite=True)
        assert output.read_bytes() == written.join(kept)
        if written.separators is not None:
            assert rejected.read_bytes() == written.join(sorted(flagged))


def fabricate(written: Written, flagged: set[int]) -> list[FakeRecord]:
    return [
        FakeRecord(reason="bad_json: x") if is_broken else scored(0.1, flagged=["evil"] if index in flagged else [])
        for index, is_broken in enumerate(written.is_broken)
    ]


@few
@given(shape=st.sampled_from(SHAPES), data=st.data())
def test_lines_that_are_kept_are_the_lines_of_the_input(shape: str, data: st.DataObject) -> None:
    check_bytes(data.draw(line_files(shape)), ".jsonl", shape, data)


@few
@given(shape=st.sampled_from(SHAPES), data=st.data())
def test_elements_that_are_kept_are_those_of_the_input_with_their_separators(shape: str, data: st.DataObject) -> None:
    check_bytes(data.draw(array_files(shape)), ".json", shape, data)


@few
@given(shape=st.sampled_from(sorted(CSV_HEADERS)), data=st.data())
def test_rows_that_are_kept_are_those_of_the_input_under_its_header(shape: str, data: st.DataObject) -> None:
    check_bytes(data.draw(csv_files(CSV_HEADERS[shape])), ".csv", shape, data)


@few
@given(shape=st.sampled_from(SHAPES), data=st.data())
def test_an_annotated_line_differs_by_the_field_alone(shape: str, data: st.DataObject) -> None:
    written = data.draw(line_files(shape))
    codec = written.encoding.removesuffix("-sig")
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        path.write_bytes(written.join(range(len(written.records))))
        run = make_run_over(Path(folder, "run"), [survey_source(str(path), format=shape)], fabricate(written, set()))
        export_run(run, output=output, where="true", keep_skipped=True, annotate=True)
        text = output.read_bytes().decode(codec)
        for line in text.removeprefix("\ufeff").split("\n"):
            if '"persona_audit"' in line:
                value = json.loads(line)["persona_audit"]
                text = text.replace(f', "persona_audit": {json.dumps(value)}', "", 1)
        assert text.encode(codec) == path.read_bytes()


def write_table(path: Path, table: pa.Table, group_rows: int) -> None:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=group_rows)
        return
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=group_rows):
            writer.write_batch(batch)


def read_table(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with pa.OSFile(str(path), "rb") as file:
        return pa.ipc.open_stream(file).read_all()


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@few
@given(shape=st.sampled_from(SHAPES), data=st.data())
def test_rows_of_tables_keep_values_schema_and_metadata(suffix: str, shape: str, data: st.DataObject) -> None:
    extra = st.none() | texts
    rows = [{**load_families()[shape].example, "extra": data.draw(extra)} for _ in range(data.draw(st.integers(1, 6)))]
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"origin": data.draw(texts)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"in{suffix}")
        write_table(path, table, data.draw(st.integers(1, 4)))
        source: Source = survey_source(str(path), format=shape)
        flagged = data.draw(st.sets(st.sampled_from(range(len(rows)))))
        run = make_run_over(
            Path(folder, "run"),
            [source],
            [scored(0.1, flagged=["evil"] if k in flagged else []) for k in range(len(rows))],
        )
        output, rejected = Path(folder, f"out{suffix}"), Path(folder, f"rejected{suffix}")
        export_run(run, output=output, rejected=rejected)
        for copy, indices in ((output, [k for k in range(len(rows)) if k not in flagged]), (rejected, sorted(flagged))):
            copied = read_table(copy)
            assert copied.schema.equals(read_table(path).schema, check_metadata=True)
            assert copied.to_pylist() == [table.to_pylist()[k] for k in indices]
