"""Standard input is kept in the run directory under a name made of its content, so that a scan can be continued."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.config import ScanConfig
from audit.errors import ConfigError, DataError, RunError
from audit.events import ignore_events
from audit.inputs import survey_inputs
from audit.samples import Source
from audit.store import RunStore

ROW = {"prompt": "a", "completion": "b"}
LINE = json.dumps(ROW).encode() + b"\n"


class Stdin(io.TextIOWrapper):
    """Standard input that holds bytes; a terminal only where it says so."""

    def __init__(self, data: bytes, *, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data))
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def survey(monkeypatch: pytest.MonkeyPatch, data: bytes, out: Path, *datasets: str) -> tuple[Source, ...]:
    monkeypatch.setattr(sys, "stdin", Stdin(data))
    return survey_inputs(ScanConfig(datasets=datasets or ("-",), out=str(out)), ignore_events).sources


def table_bytes(kind: str) -> bytes:
    sink = io.BytesIO()
    table = pa.Table.from_pylist([ROW])
    if kind == "parquet":
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "suffix", "container"),
    [
        (LINE, ".jsonl", "jsonl"),
        (b"\xef\xbb\xbf\n" + LINE, ".jsonl", "jsonl"),
        (b"[" + LINE + b"]", ".jsonl", "json_array"),
        (gzip.compress(LINE, mtime=0), ".jsonl.gz", "jsonl"),
        (b"prompt;completion\na;b\n", ".csv", "csv"),
        (pa.compress(b"prompt\tcompletion\na\tb\n", codec="zstd", asbytes=True), ".csv.zst", "csv"),
        (table_bytes("parquet"), ".parquet", "parquet"),
        (table_bytes("arrow"), ".arrow", "arrow"),
    ],
)
def test_what_comes_in_is_kept_as_it_is_under_a_name_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, suffix: str, container: str
) -> None:
    (source,) = survey(monkeypatch, data, tmp_path / "run")
    kept = tmp_path / "run" / "inputs" / f"stdin-{hashlib.sha256(data).hexdigest()[:16]}{suffix}"
    assert (source.path, source.container, source.n_records) == (str(kept), container, 1)
    assert [*kept.parent.iterdir()] == [kept]
    assert kept.read_bytes() == data


def test_the_same_pipe_again_is_the_same_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert survey(monkeypatch, LINE, tmp_path / "run") == survey(monkeypatch, LINE, tmp_path / "run")
    assert len([*(tmp_path / "run" / "inputs").iterdir()]) == 1


def test_starting_over_keeps_what_came_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = survey(monkeypatch, LINE, tmp_path / "run")
    with RunStore(tmp_path / "run").opened_for_writing(fresh=True):
        assert Path(source.path).read_bytes() == LINE


def test_nothing_in_is_refused_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"-: standard input is empty \(check the command before the pipe\)"):
        survey(monkeypatch, b"", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(sys, "stdin", Stdin(b"", is_terminal=True))
    with pytest.raises(DataError, match=r"nothing is piped .*pipe a dataset in"):
        survey_inputs(ScanConfig(datasets=("-",), out=str(tmp_path / "run")), ignore_events)
    assert not (tmp_path / "run").exists()


def test_it_cannot_be_named_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="named twice"):
        survey(monkeypatch, LINE, tmp_path / "run", "-", "-")


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is no run directory"):
        survey(monkeypatch, LINE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_patterns_and_standard_input_are_numbered_in_the_order_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).write_bytes(LINE)
    sources = survey(monkeypatch, LINE, tmp_path / "run", str(tmp_path / "*.jsonl"), "-")
    assert [Path(source.path).name[:5] for source in sources] == ["a.jso", "b.jso", "stdin"]


def test_a_scan_of_standard_input_is_named_after_it() -> None:
    assert ScanConfig(datasets=("-",)).run_path.name == "stdin.audit"
