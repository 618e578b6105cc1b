"""`export --drop` by a judge's word: judged, both, either; what was never judged is said, and nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import ConfigError
from audit.export import ExportReceipt, export_run
from audit.judged import write_opinions
from audit.query import open_connection, read_batches, run_named
from audit.schema import JUDGE
from tests.fabricated import FakeRecord, make_run, scored
from tests.unit.cli.conftest import Ask, ask

__all__ = ["ask"]

RECORDS = [
    scored(0.1),  # 0: neither
    scored(0.9, flagged=["evil"]),  # 1: flagged and judged for the same trait
    scored(0.9, flagged=["evil"]),  # 2: flagged, judged not to show it
    scored(0.1),  # 3: judged alone
    scored(0.9, flagged=["evil"]),  # 4: flagged, never judged
    scored(0.9, flagged=["evil"]),  # 5: flagged for one trait, judged for another
    scored(0.9, flagged=["evil"]),  # 6: flagged, the judge's word is void
    FakeRecord(reason="bad_json: no JSON", raw=b"{"),
]
SAID = [
    (0, "evil", 10.0),
    (1, "evil", 90.0),
    (2, "evil", 20.0),
    (3, "sycophantic", 70.0),
    (5, "evil", 5.0),
    (5, "sycophantic", 60.0),
    (6, "evil", None),
]


def say(run: Path, said: list[tuple[int, str, float | None]] = SAID) -> None:
    rows = [
        {
            "sample_id": sample_id,
            "trait": trait,
            "draw": "random",
            "judge_score": score,
            "is_judged_present": None if score is None else score >= 50,
            "reason": None,
        }
        for sample_id, trait, score in said
    ]
    judge = {"judge": {"judge": "server", "model": "a judge"}, "name": "server", "spec_sha256": "ab", "threshold": 50.0}
    write_opinions(run, rows, dict.fromkeys(("evil", "sycophantic"), judge))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl")
    say(made)
    return made


def export(run: Path, drop: str, **options: Any) -> tuple[ExportReceipt, list[int], dict[str, Any]]:
    output = run.parent / f"{drop}.jsonl"
    receipt = export_run(run, output=output, drop=drop, annotate=True, **options)
    kept = [json.loads(line)["persona_audit"]["sample_id"] for line in output.read_text().splitlines()]
    return receipt, kept, json.loads(Path(receipt.manifest).read_text())


@pytest.mark.parametrize(
    ("drop", "kept", "n_never"),
    [("flagged", [0, 3], 0), ("judged", [0, 2, 4, 6], 2), ("both", [0, 2, 3, 4, 5, 6], 2), ("either", [0], 2)],
)
def test_each_kind_leaves_out_what_it_says(run: Path, drop: str, kept: list[int], n_never: int) -> None:
    receipt, found, manifest = export(run, drop)
    assert found == kept
    assert (receipt.n_kept, receipt.n_failed, receipt.drop) == (len(kept), 7 - len(kept), drop)
    assert receipt.n_never_judged == manifest["counts"]["never_judged"] == n_never
    assert (n_never > 0) == any("2 flagged records were never judged" in notice for notice in receipt.notices)
    assert manifest["filter"]["drop"] == drop


def test_reasons_card_and_annotation_say_what_the_judge_found(run: Path) -> None:
    receipt, _, manifest = export(run, "either", rejected=run.parent / "rest.jsonl")
    reasons = {entry["sample_id"]: entry["reason"] for entry in manifest["dropped"]}
    assert reasons[1] == "flagged: evil (z 3.0); judged: evil (90)"
    assert reasons[3] == "judged: sycophantic (70)"
    assert reasons[4] == "flagged: evil (z 3.0)"
    card = Path(receipt.card).read_text()
    assert "flagged, or a judge finds a trait in them: 6" in card
    assert "server: a judge" in card
    assert "--drop either" in card
    assert "flagged and never judged: 2" in card
    rest = [json.loads(line) for line in (run.parent / "rest.jsonl").read_text().splitlines() if line != "{"]
    scores = {row["persona_audit"]["sample_id"]: row["persona_audit"]["judge_scores"] for row in rest}
    assert scores[5] == {"evil": 5.0, "sycophantic": 60.0}
    assert scores[4] == scores[6] == {"evil": None, "sycophantic": None}


@pytest.mark.parametrize("drop", ["judged", "both", "either"])
def test_without_a_judge_there_is_a_cure(tmp_path: Path, drop: str) -> None:
    run = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match=r"nobody has judged records.*persona-audit judge RUN"):
        export_run(run, output=tmp_path / "out.jsonl", drop=drop)
    assert not (tmp_path / "out.jsonl").exists()


def test_the_command_prints_what_was_dropped_and_what_was_never_judged(run: Path, ask: Ask, tmp_path: Path) -> None:
    result = ask("export", run, "--drop", "both", "--output", tmp_path / "out.jsonl", "--quiet")
    assert result.exit_code == 0, result.output
    assert "both        1 (flagged: 5 evil; judged: 1 evil, 2 sycophantic), left out" in result.stdout
    assert "note        2 flagged records were never judged: kept" in result.stdout
    assert ask("query", run, "--name", "judged", "--format", "json").exit_code == 0


def test_a_damaged_file_of_opinions_is_an_error(run: Path, tmp_path: Path) -> None:
    (run / "judge.parquet").write_bytes(b"PAR1")
    with pytest.raises(Exception, match="cannot be read") as caught:
        export_run(run, output=tmp_path / "out.jsonl", drop="both")
    assert type(caught.value).__module__ == "audit.errors"


def test_opinions_of_another_trait_stay_and_the_same_judges_are_joined(run: Path) -> None:
    rows = [{"sample_id": 0, "trait": "evil", "draw": "flagged", "judge_score": 99.0, "is_judged_present": True}]
    judge = {"judge": {"judge": "server", "model": "a judge"}, "name": "server", "spec_sha256": "ab", "threshold": 4.0}
    write_opinions(run, rows, {"evil": judge})
    found = {(row["sample_id"], row["trait"]): row for row in pq.read_table(run / "judge.parquet").to_pylist()}
    assert len(found) == len(SAID)
    assert (found[0, "evil"]["judge_score"], found[0, "evil"]["draw"]) == (99.0, "random")
    assert found[5, "evil"]["is_judged_present"] is True
    assert found[5, "sycophantic"]["is_judged_present"] is True
    write_opinions(run, rows, {"evil": {**judge, "judge": {"judge": "other"}}})
    left = pq.read_table(run / "judge.parquet")
    assert left.filter(pa.compute.equal(left["trait"], "evil")).num_rows == 1
    assert left.num_rows == 3


def test_the_named_query_counts_flags_draws_and_voids(run: Path) -> None:
    rows = pq.read_table(run / "judge.parquet").to_pylist()
    draws = {(1, "evil"): "flagged", (5, "evil"): "flagged"}
    for row in rows:
        row["draw"] = draws.get((row["sample_id"], row["trait"]), "random")
    pq.write_table(pa.Table.from_pylist(rows, schema=JUDGE), run / "judge.parquet")
    with open_connection(run) as connection:
        batches = read_batches(run_named(connection, "judged"))
        found = {row["trait"]: row for batch in batches for row in batch.to_pylist()}
    assert found["evil"] == {
        "trait": "evil",
        "n_records": 7,
        "n_flagged": 5,
        "n_flagged_judged": 3,
        "n_confirmed": 1,
        "confirmed_share": pytest.approx(1 / 3),
        "n_random_judged": 2,
        "n_random_present": 0,
        "n_random_flagged": 1,
        "n_random_both": 0,
        "n_void": 1,
    }
    assert (found["sycophantic"]["n_random_present"], found["sycophantic"]["n_random_flagged"]) == (2, 0)
    assert found["sycophantic"]["confirmed_share"] is None
