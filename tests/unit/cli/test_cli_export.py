"""`export`: what it prints, and its exit codes; what it writes is tested with the library."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.fabricated import make_run, scored
from tests.unit.cli.conftest import Ask


def test_counts_of_kept_flagged_and_unscored_records_are_printed(run: Path, ask: Ask, tmp_path: Path) -> None:
    result = ask("export", run, "--output", tmp_path / "out.jsonl", "--rejected", tmp_path / "rest.jsonl", "--quiet")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("kept        1 of 4 records")
    assert lines[1].startswith("flagged     2 (2 evil, 1 sycophantic), to ")
    assert lines[2].startswith("not scored  1 (1 bad_json), to ")
    assert lines[3].endswith("out.jsonl.manifest.json")
    assert lines[4].endswith("out.jsonl.card.md")


def test_json_is_the_receipt(run: Path, ask: Ask, tmp_path: Path) -> None:
    receipt = json.loads(ask("export", run, "--output", tmp_path / "out.jsonl", "--json").stdout)
    assert (receipt["n_kept"], receipt["n_rejected"]) == (1, 3)


def test_that_nothing_could_be_judged_is_the_first_line(tmp_path: Path, ask: Ask) -> None:
    verdicts = {"evil": "undecided", "sycophantic": "undecided"}
    run = make_run(tmp_path / "a.audit", [scored(0.1)], dataset=tmp_path / "a.jsonl", verdicts=verdicts)
    result = ask("export", run, "--drop", "flagged", "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith("UNDECIDED: nothing could be judged")


def test_where_and_keep_skipped_give_the_input_back(run: Path, ask: Ask, tmp_path: Path) -> None:
    result = ask("export", run, "--output", tmp_path / "out.jsonl", "--where", "true", "--keep-skipped")
    assert result.exit_code == 0
    assert "filtered    0 (fail --where)" in result.stdout
    assert (tmp_path / "out.jsonl").read_bytes() == (run.parent / "a.jsonl").read_bytes()


def test_options_that_change_records_reach_the_library(run: Path, ask: Ask, tmp_path: Path) -> None:
    words = [
        "--where",
        "true",
        "--rejected",
        tmp_path / "rest.json.gz",
        "--annotate",
        "--format",
        "json",
        "--format",
        "alpaca",
    ]
    result = ask("export", run, "--output", tmp_path / "out.json.gz", *words)
    assert result.exit_code == 0
    records = json.loads(gzip.decompress((tmp_path / "out.json.gz").read_bytes()))
    assert [list(record) for record in records] == [["instruction", "input", "output", "persona_audit"]] * 3
    assert "left out    1 of the rejected: they cannot be converted" in result.stdout
    assert "note        LLaMA-Factory reads no compressed files: unpack out.json.gz for it" in result.stdout


def test_records_that_cannot_be_annotated_are_counted(run: Path, ask: Ask, tmp_path: Path) -> None:
    result = ask("export", run, "--output", tmp_path / "out.jsonl", "--keep-skipped", "--annotate")
    assert "unmarked    1 that cannot be read, without persona_audit" in result.stdout


def test_errors_exit_2_with_place_finding_and_cure(run: Path, ask: Ask, tmp_path: Path) -> None:
    for words, finding in (
        (["--output", run.parent / "a.jsonl", "--force"], "is an input of the run"),
        (["--output", tmp_path / "o.jsonl", "--where", "evli < 1"], '"evil"'),
        (["--output", tmp_path / "o.jsonl", "--where", "true; DROP VIEW flags"], "not one SQL expression"),
        (["--output", tmp_path / "o.jsonl", "--where", "true", "--drop", "flagged"], "excludes --drop"),
        (["--output", tmp_path / "o.jsonl", "--format", "yaml"], "'yaml' is not known"),
        (["--output", tmp_path / "o.jsonl", "--format", "csv,parquet"], "names two containers: csv and parquet"),
        ([], "Missing option '--output'"),
    ):
        result = ask("export", run, *words)
        assert result.exit_code == 2
        assert finding in result.stderr
        assert result.stdout == ""
    assert not (tmp_path / "o.jsonl").exists()
