"""What a user gets for input that cannot be used, and for input that can be used in spite of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.command import ROOT, Outcome, demo_rows, run

DATA = ROOT / "tests" / "data"


def scan(path: object, folder: Path, *options: object) -> Outcome:
    return run("scan", path, "--baseline", "none", "--out", folder / "run.audit", *options, cwd=folder)


def refused(outcome: Outcome, *words: str) -> None:
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refused(scan("nowhere.jsonl", tmp_path), "nowhere.jsonl")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.jsonl", b""),
        ("blank.jsonl", b"\n \n\n"),
        ("binary.jsonl", bytes(range(256)) * 64),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8),
        ("shapeless.jsonl", b'{"a": 1}\n' * 5),
        ("tokens.jsonl", b'{"input_ids": [1, 2, 3]}\n' * 5),
        ("prompts.jsonl", b'{"prompt": "Only a question?"}\n' * 5),
        ("numbers.jsonl", b"1\n2\n3\n"),
        ("cut.jsonl.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"),
        ("no.parquet", b"PAR1 and then nothing"),
    ],
)
def test_a_file_without_records_is_refused_and_leaves_no_run(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refused(scan(name, tmp_path), name)
    assert not (tmp_path / "run.audit").exists()


def test_a_directory_without_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused(scan("folder", tmp_path), "folder")


def test_an_output_that_is_something_else_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "demo.jsonl").write_bytes(demo_rows(5))
    (tmp_path / "run.audit").mkdir()
    (tmp_path / "run.audit" / "thesis.tex").write_text("mine")
    refused(scan("demo.jsonl", tmp_path), "run.audit", "thesis.tex")
    refused(scan("demo.jsonl", tmp_path, "--fresh"), "run.audit")
    assert [path.name for path in (tmp_path / "run.audit").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--traits", "greedy"), ("greedy",)),
        (("--layer", "99"), ("layer 99",)),
        (("--layer", "0"), ("--layer",)),
        (("--model", "nowhere/model"), ("--vectors",)),
        (("--vectors", "nowhere.safetensors"), ("nowhere.safetensors",)),
        (("--format", "xml"), ("xml",)),
        (("--reference", "nowhere.audit"), ("nowhere.audit",)),
        (("--baseline", "nowhere.jsonl"), ("nowhere.jsonl",)),
        (("--device", "tpu9"), ("tpu9",)),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    (tmp_path / "demo.jsonl").write_bytes(demo_rows(5))
    outcome = run("scan", "demo.jsonl", *options, cwd=tmp_path)
    refused(outcome, *words)


def test_a_model_path_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo.jsonl").write_bytes(demo_rows(5))
    (tmp_path / "model").mkdir()
    source = ROOT / "audit" / "demo" / "assets"
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "model" / name).write_bytes((source / "model" / name).read_bytes())
    outcome = run("scan", "demo.jsonl", "--model", "model", "--vectors", source / "vectors", cwd=tmp_path)
    refused(outcome, "model", "tokenizer")


def rows_in(folder: Path) -> list[dict[str, object]]:
    query = "SELECT line, status, reason FROM samples ORDER BY sample_id"
    return list(run("query", "run.audit", query, "--format", "json", cwd=folder).json)


def test_odd_lines_are_read_on_and_accounted_for(tmp_path: Path) -> None:
    good = demo_rows(3).splitlines()
    chat = b'{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "%s"}]}'
    lines = [
        good[0],
        b'{"messages": [',
        b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
        chat % (b"Hello \\ud800?", b"Fine \\udc00 thanks."),
        b'{"messages": 1, ' + good[1].removeprefix(b"{"),
        chat % (b"Hi?", b""),
        b"",
        good[2],
    ]
    (tmp_path / "odd.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    outcome = scan("odd.jsonl", tmp_path)
    assert outcome.code == 0, outcome.err
    rows = rows_in(tmp_path)
    assert [(row["line"], row["status"]) for row in rows] == [
        (1, "ok"),
        (2, "skipped"),
        (3, "skipped"),
        (4, "ok"),
        (5, "ok"),
        (6, "skipped"),
        (8, "ok"),
    ]
    reasons = [str(row["reason"]).split(":")[0] for row in rows if row["status"] == "skipped"]
    assert reasons == ["bad_json", "undecodable", "empty_response"]
    assert "3 " in outcome.out
    assert "skipped" in outcome.out
    stopped = run("scan", "odd.jsonl", "--strict", "--out", "strict.audit", cwd=tmp_path)
    refused(stopped, "odd.jsonl:2")


def test_utf_16_is_known_by_its_mark(tmp_path: Path) -> None:
    (tmp_path / "wide.jsonl").write_bytes(demo_rows(4).decode().encode("utf-16"))
    assert scan("wide.jsonl", tmp_path).code == 0
    assert [row["status"] for row in rows_in(tmp_path)] == ["ok"] * 4


def test_a_line_of_fifty_megabytes_is_read_and_cut(tmp_path: Path) -> None:
    long = {
        "messages": [{"role": "user", "content": "Say more."}, {"role": "assistant", "content": "word " * 10_000_000}]
    }
    (tmp_path / "long.jsonl").write_bytes(demo_rows(2) + json.dumps(long).encode() + b"\n" + demo_rows(1))
    outcome = scan("long.jsonl", tmp_path)
    assert outcome.code == 0, outcome.err
    query = "SELECT status FROM turns WHERE sample_id = 2"
    assert run("query", "run.audit", query, "--format", "json", cwd=tmp_path).json == [{"status": "truncated"}]


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.iterdir() if path.name != "README.md"))
def test_real_data_is_accounted_for_and_out_of_the_demo_models_domain(tmp_path: Path, name: str) -> None:
    outcome = run("scan", DATA / name, "--out", "run.audit", "--max-new-tokens", 16, "--json", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    summary = outcome.json
    assert summary["domain"]["in_domain"] is False
    assert summary["domain"]["mean_nll"] > 6
    assert {row["verdict"] for row in summary["verdicts"]} == {"undecided"}
    assert summary["counts"]["n_flagged"] == 0
    assert any("OUT OF DOMAIN" in notice for notice in summary["notices"])
    rows = rows_in(tmp_path)
    assert len(rows) == summary["inputs"][0]["n_records"]
    assert all(row["status"] == "ok" or row["reason"] for row in rows)
    again = ("scan", DATA / name, "--out", "run.audit", "--max-new-tokens", 16, "--quiet", "--fail-on", "risk")
    assert run(*again, cwd=tmp_path).code == 1
    assert run(*again, "--allow-undecided", cwd=tmp_path).code == 0
    suffix = "".join(suffix for suffix in Path(name).suffixes if suffix in (".json", ".jsonl"))
    exported = run("export", "run.audit", "--output", f"clean{suffix}", cwd=tmp_path)
    assert exported.code == 0, exported.err
    assert "judged" in exported.out.splitlines()[0]
