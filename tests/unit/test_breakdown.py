"""Verdicts by the values of a column: numbers against their definitions, lumping, bands, bad input, old runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit import breakdown
from audit.breakdown import break_down, list_columns
from audit.errors import ConfigError, RunError
from audit.findings import reference_from_run, write_findings
from audit.inputs import Inputs
from audit.means import estimate_group_means, estimate_means
from audit.pooling import pool_evidence, pool_groups
from audit.query import open_connection
from audit.reference import Reference
from audit.store import RunStore
from tests.fabricated import FakeRecord, FakeTurn, make_run

TRAITS = ("evil", "sycophantic")


def draw_records(n: int, seed: int, shift: float = 0.0) -> list[FakeRecord]:
    """Return records of one or two answers whose evil scores and evidence are shifted by so many deviations."""
    draw = np.random.default_rng(seed)
    return [FakeRecord(turns=[_draw_turn(draw, shift, turn) for turn in range(1, 2 + i % 2)]) for i in range(n)]


def _draw_turn(draw: np.random.Generator, shift: float, turn: int) -> FakeTurn:
    evil, other = draw.normal() + shift, draw.normal()
    return FakeTurn(
        scores={"evil": (evil, 0.0), "sycophantic": (other, 0.0)},
        orthogonal={"evil": evil, "sycophantic": other},
        evidence={"evil": (draw.normal() + shift, 1.0), "sycophantic": (draw.normal(), 1.0)},
        random=(draw.normal(size=32).tolist(), draw.normal(size=32).tolist()),
        response_nll=1.0,
        turn=turn,
    )


def judged_run(
    folder: Path,
    records: Sequence[FakeRecord],
    kept: dict[str, Sequence[Any]],
    reference: Reference | None,
    name: str = "a",
) -> Path:
    """Return a run whose findings were made by the tool itself."""
    path = make_run(
        folder / f"{name}.audit",
        records,
        dataset=folder / f"{name}.jsonl",
        traits=TRAITS,
        evidence="full",
        is_finished=False,
        part_rows=70,
        kept=kept,
    )
    store = RunStore(path)
    manifest = store.read_manifest()
    findings = write_findings(store, manifest, Inputs((), 0), reference)
    counts = manifest["counts"] | findings.counts
    manifest |= {"verdicts": findings.verdicts, "counts": counts, "reference": findings.reference, "state": "finished"}
    store.write_manifest(manifest)
    return path


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference_from_run(judged_run(tmp_path_factory.mktemp("clean"), draw_records(600, 1), {}, None), seed=0)


# Three teachers and five records without one; the second teaches evil.
SIZES = (("good", 150, 0.0), ("bad", 120, 2.0), ("tiny", 12, 0.0), (None, 5, 0.0))
RECORDS = [record for i, (_, n, shift) in enumerate(SIZES) for record in draw_records(n, 10 + i, shift)]
TEACHERS = [name for name, n, _ in SIZES for _ in range(n)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, reference: Reference) -> Path:
    folder = tmp_path_factory.mktemp("run")
    order = np.random.default_rng(0).permutation(len(RECORDS))
    return judged_run(folder, [RECORDS[i] for i in order], {"teacher": [TEACHERS[i] for i in order]}, reference)


@pytest.fixture(scope="module")
def found(run: Path) -> dict[str, Any]:
    return break_down(run, "teacher")


def of(values: dict[str, Any], value: str | None, trait: str = "evil") -> dict[str, Any]:
    (group,) = (group for group in values["groups"] if group["value"] == value)
    (row,) = (row for row in group["verdicts"] if row["trait"] == trait)
    return {**group, **row}


def test_groups_come_largest_first_with_their_counts(found: dict[str, Any]) -> None:
    assert [(group["value"], group["n_records"], group["n_scored"]) for group in found["groups"]] == [
        ("good", 150, 150),
        ("bad", 120, 120),
        ("tiny", 12, 12),
        (None, 5, 5),
    ]
    assert (found["n_groups"], found["n_lumped"], found["is_banded"]) == (4, 0, False)
    json.dumps(found, allow_nan=False)


def test_the_group_that_teaches_a_trait_is_the_one_at_risk(found: dict[str, Any]) -> None:
    assert [of(found, "bad")["verdict"], of(found, "bad", "sycophantic")["verdict"]] == ["risk", "clear"]
    assert [of(found, "good", trait)["verdict"] for trait in TRAITS] == ["clear", "clear"]
    assert next(group["verdict"] for group in found["groups"] if group["value"] == "bad") == "risk"
    for small in ("tiny", None):
        assert of(found, small)["verdict"] == "undecided"
        assert "too few" in of(found, small)["reason"]


def test_numbers_of_a_group_are_those_of_its_records_alone(run: Path, found: dict[str, Any]) -> None:
    bad = [record for record, teacher in zip(RECORDS, TEACHERS, strict=True) if teacher == "bad"]
    means = np.array([np.mean([turn.scores["evil"][0] for turn in record.turns]) for record in bad])
    own = of(found, "bad")
    assert own["mean_difference"] == pytest.approx(means.mean(), rel=1e-6)
    half = 1.96 * means.std(ddof=1) / np.sqrt(len(means))
    assert (own["ci_low"], own["ci_high"]) == pytest.approx((means.mean() - half, means.mean() + half), abs=0.3 * half)
    turns = [turn for record in bad for turn in record.turns]
    scores = np.array([turn.evidence["evil"][0] for turn in turns])
    assert own["evidence_z_pooled"] == pytest.approx(scores.sum() / np.sqrt(len(turns)), rel=1e-5)
    drawn, null = (np.array([turn.random[place] for turn in turns if turn.random]) for place in (0, 1))
    z_r = drawn.sum(axis=0) / np.sqrt((null**2).sum(axis=0))
    assert own["evidence_band"] == pytest.approx(max(2.0369333 * np.sqrt((z_r**2).mean()), 1.959964), rel=1e-5)
    with open_connection(run) as connection:
        flagged = connection.execute(
            "SELECT count(*) FROM flags JOIN samples USING (sample_id) "
            "WHERE flagged AND trait = 'evil' AND teacher = 'bad'"
        ).fetchall()[0][0]
    assert own["n_flagged"] == flagged
    assert own["verdicts"][0]["flagged_share"] == pytest.approx(flagged / 120)


def test_one_group_of_all_is_judged_as_the_run_is(run: Path) -> None:
    manifest = RunStore(run).read_manifest()
    (group,) = break_down(run, "format")["groups"]
    rows = [{name: row[name] for name in manifest["verdicts"][0]} for row in group["verdicts"]]
    assert rows == manifest["verdicts"]


def test_many_groups_share_the_alarm_level(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        breakdown, "judge_traits", lambda scores, *_, n_groups, **__: seen.append(n_groups) or judge(scores)
    )
    judge = lambda scores: [{"trait": next(iter(scores)), "n": 1, "n_flagged": 0, "verdict": "clear"}]  # noqa: E731
    break_down(run, "teacher")
    # Two groups have enough records for a verdict, and each trait is judged by itself.
    assert set(seen) == {2 * len(TRAITS)}


def test_what_is_not_among_the_largest_is_one_group_and_said(
    run: Path, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakdown, "MAX_GROUPS", 2)
    values = break_down(run, "teacher")
    assert [(group["value"], group["is_rest"], group["n_records"]) for group in values["groups"]] == [
        ("good", False, 150),
        ("bad", False, 120),
        (None, True, 17),
    ]
    assert (values["n_groups"], values["n_lumped"]) == (4, 2)
    assert of(values, "bad")["mean_difference"] == of(found, "bad")["mean_difference"]


def test_a_text_column_of_only_distinct_values_is_lumped(tmp_path: Path, reference: Reference) -> None:
    n = 120
    run = judged_run(tmp_path, draw_records(n, 30), {"name": [f"row {i}" for i in range(n)]}, reference)
    values = break_down(run, "name")
    assert len(values["groups"]) == 51
    assert values["n_lumped"] == 70
    assert values["groups"][-1]["n_records"] == 70


def test_numbers_of_many_values_are_cut_into_bands_that_hold_every_record(run: Path) -> None:
    values = break_down(run, "line")
    assert values["is_banded"]
    assert [group["n_records"] for group in values["groups"]] == pytest.approx([28.7] * 10, abs=1)
    first = values["groups"][0]
    assert first["value"] == f"1 to {first['n_records']}"
    assert sum(group["n_records"] for group in values["groups"]) == len(RECORDS)
    # Few distinct numbers are values.
    few = break_down(run, "n_scored_turns")
    assert {group["value"] for group in few["groups"]} == {"1", "2"}
    assert not few["is_banded"]


def test_columns_of_records_marks_and_findings_can_be_asked_for(run: Path) -> None:
    columns = list_columns(run)
    assert {"source", "teacher", "language", "is_refusal", "n_scored_turns", "cluster_id", "flagged"} <= set(columns)
    assert not {"sample_id", "content_id", "flagged_traits", "evil", "evil_mean"} & set(columns)
    for column in ("source", "language", "is_refusal", "list_share", "cluster_id", "flagged", "score_kind"):
        values = break_down(run, column)
        assert sum(group["n_records"] for group in values["groups"]) == len(RECORDS)
        json.dumps(values, allow_nan=False)


def test_an_unknown_column_is_refused_with_those_there_are(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"--by techer: the run has no such column .*teacher"):
        break_down(run, "techer")
    with pytest.raises(ConfigError):
        break_down(run, "teacher; DROP VIEW samples")


def test_hostile_values_are_values(tmp_path: Path, reference: Reference) -> None:
    kept = ["'; DROP VIEW samples; --", '"', "", "\x1b[31m", "(none)"] * 20
    run = judged_run(tmp_path, draw_records(100, 40), {"a \"b'": kept}, reference)
    values = break_down(run, "a \"b'")
    assert {group["value"] for group in values["groups"]} == set(kept)
    assert all(group["n_records"] == 20 for group in values["groups"])


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a.audit", draw_records(3, 0), dataset=tmp_path / "a.jsonl", is_finished=False)
    with pytest.raises(RunError, match="has not finished"):
        break_down(run, "source")


@pytest.mark.parametrize("n", [1, 10])
def test_a_few_rows_get_words(tmp_path: Path, reference: Reference, n: int) -> None:
    values = break_down(judged_run(tmp_path, draw_records(n, 50), {}, reference), "source")
    assert of(values, str(tmp_path / "a.jsonl"))["verdict"] == "undecided"
    assert "too few" in of(values, str(tmp_path / "a.jsonl"))["reason"]
    json.dumps(values, allow_nan=False)


def test_all_skipped_and_all_equal_get_words(tmp_path: Path, reference: Reference) -> None:
    skipped = judged_run(tmp_path, [FakeRecord(reason="bad_json: x")] * 30, {}, reference, "skipped")
    (group,) = break_down(skipped, "reason")["groups"]
    assert (group["value"], group["n_scored"], group["verdict"]) == ("bad_json: x", 0, "undecided")
    same = FakeRecord(turns=[FakeTurn(scores={"evil": (0.5, 0.0), "sycophantic": (0.5, 0.0)})])
    equal = break_down(judged_run(tmp_path, [same] * 40, {}, reference, "equal"), "source")
    assert of(equal, str(tmp_path / "equal.jsonl"))["ci_low"] == 0.5
    json.dumps(equal, allow_nan=False)


def test_a_run_of_an_older_version_is_judged_without_its_reference_and_that_is_said(run: Path, tmp_path: Path) -> None:
    old = make_run(
        tmp_path / "old.audit",
        [FakeRecord(turns=record.turns) for record in RECORDS[:60]],
        dataset=tmp_path / "old.jsonl",
        traits=TRAITS,
    )
    (old / "reference.json").write_text('{"source": "x", "score_kind": "difference", "traits": {"evil": {}}}')
    values = break_down(old, "n_response_tokens")
    assert values["notices"][0].startswith("its clean reference cannot be used")
    assert {group["verdict"] for group in values["groups"]} == {"undecided"}


def test_evidence_of_groups_is_what_each_group_alone_would_give(run: Path) -> None:
    store = RunStore(run)
    manifest = store.read_manifest()
    ids = np.arange(len(RECORDS))
    group_n = ids % 3 - 1
    groups = pool_groups(store, manifest, ids, group_n, 2)
    assert groups is not None
    for group, own in enumerate(groups):
        alone = pool_evidence(store, manifest, ids, group_n == group)
        assert alone is not None
        assert alone.to_json() == own.to_json()


def with_predictions(path: Path, seed: int) -> RunStore:
    """Write predicted baselines and random draws into a run, as `--baseline auto` does, the same for the same ids."""
    store = RunStore(path)
    for part in store.parts():
        for table, column in (("turns", "baseline_draw"), ("scores", "predicted_baseline_projection")):
            file = store.table_path(table, part)
            own = pq.read_table(file)
            values = []
            for sample_id, turn in zip(own["sample_id"].to_pylist(), own["turn"].to_pylist(), strict=True):
                draw = np.random.default_rng([seed, sample_id % 40, turn])
                values.append(
                    ("random" if sample_id % 3 else "chosen-1") if table == "turns" else float(draw.normal(0.1))
                )
            place = own.schema.get_field_index(column)
            field = own.schema.field(column)
            pq.write_table(own.set_column(place, field, pa.array(values, field.type)), file)
    return store


def test_estimated_means_of_groups_use_each_groups_own_draws(tmp_path: Path) -> None:
    records = draw_records(80, 60)
    whole = with_predictions(judged_run(tmp_path, records, {}, None, "whole"), 1)
    groups = estimate_group_means(whole, whole.read_manifest(), lambda ids: ids // 40, 3)
    assert groups[2] == {}
    for group in (0, 1):
        alone = estimate_group_means(
            whole, whole.read_manifest(), lambda ids, g=group: np.where(ids // 40 == g, 0, -1), 1
        )
        assert groups[group] == alone[0]
        assert set(groups[group]) == set(TRAITS)
    # The first forty records as a run of their own.
    first = with_predictions(judged_run(tmp_path, records[:40], {}, None, "first"), 1)
    assert estimate_means(first, first.read_manifest()) == groups[0]
    assert groups[0] != groups[1]
