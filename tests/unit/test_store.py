"""A part is there whole or not at all; a run is never mixed with something else."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import MissingDataError, RunError
from audit.schema import FORMAT_VERSION, RANDOM_EVIDENCE, SAMPLES, SCORES, TURNS, differences_schema
from audit.store import PART_TABLES, Part, RunStore, hash_file, replacing


def empty_tables() -> dict[str, pa.Table]:
    schemas = {
        "samples": SAMPLES,
        "turns": TURNS,
        "scores": SCORES,
        "differences": differences_schema(64),
        "random_evidence": RANDOM_EVIDENCE,
    }
    return {name: schema.empty_table() for name, schema in schemas.items()}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path / "run")
    with store.opened_for_writing(fresh=False):
        store.write_manifest({"format_version": FORMAT_VERSION, "state": "running"})
    return store


def test_a_written_part_is_listed_with_its_rows(store: RunStore) -> None:
    store.write_part(Part(0, 10), empty_tables())
    store.write_part(Part(10, 12), empty_tables())
    assert [(part.start, part.n_rows) for part in store.parts()] == [(0, 10), (10, 2)]
    assert not list(store.path.rglob("*.part"))


def test_a_part_that_broke_off_is_neither_listed_nor_kept(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_part(Part(0, 10), empty_tables())
    before = (store.path / "samples" / Part(0, 10).name).stat().st_mtime_ns
    real = pq.write_table

    def fail_at_samples(table: pa.Table, where: Path, **options: object) -> None:
        if where.parent.name == "samples":
            where.write_bytes(b"half")
            raise KeyboardInterrupt
        real(table, where, **options)

    monkeypatch.setattr(pq, "write_table", fail_at_samples)
    with pytest.raises(KeyboardInterrupt):
        store.write_part(Part(10, 20), empty_tables())
    monkeypatch.undo()
    assert store.parts() == [Part(0, 10)]
    with store.opened_for_writing(fresh=False):
        pass
    left = {file.name for table in PART_TABLES for file in (store.path / table).iterdir()}
    assert left == {Part(0, 10).name}
    assert (store.path / "samples" / Part(0, 10).name).stat().st_mtime_ns == before


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "manifest.json"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as unfinished:
            unfinished.write_text("new, but")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_parts_that_overlap_are_refused(store: RunStore) -> None:
    store.write_part(Part(0, 10), empty_tables())
    store.write_part(Part(5, 15), empty_tables())
    with pytest.raises(RunError, match="overlap"):
        store.parts()


def test_fresh_removes_a_run_but_not_what_lies_beside_it(store: RunStore) -> None:
    store.write_part(Part(0, 10), empty_tables())
    (store.path / "notes.txt").write_text("mine")
    with store.opened_for_writing(fresh=True):
        assert store.parts() == []
        assert not store.exists()
    assert (store.path / "notes.txt").read_text() == "mine"


def test_a_directory_of_something_else_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"thesis\.tex"), RunStore(tmp_path).opened_for_writing(fresh=True):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RunError, match="is a file"), RunStore(tmp_path / "run").opened_for_writing(fresh=False):
        pass
    with (
        pytest.raises(RunError, match="cannot be written"),
        RunStore(tmp_path / "run" / "x").opened_for_writing(fresh=False),
    ):
        pass


def _hold(path: Path, ready: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    with RunStore(path).opened_for_writing(fresh=False):
        ready.set()
        done.wait(30)


def test_two_scans_cannot_write_one_directory_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "run", ready, done))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(RunError, match="another scan"), RunStore(tmp_path / "run").opened_for_writing(fresh=False):
        pass
    holder.kill()
    holder.join()
    with RunStore(tmp_path / "run").opened_for_writing(fresh=False):
        pass


@pytest.mark.parametrize(
    ("text", "finding"),
    [("{", "cannot be read"), ("[]", "format version None"), ('{"format_version": 99}', "format version 99")],
)
def test_a_manifest_that_is_not_ours_is_refused(tmp_path: Path, text: str, finding: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunError, match=finding):
        RunStore(tmp_path).read_manifest()


def test_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        RunStore(tmp_path).read_manifest()
    with pytest.raises(RunError, match="no such run directory"):
        RunStore(tmp_path / "nowhere").read_manifest()


def test_an_unfinished_run_is_not_read_as_a_finished_one(store: RunStore) -> None:
    with pytest.raises(RunError, match="not finished"):
        store.read_finished_manifest()


def test_a_manifest_keeps_odd_file_names_and_no_nan(store: RunStore) -> None:
    store.write_manifest({"format_version": FORMAT_VERSION, "path": "a\udcff\n\"b'.jsonl"})
    assert store.read_manifest()["path"] == "a\udcff\n\"b'.jsonl"
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_manifest({"score": float("nan")})
    assert json.loads(store.manifest_path.read_text())["path"]


def test_hashing_a_file_that_is_not_there_names_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"gone\.jsonl"):
        hash_file(tmp_path / "gone.jsonl")
