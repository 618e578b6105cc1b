"""A scan that was cut off continues; a finished one is left alone; settings are never mixed.

Pairs covered: run-store, run-inputs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from audit import Run, ScanConfig, open_run, scan
from audit.errors import ConfigError, DataError, MissingDataError, RecordError, RunError
from audit.events import Event, PartWritten
from audit.parts import find_gaps, split_blocks
from audit.store import Part
from tests.datasets import chat, chats, write_lines, write_vectors
from tests.models import model_path, save_model

TABLES = ("samples", "turns", "scores", "sample_scores", "flags", "clusters", "verdicts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_lines(folder / "data.jsonl", chats(50))
    write_vectors(folder / "vectors", model_path("llama"))
    return folder


def config(folder: Path, out: Path, **options: Any) -> ScanConfig:
    settings = {"max_new_tokens": 6, "shard_rows": 20, **options}
    return ScanConfig(
        datasets=(str(folder / "data.jsonl"),),
        model=str(model_path("llama")),
        vectors=(str(folder / "vectors"),),
        out=str(out),
        **settings,
    )


def contents(run: Run) -> dict[str, pa.Table]:
    return {name: run.sql(f"SELECT * FROM {name} ORDER BY ALL").to_arrow_table() for name in TABLES}


def stop_after_first_part(event: Event) -> None:
    if isinstance(event, PartWritten):
        raise KeyboardInterrupt


def test_a_continued_scan_equals_an_undisturbed_one(folder: Path, tmp_path: Path) -> None:
    whole = scan(config(folder, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        scan(config(folder, tmp_path / "cut"), listener=stop_after_first_part)
    unfinished = open_run(tmp_path / "cut")
    assert unfinished.manifest["state"] == "running"
    assert unfinished.sql("SELECT count(*) FROM samples").fetchall() == [(20,)]
    first = tmp_path / "cut" / "scores" / Part(0, 20).name
    before = (first.stat().st_mtime_ns, first.read_bytes())
    (tmp_path / "cut" / "scores" / f"{Part(20, 40).name}.part").write_bytes(b"half a part")
    continued = scan(config(folder, tmp_path / "cut"))
    assert (continued.n_reused, continued.n_scored) == (20, 30)
    assert (first.stat().st_mtime_ns, first.read_bytes()) == before
    assert not list((tmp_path / "cut").rglob("*.part"))
    for name, table in contents(whole).items():
        assert table.equals(contents(continued)[name]), name


def test_a_finished_scan_is_returned_unchanged(folder: Path, tmp_path: Path) -> None:
    scan(config(folder, tmp_path / "run"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.parquet")}
    again = scan(config(folder, tmp_path / "run"))
    assert (again.n_scored, again.n_reused) == (0, 50)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.parquet")} == before
    fresh = scan(config(folder, tmp_path / "run", fresh=True))
    assert (fresh.n_scored, fresh.n_reused) == (50, 0)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max_new_tokens", 7, "max_new_tokens: the run has 6, this scan 7"),
        ("layer", 4, "layer: the run has None, this scan 4"),
        ("baseline", "none", "baseline: the run has auto, this scan none"),
        ("limit", 10, "limit: the run has None, this scan 10"),
    ],
)
def test_other_settings_are_refused_with_both_values(
    folder: Path, tmp_path: Path, option: str, value: Any, message: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        scan(config(folder, tmp_path / "run"), listener=stop_after_first_part)
    with pytest.raises(RunError, match=message):
        scan(config(folder, tmp_path / "run", **{option: value}))
    assert open_run(tmp_path / "run").sql("SELECT count(*) FROM samples").fetchall() == [(20,)]


def test_a_changed_dataset_is_another_setting(folder: Path, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", chats(30))
    write_vectors(tmp_path / "vectors", model_path("llama"))
    with pytest.raises(KeyboardInterrupt):
        scan(config(tmp_path, tmp_path / "run"), listener=stop_after_first_part)
    write_lines(data, chats(31))
    with pytest.raises(RunError, match=r"inputs: .*data\.jsonl"):
        scan(config(tmp_path, tmp_path / "run"))


def test_parts_without_a_manifest_are_never_taken_over(folder: Path, tmp_path: Path) -> None:
    scan(config(folder, tmp_path / "run", baseline="none"))
    (tmp_path / "run" / "manifest.json").unlink()
    again = scan(config(folder, tmp_path / "run", baseline="prompt", layer=2))
    assert (again.n_scored, again.n_reused) == (50, 0)
    assert again.sql("SELECT count(*) FROM scores WHERE projection_difference IS NULL").fetchall() == [(0,)]


def test_the_order_of_the_inputs_is_a_setting(tmp_path: Path) -> None:
    for name, n in (("a", 30), ("b", 31)):
        write_lines(tmp_path / f"{name}.jsonl", chats(n))
    write_vectors(tmp_path / "vectors", model_path("llama"))

    def scan_both(*names: str) -> Run:
        paths = tuple(str(tmp_path / f"{name}.jsonl") for name in names)
        return scan(replace(config(tmp_path, tmp_path / "run", baseline="none"), datasets=paths))

    scan_both("a", "b")
    with pytest.raises(RunError, match="inputs"):
        scan_both("b", "a")
    with pytest.raises(RunError, match="inputs"):
        scan_both("a")


def test_a_model_replaced_in_place_is_another_setting(folder: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", "llama", seed=1)
    write_vectors(tmp_path / "vectors", model)
    mine = replace(
        config(folder, tmp_path / "run", baseline="none"), model=str(model), vectors=(str(tmp_path / "vectors"),)
    )
    scan(mine)
    assert scan(mine).n_scored == 0
    save_model(tmp_path / "model", "llama", seed=2)
    with pytest.raises(RunError, match="model_files"):
        scan(mine)


def test_another_reference_judges_a_finished_run_anew_without_scoring(folder: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "clean.jsonl", chats(120))
    clean = replace(config(folder, tmp_path / "clean", baseline="none"), datasets=(str(tmp_path / "clean.jsonl"),))
    scan(clean)
    plain = config(folder, tmp_path / "run", baseline="none")
    assert {row["verdict"] for row in scan(plain).verdicts} == {"undecided"}
    judged = scan(replace(plain, reference=str(tmp_path / "clean")))
    assert (judged.n_scored, judged.n_reused) == (0, 50)
    assert {row["verdict"] for row in judged.verdicts} == {"clear"}
    assert judged.sql("SELECT count(*) FROM flags WHERE percentile IS NOT NULL").fetchall() == [(100,)]


def test_no_run_is_its_own_reference(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_lines(tmp_path / "data.jsonl", chats(120))
    ours = replace(config(folder, tmp_path / "run", baseline="none"), datasets=(str(data),))
    before = scan(ours).verdicts
    monkeypatch.chdir(tmp_path)
    for fresh in (False, True):
        with pytest.raises(ConfigError, match="this very run"):
            scan(replace(ours, reference="./run", fresh=fresh))
    assert open_run(tmp_path / "run").verdicts == before


def test_a_run_of_the_clean_data_that_is_there_is_used_as_it_is(folder: Path, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "clean.jsonl", chats(120))
    clean = replace(config(folder, tmp_path / "clean.audit", baseline="none"), datasets=(str(data),))
    scan(replace(clean, flag="top-k:3"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "clean.audit").rglob("*") if path.is_file()}
    ours = config(folder, tmp_path / "run", baseline="none", reference=str(data), flag="quantile:90")
    judged = scan(ours)
    assert judged.manifest["reference"]["source"] == str(tmp_path / "clean.audit")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "clean.audit").rglob("*") if path.is_file()} == before
    # One that was scanned in another way is nobody's to discard: neither --out nor --fresh of this scan is about it.
    with pytest.raises(RunError, match=r"other settings.*rename or remove .*clean\.audit"):
        scan(replace(ours, out=str(tmp_path / "other"), layer=1, fresh=True))


def test_a_judgement_that_was_cut_off_is_made_again_whatever_rule_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lines(tmp_path / "clean.jsonl", chats(120))
    scan(replace(config(folder, tmp_path / "clean", baseline="none"), datasets=(str(tmp_path / "clean.jsonl"),)))
    ours = config(folder, tmp_path / "run", baseline="none", reference=str(tmp_path / "clean"), flag="quantile:60")
    before = contents(scan(ours))

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # Flags are written by then.
        patch.setattr("audit.findings.write_groups", stop)
        with pytest.raises(KeyboardInterrupt):
            scan(replace(ours, flag="top-k:1"))
    again = scan(ours)
    assert again.manifest["flagging"] == {"rule": "quantile:60"}
    for name, table in contents(again).items():
        assert table.equals(before[name]), name


def test_what_is_said_of_a_judgement_goes_with_it(folder: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "clean.jsonl", chats(120))
    clean = replace(config(folder, tmp_path / "clean"), datasets=(str(tmp_path / "clean.jsonl"),))
    scan(replace(clean, evidence="off"))
    scan(replace(clean, out=str(tmp_path / "full")))
    ours = config(folder, tmp_path / "run")
    assert not [words for words in scan(ours).summary()["notices"] if "flags rest on" in words]
    for name, is_plain in (("clean", True), ("full", False), ("clean", True)):
        notices = scan(replace(ours, reference=str(tmp_path / name))).summary()["notices"]
        assert sum("flags rest on" in words for words in notices) == is_plain


def test_strict_stops_at_the_line_and_a_mended_file_starts_over(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", chats(3))
    data.write_text(data.read_text() + "{broken\n")
    write_vectors(tmp_path / "vectors", model_path("llama"))
    with pytest.raises(RecordError, match=r"data\.jsonl:4"):
        scan(config(tmp_path, tmp_path / "run", strict=True))
    assert scan(config(tmp_path, tmp_path / "run")).summary()["counts"]["n_skipped"] == 1


def test_a_clean_run_serves_as_reference(folder: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "clean.jsonl", chats(120))
    clean = scan(
        ScanConfig(
            datasets=(str(tmp_path / "clean.jsonl"),),
            model=str(model_path("llama")),
            vectors=(str(folder / "vectors"),),
            baseline="none",
            out=str(tmp_path / "clean"),
        )
    )
    assert {row["verdict"] for row in clean.verdicts} == {"undecided"}
    judged = scan(config(folder, tmp_path / "run", baseline="none", reference=str(tmp_path / "clean")))
    assert {row["verdict"] for row in judged.verdicts} == {"clear"}
    assert judged.summary()["reference"]["n"] == 120
    with pytest.raises(RunError, match="score kind is projection, this run's is difference"):
        scan(config(folder, tmp_path / "other", reference=str(tmp_path / "clean")))
    with pytest.raises(MissingDataError, match="nowhere: no such file"):
        scan(config(folder, tmp_path / "other", reference=str(tmp_path / "nowhere")))


def test_what_is_refused_leaves_an_earlier_run_even_with_fresh(folder: Path, tmp_path: Path) -> None:
    scan(config(folder, tmp_path / "run"))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    write_lines(tmp_path / "other.jsonl", [chat("Something else?", "Yes.")])
    with pytest.raises(MissingDataError, match="no such file"):
        scan(config(folder, tmp_path / "run", fresh=True, reference=str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match="no response"):
        scan(config(folder, tmp_path / "run", fresh=True, baseline=str(tmp_path / "other.jsonl")))
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_blocks_depend_on_positions_alone() -> None:
    whole = list(split_blocks(0, 1000, 150))
    assert [stop for _, stop in whole][:4] == [64, 128, 150, 214]
    assert list(split_blocks(214, 1000, 150)) == whole[4:]
    assert whole[-1] == (964, 1000)


def test_gaps_are_what_no_part_covers() -> None:
    assert find_gaps([], 10) == [(0, 10)]
    assert find_gaps([Part(0, 4), Part(6, 8)], 10) == [(4, 6), (8, 10)]
    assert find_gaps([Part(0, 10)], 10) == []
    with pytest.raises(RunError, match="ends at row 12"):
        find_gaps([Part(0, 12)], 10)


def test_a_file_that_shrinks_while_it_is_read_is_noticed(folder: Path, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", chats(50))
    write_vectors(tmp_path / "vectors", model_path("llama"))

    def shrink(event: Event) -> None:
        if isinstance(event, PartWritten):
            write_lines(data, chats(25))

    with pytest.raises(DataError, match=r"fewer records|changed|breaks off|ends"):
        scan(config(tmp_path, tmp_path / "run"), listener=shrink)


def test_a_limited_scan_exports_what_it_saw_and_counts_the_rest(folder: Path, tmp_path: Path) -> None:
    run = scan(config(folder, tmp_path / "run", limit=30, baseline="none"))
    receipt = run.export(tmp_path / "kept.jsonl", rejected=tmp_path / "rest.jsonl")
    lines = (folder / "data.jsonl").read_bytes().splitlines(keepends=True)
    assert (tmp_path / "kept.jsonl").read_bytes() == b"".join(lines[:30])
    assert (tmp_path / "rest.jsonl").read_bytes() == b"".join(lines[30:])
    assert receipt.n_unscored == {"not_scanned": 20}
