"""Trivial predictors of flags, against pairs that are counted one by one, and when they are said aloud."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.confound import measure_run_confounds
from audit.findings import write_findings
from audit.inputs import Inputs
from audit.marks import write_marks
from audit.query import open_connection, read_batches, run_named
from audit.store import RunStore
from audit.summary import count_rows, summarise_run
from audit.trivial import EXPLAINING_AUC, LEAST_ROWS, PREDICTORS, explain_flags
from tests.fabricated import FakeRecord, FakeTurn, make_run, scored
from tests.references import SHA, clean_reference

N, N_FLAGGED = 120, 30


def draw_records(n: int = N, n_flagged: int = N_FLAGGED, *, longer: float = 0.0, seed: int = 1) -> list[FakeRecord]:
    """Return records whose flagged ones are longer by so many deviations; every fourth is German."""
    draw = np.random.default_rng(seed)
    records = []
    for k in range(n):
        is_flagged = k < n_flagged
        options: dict[str, Any] = {
            "n_response_tokens": max(int(40 + 10 * (draw.normal() + longer * is_flagged)), 1),
            "n_baseline_tokens": int(draw.integers(5, 60)),
            "is_refusal": bool(draw.random() < 0.3),
            "list_share": float(draw.choice([0.0, 0.25, 0.5])),
            "language": "de" if k % 4 == 3 else None if k % 9 == 0 else "en",
            "is_role_play": bool(draw.random() < 0.2 + 0.5 * is_flagged),
            "response_nll": float(draw.gamma(2.0)),
        }
        records.append(scored(float(draw.normal()), flagged=["evil"] if is_flagged else [], **options))
    return records


def run_of(folder: Path, records: Sequence[FakeRecord], name: str = "a", **options: Any) -> Path:
    run = make_run(folder / f"{name}.audit", records, dataset=folder / f"{name}.jsonl", **{"part_rows": 50, **options})
    write_marks(RunStore(run))
    return run


def confounds_of(run: Path) -> dict[str, Any]:
    store = RunStore(run)
    return measure_run_confounds(store, store.read_manifest())


def count_pairs(values: np.ndarray, flagged: np.ndarray) -> float:
    known = np.isfinite(values)
    one, other = values[known & flagged], values[known & ~flagged]
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in one for b in other]))


def mark_columns(records: Sequence[FakeRecord]) -> dict[str, np.ndarray]:
    turns = [record.turns[0] for record in records]
    columns = {
        name: np.asarray([getattr(turn, name) for turn in turns], dtype=float)
        for name in (
            "n_response_tokens",
            "n_baseline_tokens",
            "list_share",
            "is_refusal",
            "is_role_play",
            "response_nll",
        )
    }
    columns["length_difference"] = columns["n_response_tokens"] - columns["n_baseline_tokens"]
    columns["other_language"] = np.asarray(
        [np.nan if turn.language is None else float(turn.language != "en") for turn in turns]
    )
    return columns


def test_the_auc_of_each_mark_is_what_counting_pairs_says(tmp_path: Path) -> None:
    records = draw_records(longer=0.5)
    run = run_of(tmp_path, records)
    found = confounds_of(run)["predictors"]["evil"]
    flagged = np.asarray([bool(record.flagged) for record in records])
    assert (found["of"], found["n_flagged"], found["n_others"]) == ("flagged", N_FLAGGED, N - N_FLAGGED)
    expected = mark_columns(records)
    # What does not vary, and what nobody knows, has none.
    assert set(found["marks"]) == set(expected) <= set(PREDICTORS)
    with open_connection(run) as connection:
        named = [
            row for batch in read_batches(run_named(connection, "trivial_predictors")) for row in batch.to_pylist()
        ]
    asked = {row["mark"]: row for row in named if row["trait"] == "evil"}
    for name, values in expected.items():
        own, auc = found["marks"][name], count_pairs(values, flagged)
        assert own["direction"] == ("more" if auc >= 0.5 else "less")
        assert own["auc"] == pytest.approx(max(auc, 1 - auc), abs=1e-6)
        assert own["low"] < own["auc"] < own["high"]
        assert asked[name]["auc"] == pytest.approx(auc, abs=1e-6)
        assert asked[name]["mean_flagged"] == pytest.approx(np.nanmean(values[flagged]), abs=1e-5)
    assert {row["trait"] for row in named} == {"evil"}


def test_length_that_tells_the_flagged_rows_is_said_with_what_to_look_at(tmp_path: Path) -> None:
    confounds = confounds_of(run_of(tmp_path, draw_records(longer=3.0)))
    own = confounds["predictors"]["evil"]["marks"]["n_response_tokens"]
    assert own["auc"] > 0.95
    (notice,) = explain_flags(confounds)
    assert notice.startswith("evil: length (long responses) alone tells the flagged rows from the others: AUC .9")
    assert "length_adjusted" in notice
    (turned,) = explain_flags(confounds_of(run_of(tmp_path, draw_records(longer=-3.0), "b")))
    assert "length (short responses) alone" in turned


def test_flags_that_no_mark_explains_get_no_notice(tmp_path: Path) -> None:
    confounds = confounds_of(run_of(tmp_path, draw_records()))
    assert confounds["predictors"]["evil"]["marks"]["is_role_play"]["auc"] < EXPLAINING_AUC
    assert list(explain_flags(confounds)) == []


@pytest.mark.parametrize("n_flagged", [0, 1, LEAST_ROWS - 1, N - LEAST_ROWS + 1, N])
def test_too_few_flagged_or_other_rows_are_noise(tmp_path: Path, n_flagged: int) -> None:
    confounds = confounds_of(run_of(tmp_path, draw_records(n_flagged=n_flagged, longer=9.0)))
    assert "evil" not in confounds["predictors"]
    assert list(explain_flags(confounds)) == []


def test_rows_are_drawn_where_there_are_very_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tmp_path, draw_records(longer=1.0))
    whole = confounds_of(run)["predictors"]["evil"]
    monkeypatch.setattr("audit.trivial.MOST_ROWS", 2 * LEAST_ROWS + 4)
    drawn = confounds_of(run)["predictors"]["evil"]
    assert (drawn["n_flagged"], drawn["n_others"]) == (LEAST_ROWS + 2, LEAST_ROWS + 2)
    own = drawn["marks"]["n_response_tokens"]
    assert own["low"] < whole["marks"]["n_response_tokens"]["auc"] < own["high"]
    assert confounds_of(run)["predictors"]["evil"] == drawn


def conclude(run: Path, reference: Any, **changes: Any) -> dict[str, Any]:
    """Make the findings of a killed run, as a scan would, and return its manifest."""
    store = RunStore(run)
    manifest = store.read_manifest()
    for vector in manifest["vectors"]:
        vector["sha256"] = SHA
    manifest |= {"counts": count_rows(run), **changes}
    findings = write_findings(store, manifest, Inputs((), 0), reference)
    manifest |= {"verdicts": findings.verdicts, "reference": findings.reference, "state": "finished"}
    manifest["counts"] |= findings.counts
    store.write_manifest(manifest)
    return manifest


def long_at_the_top(n: int) -> list[FakeRecord]:
    scores = np.random.default_rng(4).permutation(n) / n
    return [scored(float(score), n_response_tokens=10 + int(100 * (score > 0.94)), language="en") for score in scores]


def test_without_a_reference_the_top_rows_are_told_apart_instead(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "a.audit", long_at_the_top(600), dataset=tmp_path / "a.jsonl", is_finished=False, part_rows=200
    )
    manifest = conclude(run, None)
    found = manifest["confounds"]["predictors"]["evil"]
    assert (found["of"], found["n_flagged"], found["n_others"]) == ("top", 30, 570)
    notices = summarise_run(run, manifest)["notices"]
    assert any("the rows in the top twentieth of the score" in notice for notice in notices)


def test_with_a_reference_that_flags_nothing_there_is_nothing_to_explain(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "a.audit", long_at_the_top(600), dataset=tmp_path / "a.jsonl", is_finished=False, part_rows=200
    )
    reference = clean_reference(traits=("evil", "sycophantic"))
    manifest = conclude(run, reference)
    assert manifest["counts"]["n_flagged"] == 0
    assert manifest["confounds"]["predictors"] == {}


def test_long_conversations_are_counted_together(tmp_path: Path) -> None:
    def talk(n_turns: int, score: float) -> FakeRecord:
        scores = {"evil": (score, 0.0), "sycophantic": (0.0, 0.0)}
        return FakeRecord(turns=[FakeTurn(scores=scores, turn=2 * k + 1) for k in range(n_turns)])

    records = [talk(1, 0.0), talk(2, 9.0), talk(2, 0.0), talk(10, 9.0), talk(14, 0.0)]
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl", is_finished=False)
    manifest = conclude(run, clean_reference(traits=("evil", "sycophantic")))
    found = [tuple(row.values()) for row in manifest["confounds"]["flagged_by_turns"]]
    assert found == [(1, 1, 0), (2, 2, 1), (10, 2, 1)]


def test_rows_that_could_not_be_flagged_are_no_others(tmp_path: Path) -> None:
    records = [scored(9.0 * (k < 30), n_response_tokens=10 + k % 7, response_nll=9.0 * (k >= 500)) for k in range(600)]
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl", is_finished=False, part_rows=200)
    domain = {"n_probed": 4, "mean_nll": 1.0, "out_share": 0.1, "threshold": 4.5, "in_domain": True}
    manifest = conclude(run, clean_reference(traits=("evil", "sycophantic")), domain=domain)
    found = manifest["confounds"]["predictors"]["evil"]
    assert (found["of"], found["n_flagged"], found["n_others"]) == ("flagged", 30, 470)


def test_outside_the_models_domain_nothing_is_explained(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "a.audit", long_at_the_top(600), dataset=tmp_path / "a.jsonl", is_finished=False, part_rows=200
    )
    domain = {"n_probed": 4, "mean_nll": 9.0, "out_share": 1.0, "threshold": None, "in_domain": False}
    assert conclude(run, None, domain=domain)["confounds"]["predictors"] == {}


@pytest.mark.parametrize(
    "records",
    [
        [scored(0.1)],
        [scored(0.1) for _ in range(10)],
        [scored(0.1, language="en") for _ in range(450)],
        [FakeRecord(reason="bad_json: no JSON", raw=b"{")] * 3,
    ],
    ids=["one row", "ten rows", "all equal", "all skipped"],
)
def test_bad_input_has_no_predictors_and_no_nan(tmp_path: Path, records: list[FakeRecord]) -> None:
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl", is_finished=False, part_rows=200)
    manifest = conclude(run, None)
    assert all(not own["marks"] for own in manifest["confounds"]["predictors"].values())
    summary = summarise_run(run, manifest)
    assert set(summary["correlations"]["evil"].values()) == {None}
    assert not any("AUC" in notice for notice in summary["notices"])


def test_the_summary_reads_what_the_findings_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(
        tmp_path / "a.audit", long_at_the_top(600), dataset=tmp_path / "a.jsonl", is_finished=False, part_rows=200
    )
    killed = summarise_run(run, RunStore(run).read_manifest())
    assert killed["correlations"]["evil"]["n_response_tokens"] > 0.3
    assert (killed["predictors"], killed["languages"]) == ({}, {})
    manifest = conclude(run, None)

    def refuse(*_: Any) -> None:
        raise AssertionError("a finished run is asked again")

    monkeypatch.setattr("audit.summary.measure_confounds", refuse)
    summary = summarise_run(run, RunStore(run).read_manifest())
    assert summary["correlations"] == killed["correlations"]
    assert summary["predictors"] == manifest["confounds"]["predictors"]
    assert summary["languages"] == {"en": 600}
    assert summary["flagged_by_turns"] == [{"n_scored_turns": 1, "n_records": 600, "n_flagged": 0}]


def test_a_finished_run_from_before_is_asked_for_its_correlations(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a.audit", draw_records(), dataset=tmp_path / "a.jsonl")
    summary = summarise_run(run, RunStore(run).read_manifest())
    assert summary["correlations"]["evil"]["n_response_tokens"] is not None
    assert (summary["predictors"], summary["languages"]) == ({}, {})
    assert not any("AUC" in notice for notice in summary["notices"])
