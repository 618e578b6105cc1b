"""What an export must never do: mix its outputs, destroy files that are not its own, or write into the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import DataError, ExportError
from audit.export import export_run
from audit.export.files import writing
from audit.samples import survey_source
from audit.store import hash_file, replacing
from tests.datasets import chat, write_lines
from tests.fabricated import make_run, make_run_over, scored

RECORDS = [scored(0.1, response="plain"), scored(0.9, flagged=["evil"], response="wicked")]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl")


def test_a_rejected_file_named_like_an_unfinished_one_gets_the_rejected_records(run: Path, tmp_path: Path) -> None:
    export_run(run, output=tmp_path / "x.jsonl", rejected=tmp_path / "x.jsonl.part")
    original = (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    assert (tmp_path / "x.jsonl").read_bytes() == original[0]
    assert (tmp_path / "x.jsonl.part").read_bytes() == original[1]


def test_inputs_named_like_unfinished_ones_keep_apart(tmp_path: Path) -> None:
    sources = []
    for name in ("a.jsonl", "a.jsonl.part"):
        write_lines(tmp_path / name, [chat("who", name)])
        sources.append(survey_source(str(tmp_path / name)))
    export_run(make_run_over(tmp_path / "a.audit", sources), output=tmp_path / "out")
    for name in ("a.jsonl", "a.jsonl.part"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_two_that_write_one_name_do_not_share_an_unfinished_file(tmp_path: Path) -> None:
    target = tmp_path / "x.jsonl"
    with replacing(target) as first, replacing(target) as second:
        assert first != second
        assert first.name.endswith(".part")
        assert second.name.endswith(".part")
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert target.read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


def test_what_another_process_wrote_in_the_meantime_is_replaced_only_with_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "x.jsonl"

    def write(*, overwrite: bool) -> None:
        with writing(target, overwrite=overwrite) as unfinished:
            unfinished.write_bytes(b"mine")
            target.write_bytes(b"theirs")

    with pytest.raises(ExportError, match="was written by something else while the export ran"):
        write(overwrite=False)
    assert target.read_bytes() == b"theirs"
    write(overwrite=True)
    assert target.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


def test_files_and_directories_of_the_user_that_end_in_part_stay(run: Path, tmp_path: Path) -> None:
    (tmp_path / "y.jsonl.part").write_text("precious")
    (tmp_path / "o.part").mkdir()
    (tmp_path / "o.part" / "letter").write_text("dear")
    export_run(run, output=tmp_path / "y.jsonl")
    export_run(run, output=tmp_path / "o", formats=["arrow"])
    assert (tmp_path / "y.jsonl.part").read_text() == "precious"
    assert (tmp_path / "o.part" / "letter").read_text() == "dear"
    assert len(datasets.load_from_disk(str(tmp_path / "o"))) == 1
    assert not list(tmp_path.glob("*-*.part"))


def test_a_saved_dataset_with_something_of_the_users_in_it_is_not_replaced(run: Path, tmp_path: Path) -> None:
    export_run(run, output=tmp_path / "o", formats=["arrow"])
    (tmp_path / "o" / "letter").write_text("dear")
    with pytest.raises(ExportError, match="is a directory of something else"):
        export_run(run, output=tmp_path / "o", formats=["arrow"], overwrite=True)
    assert (tmp_path / "o" / "letter").read_text() == "dear"


def test_nothing_is_written_into_the_run_directory(run: Path, tmp_path: Path) -> None:
    before = (run / "manifest.json").read_bytes()
    (tmp_path / "link").symlink_to(run)
    for output in (run / "manifest.json", run / "new.jsonl", run / "samples" / "x.jsonl", tmp_path / "link" / "m.json"):
        with pytest.raises(ExportError, match="lies inside the run directory"):
            export_run(run, output=output, overwrite=True)
        with pytest.raises(ExportError, match="lies inside the run directory"):
            export_run(run, output=tmp_path / f"x{output.suffix}", rejected=output, overwrite=True)
    assert (run / "manifest.json").read_bytes() == before


def test_what_is_no_regular_file_is_not_replaced(run: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "pipe.jsonl", tmp_path / "dangling.jsonl", Path("/dev/null")):
        with pytest.raises(ExportError, match="is no regular file"):
            export_run(run, output=path, overwrite=True)
        assert path.is_symlink() or not path.is_file()


@pytest.mark.parametrize("n_characters", [240, 250, 255, 300])
def test_a_name_that_is_too_long_is_an_error_of_the_users(run: Path, tmp_path: Path, n_characters: int) -> None:
    name = "é" * ((n_characters - 6) // 2) + ".jsonl"
    if n_characters == 240:
        with replacing(tmp_path / name) as unfinished:
            unfinished.write_text("x")
        assert (tmp_path / name).read_text() == "x"
        return
    with pytest.raises(ExportError, match="cannot be written: File name too long"):
        export_run(run, output=tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.audit", "a.jsonl"]


def test_a_table_with_two_columns_of_one_name_is_called_that(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["a"], "completion": ["b"]}), tmp_path / "a.parquet")
    source = survey_source(str(tmp_path / "a.parquet"))
    table = pa.table([["a"], ["b"], ["c"], ["d"]], names=["prompt", "completion", "x", "x"])
    pq.write_table(table, tmp_path / "a.parquet")
    source = replace(source, sha256=hash_file(tmp_path / "a.parquet"))
    run = make_run_over(tmp_path / "a.audit", [source])
    for name, formats in (("o.parquet", []), ("o.arrow", ["arrow"])):
        with pytest.raises(DataError, match=r"two columns are named 'x' \(rename one of them\)"):
            export_run(run, output=tmp_path / name, formats=formats)


TERMINATED = """
import os, signal, sys
import audit.export.job as job
from audit.cli import main

def end(source, keep, output, *others):
    output.write(b"half")
    os.kill(os.getpid(), signal.SIGTERM)

job.copy_records = end
sys.argv = ["persona-audit", "export", sys.argv[1], "--output", sys.argv[2], "--quiet"]
main()
"""


def test_a_terminated_export_leaves_no_file_behind(run: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", TERMINATED, str(run), str(tmp_path / "out.jsonl")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "Interrupted." in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.audit", "a.jsonl"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
