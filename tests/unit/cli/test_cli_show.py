"""`show`: a sample with its texts, its baseline and its scores, or why a part of it is missing."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from audit.samples import Source, hash_source
from audit.store import RunStore
from tests.fabricated import FakeRecord, FakeTurn, make_run
from tests.unit.cli.conftest import HOSTILE, Ask


def test_a_sample_is_shown_with_texts_and_scores_and_hostile_text_stays_text(run: Path, ask: Ask) -> None:
    result = ask("show", run, "1")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert result.stdout.count(r"Evil \x1b[31mred\x1b[0m [bold]text[/bold] \u202e") == 2
    for words in ("How are you?", "flagged: evil", "+0.900", "a.jsonl:2"):
        assert words in result.stdout


def test_json_holds_the_text_as_it_is(run: Path, ask: Ask) -> None:
    (shown,) = json.loads(ask("show", run, "1", "--json").stdout)
    (turn,) = shown["turns"]
    assert turn["response"] == HOSTILE
    assert turn["prompt"] == [{"role": "user", "content": "How are you?"}]
    assert turn["scores"]["evil"]["projection_difference"] == 0.9
    assert shown["flagged_traits"] == ["evil"]


def test_the_top_of_a_trait_comes_in_order(run: Path, ask: Ask) -> None:
    shown = json.loads(ask("show", run, "--top", "evil", "-n", "2", "--json").stdout)
    assert [sample["sample_id"] for sample in shown] == [1, 3]


def test_long_texts_are_cut_and_it_says_so(run: Path, ask: Ask) -> None:
    cut = ask("show", run, "3").stdout
    assert "3,800 more characters" in cut.replace("\n  ", "")
    assert ask("show", run, "3", "--full").stdout.count("x") >= 5000


def test_a_skipped_record_has_its_reason(run: Path, ask: Ask) -> None:
    text = ask("show", run, "2").stdout
    assert r"skipped bad_json: no JSON \x1b[5m" in text


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        (["99"], "this run has the samples 0 to 3"),
        (["-1"], "No such option"),
        (["--", "-1"], "no sample -1"),
        (["one"], "is not a valid integer"),
        (["--top", "evli"], "did you mean 'evil'"),
        ([], "no sample given"),
        (["1", "--top", "evil"], "exclude each other"),
    ],
)
def test_a_wrong_sample_or_trait_exits_2(run: Path, ask: Ask, words: list[str], finding: str) -> None:
    result = ask("show", run, *words)
    assert result.exit_code == 2
    assert finding in result.stderr


def test_without_its_source_scores_are_shown_and_the_text_is_said_to_be_missing(run: Path, ask: Ask) -> None:
    source = run.parent / "a.jsonl"
    source.write_bytes(b" " + source.read_bytes())
    changed = ask("show", run, "1").stdout
    source.unlink()
    gone = ask("show", run, "1").stdout
    for text in (changed, gone):
        assert "texts are missing" in text
        assert "+0.900" in text
        assert "How are you?" not in text


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_another_file_in_its_place_is_noticed_whatever_its_time(run: Path, ask: Ask, hours: int) -> None:
    source = run.parent / "a.jsonl"
    time_s = datetime.fromisoformat(RunStore(run).read_manifest()["created_at"]).timestamp() + 3600 * hours
    source.write_bytes(source.read_bytes().replace(b"How are you?", b"Who are you?"))
    os.utime(source, (time_s, time_s))
    (shown,) = json.loads(ask("show", run, "1", "--json").stdout)
    assert "has changed since the scan" in shown["text_missing"]
    assert [turn["response"] for turn in shown["turns"]] == [None]


def test_a_file_that_only_looks_younger_is_shown(run: Path, ask: Ask) -> None:
    os.utime(run.parent / "a.jsonl")
    assert "How are you?" in ask("show", run, "1").stdout


def test_texts_that_are_missing_always_have_a_reason(run: Path, ask: Ask) -> None:
    (skipped,) = json.loads(ask("show", run, "2", "--json").stdout)
    assert skipped["text_missing"] == "the record gives no turns (bad_json)"
    (run.parent / "a.jsonl").unlink()
    (gone,) = json.loads(ask("show", run, "1", "--json").stdout)
    assert gone["text_missing"].startswith(f"{run.parent / 'a.jsonl'}: cannot be read: No such file")


def test_a_source_is_hashed_once(run: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def hash_and_count(source: Source, *, cure: str) -> str:
        hashed.append(source.path)
        return hash_source(source, cure=cure)

    monkeypatch.setattr("audit.cli.samples_read.hash_source", hash_and_count)
    assert ask("show", run, "0", "1", "3").exit_code == 0
    assert hashed == [str(run.parent / "a.jsonl")]


def test_a_conversation_is_not_repeated_for_every_turn(tmp_path: Path, ask: Ask) -> None:
    messages = [{"role": role, "content": f"{role} {k}"} for k in range(2) for role in ("user", "assistant")]
    scores = {"evil": (0.7, 0.2)}
    record = FakeRecord(
        turns=[FakeTurn(scores=scores, turn=1), FakeTurn(scores=scores, turn=3)],
        raw=json.dumps({"messages": messages}).encode(),
    )
    run = make_run(tmp_path / "a.audit", [record], dataset=tmp_path / "a.jsonl", traits=["evil"])
    text = ask("show", run, "0").stdout
    assert [text.count(f"{role} {k}") for k in range(2) for role in ("user", "assistant")] == [1, 1, 1, 1]


def test_a_run_without_scores_says_so(tmp_path: Path, ask: Ask) -> None:
    records = [FakeRecord(reason="bad_json: no JSON", raw=b"{")]
    run = make_run(tmp_path / "none.audit", records, dataset=tmp_path / "none.jsonl")
    result = ask("show", run, "--top", "evil")
    assert (result.exit_code, result.stdout) == (0, "no sample of this run has a score of evil\n")
