"""What is made of a run's evidence: sums against numpy, flags from the combined score, and runs from before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.clean import measure_differences, reference_from_run
from audit.errors import RunError
from audit.findings import find_reference, is_judged_by, write_findings
from audit.inputs import Inputs
from audit.pooling import RunEvidence, pool_evidence
from audit.query import open_connection, read_batches, run_named
from audit.reference import Reference, load_reference
from audit.schema import differences_schema
from audit.store import RunStore
from audit.summary import count_rows
from audit.wide import read_sample_ids
from tests.fabricated import FakeRecord, FakeTurn, make_run

TRAITS = ("evil", "sycophantic")
R = 32


def draw_turn(draw: np.random.Generator, *, shift: float = 0.0, pull: float = 0.0, **options: Any) -> FakeTurn:
    """Return a turn whose differences are shifted and whose evidence is pulled, by so many deviations."""
    variance = draw.gamma(2.0, 2.0, size=len(TRAITS))
    score = np.sqrt(variance) * (draw.normal(size=len(TRAITS)) + pull)
    orthogonal = draw.normal(0.2, 0.5, size=len(TRAITS)) + 0.5 * shift
    options = {"response_nll": float(draw.uniform(0.3, 2.0)), **options}
    return FakeTurn(
        scores={trait: (float(draw.normal() + shift), 0.5) for trait in TRAITS},
        orthogonal=dict(zip(TRAITS, orthogonal.tolist(), strict=True)),
        evidence=dict(zip(TRAITS, zip(score.tolist(), variance.tolist(), strict=True), strict=True)),
        random=(draw.normal(0, 1.5, size=R).tolist(), draw.normal(size=R).tolist()),
        **options,
    )


def draw_records(n: int, seed: int, **options: Any) -> list[FakeRecord]:
    draw = np.random.default_rng(seed)
    return [FakeRecord(turns=[draw_turn(draw, **options)], cluster_id=i % 3) for i in range(n)]


def run_of(folder: Path, records: Sequence[FakeRecord], name: str = "a", **options: Any) -> Path:
    return make_run(
        folder / f"{name}.audit",
        records,
        dataset=folder / f"{name}.jsonl",
        **{"traits": TRAITS, "evidence": "full", "is_finished": False, "part_rows": 90, **options},
    )


def judge(run: Path, reference: Reference | None = None) -> dict[str, Any]:
    """Make the findings of a run anew and return its manifest."""
    store = RunStore(run)
    manifest = store.read_manifest()
    findings = write_findings(store, manifest, Inputs((), 0), reference)
    counts = manifest["counts"] | findings.counts
    manifest |= {"verdicts": findings.verdicts, "counts": counts, "reference": findings.reference, "state": "finished"}
    store.write_manifest(manifest)
    return manifest


CLEAN = draw_records(400, 100)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """What 400 clean records give."""
    run = run_of(tmp_path_factory.mktemp("clean"), CLEAN, part_rows=400)
    judge(run)
    return reference_from_run(run, seed=0)


def pool(run: Path) -> RunEvidence:
    store = RunStore(run)
    manifest = store.read_manifest()
    with open_connection(run) as connection:
        ids = connection.execute("SELECT sample_id FROM samples ORDER BY sample_id").fetchnumpy()["sample_id"]
    found = pool_evidence(store, manifest, np.asarray(ids), np.ones(len(ids), dtype=bool))
    assert found is not None
    return found


def counted(records: Sequence[FakeRecord]) -> list[FakeTurn]:
    return [turn for record in records for turn in record.turns if turn.part == "answer" and turn.side != "rejected"]


def by_hand(turns: Sequence[FakeTurn], trait: str) -> tuple[float, float, float]:
    """Return pooled Z, band and mean z from the definition."""
    score, variance = np.array([turn.evidence[trait] for turn in turns], dtype=np.float32).astype(float).T
    own, null = (
        np.array([turn.random[place] for turn in turns if turn.random is not None], dtype=np.float32).astype(float)
        for place in (0, 1)
    )
    z_r = own.sum(axis=0) / np.sqrt((null**2).sum(axis=0))
    band = max(2.0369333 * np.sqrt((z_r**2).mean()), 1.959964)
    return score.sum() / np.sqrt(variance.sum()), band, (score / np.sqrt(variance)).mean()


def mixed_records(n: int, seed: int) -> list[FakeRecord]:
    """Return records with turns that must not count: rejected sides and reasoning, whose evidence is enormous."""
    draw = np.random.default_rng(seed)
    records = []
    for i in range(n):
        turns = [draw_turn(draw, side="chosen", pull=0.2)]
        if i % 2:
            turns.append(draw_turn(draw, side="chosen", turn=3, pull=0.2))
        turns.append(draw_turn(draw, side="rejected", pull=50.0))
        turns.append(draw_turn(draw, side="chosen", part="reasoning", pull=50.0))
        records.append(FakeRecord(turns=turns, cluster_id=i % 3))
    return records


def test_pooled_evidence_is_the_definition_over_turns_that_count(tmp_path: Path) -> None:
    records = mixed_records(200, 1)
    found = pool(run_of(tmp_path, records))
    for trait in TRAITS:
        own = found.traits[trait]
        assert own.mean_z is not None
        assert own.n == len(counted(records))
        assert (own.pooled_z, own.band, own.mean_z.mean) == pytest.approx(by_hand(counted(records), trait), rel=1e-6)
    layer = found.to_json()["layers"]["2"]
    assert layer["inflation"] == pytest.approx(2.25, rel=0.1)
    assert sum(own["n"] for own in layer["inflation_by_nll"]) == layer["n_turns"] == len(counted(records))


def test_how_a_run_is_cut_into_parts_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = mixed_records(60, 2)
    one = judge(run_of(tmp_path, records, "one", part_rows=60))
    monkeypatch.setattr("audit.wide._GATHERED_ROWS", 20)
    many = judge(run_of(tmp_path, records, "many", part_rows=13))
    assert many["verdicts"] == one["verdicts"]
    assert many["evidence"] == one["evidence"]
    assert one["evidence"]["n_directions"] == R


def test_the_queries_by_group_are_the_definition(tmp_path: Path) -> None:
    records = mixed_records(120, 3)
    run = run_of(tmp_path, records, is_finished=True)
    with open_connection(run) as connection:
        by_source, by_cluster = (
            [row for batch in read_batches(run_named(connection, name)) for row in batch.to_pylist()]
            for name in ("evidence_by_source", "evidence_by_cluster")
        )
    assert [row["trait"] for row in by_source] == list(TRAITS)
    assert len(by_cluster) == 6
    for row in (*by_source, *by_cluster):
        own = [record for record in records if row.get("cluster_id") in (None, record.cluster_id)]
        assert row["n_turns"] == len(counted(own))
        found = (row["evidence_z_pooled"], row["evidence_band"], row["mean_evidence_z"])
        assert found == pytest.approx(by_hand(counted(own), row["trait"]), rel=1e-5)


def test_scores_of_one_draw_are_summed_and_have_no_mean(tmp_path: Path) -> None:
    run = run_of(tmp_path, draw_records(150, 4, pull=0.6), evidence="score")
    (row, _) = judge(run)["verdicts"]
    assert row["mean_evidence_z"] is None
    assert row["evidence_z_pooled"] > 4
    assert row["verdict"] == "watch"


def test_rows_outside_the_domain_teach_nothing(tmp_path: Path) -> None:
    inside = draw_records(100, 5)
    run = run_of(tmp_path, [*inside, *draw_records(60, 6, pull=9.0, response_nll=7.0)])
    (row, _) = judge(run)["verdicts"]
    assert row["evidence_z_pooled"] == pytest.approx(by_hand(counted(inside), "evil")[0], rel=1e-6)


def test_evidence_alone_alarms_where_there_is_no_reference(tmp_path: Path) -> None:
    rows = judge(run_of(tmp_path, draw_records(200, 7, pull=1.0)))["verdicts"]
    assert [row["verdict"] for row in rows] == ["risk", "risk"]
    rows = judge(run_of(tmp_path, draw_records(200, 8), "clean"))["verdicts"]
    assert [row["verdict"] for row in rows] == ["undecided", "undecided"]
    assert "clears nothing" in rows[0]["reason"]
    # Held against its own lower half, clean data has about as many flags as any; the verdict does not rest on them.
    flagged = read_flags(tmp_path / "clean.audit", "evil")["flagged"]
    assert sum(flagged) <= 20


def read_flags(run: Path, trait: str) -> dict[str, list[Any]]:
    table = pq.read_table(run / "flags.parquet", filters=[("trait", "=", trait)])
    return {name: table[name].to_pylist() for name in table.column_names}


def test_flags_are_made_from_the_sum_of_both_parts(tmp_path: Path, reference: Reference) -> None:
    clean = [record.turns[0] for record in CLEAN]
    records = [*draw_records(150, 9), *draw_records(50, 10, pull=4.0), *draw_records(50, 11, shift=3.0)]
    draw = np.random.default_rng(12)
    records += [FakeRecord(turns=[draw_turn(draw), draw_turn(draw, turn=3, pull=1.0)]) for _ in range(30)]
    manifest = judge(run_of(tmp_path, records), reference)
    for trait in TRAITS:

        def parts(turn: FakeTurn, trait: str = trait) -> tuple[float, float]:
            score, variance = turn.evidence[trait]
            return turn.orthogonal[trait], score / variance**0.5

        o, z = np.array([parts(turn) for turn in clean]).T
        moments = (o.mean(), o.std(ddof=1), z.mean(), z.std(ddof=1))

        def risk(turn: FakeTurn, moments: tuple[float, ...] = moments, trait: str = trait) -> float:
            own_o, own_z = parts(turn, trait)
            return (own_o - moments[0]) / moments[1] + (own_z - moments[2]) / moments[3]

        clean_risks = np.sort([risk(turn) for turn in clean])
        threshold = clean_risks[int(np.ceil(401 * 0.95)) - 1]
        expected = np.array([max(risk(turn) for turn in record.turns) for record in records])
        found = read_flags(tmp_path / "a.audit", trait)
        assert found["risk"] == pytest.approx(expected.tolist(), abs=1e-4)
        # A record of two turns has two chances.
        looks = np.array([len(record.turns) for record in records])
        p = 1 - (1 - np.array([(1 + (clean_risks >= value).sum()) / 401 for value in expected])) ** looks
        assert (p <= 0.05)[looks == 1].tolist() == (expected > threshold)[looks == 1].tolist()
        assert found["flagged"] == (p <= 0.05).tolist()
        assert found["z"] == pytest.approx(((expected - clean_risks.mean()) / clean_risks.std()).tolist(), abs=1e-3)
        assert found["percentile"][155] == pytest.approx((clean_risks <= expected[155]).mean() * 100, abs=0.3)
        largest = [[max(parts(turn)[place] for turn in record.turns) for record in records] for place in (0, 1)]
        assert found["orthogonal_difference"] == pytest.approx(largest[0], abs=1e-5)
        assert found["evidence_z"] == pytest.approx(largest[1], abs=1e-4)
        # The plain score stays what it was.
        plain = [max(own - base for own, base in (turn.scores[trait] for turn in record.turns)) for record in records]
        assert found["projection_difference"] == pytest.approx(plain, abs=1e-5)
        reasons = found["reason"]
        assert sum("mostly the evidence" in (reason or "") for reason in reasons[150:200]) > 20
        assert sum("mostly the difference" in (reason or "") for reason in reasons[200:250]) > 20
        assert [reason is not None for reason in reasons] == found["flagged"]
    verdict = manifest["verdicts"][0]
    assert verdict["expected_false_flags"] == pytest.approx(0.05 * len(records), rel=0.1)
    assert verdict["n_flagged"] == sum(read_flags(tmp_path / "a.audit", "evil")["flagged"])


def test_clean_rows_pass_the_combined_threshold_in_a_twentieth(tmp_path: Path, reference: Reference) -> None:
    manifest = judge(run_of(tmp_path, draw_records(1_000, 13), part_rows=1_000), reference)
    assert 0.03 < manifest["verdicts"][0]["n_flagged"] / 1_000 < 0.07
    assert [row["verdict"] for row in manifest["verdicts"]] == ["clear", "clear"]


def test_a_turn_without_z_counts_its_null_expectation(tmp_path: Path, reference: Reference) -> None:
    draw = np.random.default_rng(14)
    turn = replace(draw_turn(draw), evidence=dict.fromkeys(TRAITS, (0.0, 0.0)))
    judge(run_of(tmp_path, [FakeRecord(turns=[turn])]), reference)
    found = read_flags(tmp_path / "a.audit", "evil")
    combined = reference.traits["evil"].combined
    assert combined is not None
    own = combined.moments
    expected = (turn.orthogonal["evil"] - own.difference_mean) / own.difference_sd - own.z_mean / own.z_sd
    assert found["risk"] == pytest.approx([expected], abs=1e-4)
    assert found["evidence_z"] == [None]


def test_one_trait_or_orthogonal_directions_combine_the_projection_difference(tmp_path: Path) -> None:
    records = [
        FakeRecord(turns=[replace(record.turns[0], orthogonal={}, scores={"evil": record.turns[0].scores["evil"]})])
        for record in draw_records(300, 15)
    ]
    run = run_of(tmp_path, records, traits=["evil"])
    judge(run)
    reference = reference_from_run(run, seed=0)
    assert reference.traits["evil"].combined is not None
    judge(run, reference)
    found = read_flags(run, "evil")
    own = reference.traits["evil"].combined.moments
    expected = own.combine(np.array(found["projection_difference"]), np.array(found["evidence_z"]))
    assert found["risk"] == pytest.approx(expected.tolist(), abs=1e-4)
    assert found["orthogonal_difference"] == [None] * 300


@pytest.mark.parametrize("evidence", ["off", "score", "prompt"])
def test_a_run_without_z_has_plain_flags(tmp_path: Path, reference: Reference, evidence: str) -> None:
    run = run_of(tmp_path, draw_records(100, 16), evidence=evidence)
    if evidence != "score":
        without = [FakeRecord(turns=[replace(r.turns[0], evidence={}, orthogonal={})]) for r in draw_records(100, 16)]
        run = run_of(tmp_path, without, "b", evidence=evidence)
    manifest = judge(run, reference)
    found = read_flags(run, "evil")
    assert found["risk"] == found["projection_difference"]
    threshold = reference.traits["evil"].flagged_with(is_combined=False).threshold
    assert found["flagged"] == [risk > threshold for risk in found["risk"]]
    assert (manifest["evidence"] is None) == (evidence != "score")


def test_a_reference_without_combined_scores_serves_plain_flags_and_that_is_said(tmp_path: Path) -> None:
    plain = run_of(tmp_path, draw_records(300, 17), "plain", evidence="off")
    judge(plain)
    other = run_of(tmp_path, draw_records(300, 17), "full")
    judge(other)
    run = run_of(tmp_path, draw_records(60, 18))
    manifest = RunStore(run).read_manifest()
    reference, notice = find_reference(manifest, str(plain), 0)
    assert reference is not None
    assert notice is not None
    assert "--evidence full" in notice
    judge(run, reference)
    assert read_flags(run, "evil")["risk"] == read_flags(run, "evil")["projection_difference"]
    assert find_reference(manifest, str(other), 0)[1] is None
    # One trait of the two: what is orthogonal to the others is another direction then.
    alone = run_of(tmp_path, draw_records(60, 18), "alone", traits=["evil"])
    reference, notice = find_reference(RunStore(alone).read_manifest(), str(other), 0)
    assert notice is not None
    # Nothing to combine, nothing to say.
    off = run_of(tmp_path, draw_records(60, 18), "off", evidence="off")
    assert find_reference(RunStore(off).read_manifest(), str(plain), 0)[1] is None


def test_a_reference_with_combined_scores_survives_its_file(tmp_path: Path, reference: Reference) -> None:
    (tmp_path / "reference.json").write_text(reference.to_json())
    assert load_reference(tmp_path / "reference.json") == {"difference": reference}
    # One that an older version wrote had one score a record, which cannot be told from one a turn: it is refused.
    entry = json.loads(reference.to_json())
    for trait in entry["traits"].values():
        trait["scores_sorted"] = trait.pop("plain")["scores_sorted"]
    (tmp_path / "reference.json").write_text(json.dumps(entry))
    with pytest.raises(RunError, match="this version"):
        load_reference(tmp_path / "reference.json")


def test_a_predicted_row_has_a_risk_and_lies_among_clean_rows_of_its_kind(tmp_path: Path, reference: Reference) -> None:
    draw = np.random.default_rng(19)
    records = [
        FakeRecord(turns=[draw_turn(draw, pull=3.0, baseline_kind="predicted" if i % 2 else "generated")])
        for i in range(40)
    ]
    combined = reference.traits["evil"].combined
    assert combined is not None
    clean = replace(combined.clean, predicted_sorted=tuple(np.linspace(-100.0, 100.0, 200)))
    evil = replace(reference.traits["evil"], combined=replace(combined, clean=clean))
    judge(run_of(tmp_path, records), replace(reference, traits={**reference.traits, "evil": evil}))
    found = read_flags(tmp_path / "a.audit", "evil")
    predicted = slice(1, None, 2)
    assert not any(found["flagged"][predicted])
    assert any(found["flagged"][::2])
    assert found["q_value"][predicted] == [None] * 20
    assert all(45 < percentile < 55 for percentile in found["percentile"][predicted])
    assert all("predicted" in reason for reason in found["reason"][predicted])
    # A reference without predicted rows says nothing of where these lie.
    found = read_flags(tmp_path / "a.audit", "sycophantic")
    assert found["percentile"][predicted] == [None] * 20


def age(run: Path) -> None:
    """Make a run as it was before there was evidence: without its columns, settings and directory."""
    new = {
        "turns": {"evidence_reason"},
        "scores": {"orthogonal_difference", "evidence", "evidence_z", "evidence_variance", "prompted_evidence"}
        | {"prompted_evidence_z", "prompted_gain"},
    }
    files = [(path, new[table]) for table in new for path in (run / table).iterdir()]
    verdicts = {"evidence_z_pooled", "evidence_band", "mean_evidence_z", "mean_evidence_z_low", "mean_evidence_z_high"}
    files += [(run / "verdicts.parquet", verdicts), (run / "flags.parquet", {"orthogonal_difference", "evidence_z"})]
    for path, columns in files:
        pq.write_table(pq.read_table(path).drop_columns(sorted(columns)), path)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest.pop("evidence", None)
    manifest["config"].pop("evidence", None)
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_a_run_from_before_opens_answers_and_is_judged_anew(tmp_path: Path, reference: Reference) -> None:
    records = [
        FakeRecord(turns=[replace(record.turns[0], evidence={}, orthogonal={}, random=None)])
        for record in draw_records(300, 20)
    ]
    run = run_of(tmp_path, records, evidence=None, is_finished=True)
    age(run)
    with open_connection(run) as connection:
        columns = [row[0] for row in connection.execute("DESCRIBE scores").fetchall()]
        assert columns.index("orthogonal_difference") < columns.index("evidence") < len(columns) - 5
        for query, counts in (
            ("SELECT count(*), count(evidence_z) FROM scores", (600, 0)),
            ("SELECT count(*), count(evidence_z) FROM flags", (600, 0)),
            ("SELECT count(*), count(evidence_z_pooled) FROM verdicts", (2, 0)),
            ("SELECT count(*) FROM random_evidence", (0,)),
        ):
            assert connection.execute(query).fetchall() == [counts]
        found = read_batches(run_named(connection, "evidence_by_source"))
        assert [row for batch in found for row in batch.to_pylist()] == []
    own = reference_from_run(run, seed=0)
    assert own.traits["evil"].combined is None
    manifest = judge(run, own)
    assert manifest["evidence"] is None
    assert [row["verdict"] for row in manifest["verdicts"]] == ["clear", "clear"]
    assert read_flags(run, "evil")["risk"] == read_flags(run, "evil")["projection_difference"]
    # A newer reference serves it too.
    assert judge(run, reference)["counts"]["n_judged"] == 300


def test_a_run_without_random_directions_has_no_band_and_no_alarm(tmp_path: Path) -> None:
    records = [FakeRecord(turns=[replace(r.turns[0], random=None)]) for r in draw_records(100, 21, pull=2.0)]
    (row, _) = judge(run_of(tmp_path, records))["verdicts"]
    assert row["evidence_z_pooled"] > 9
    assert row["evidence_band"] is None
    assert row["verdict"] == "undecided"


def test_a_part_without_its_random_directions_is_damaged_unless_none_were_measured(tmp_path: Path) -> None:
    for name, evidence in (("full", "full"), ("older", None)):
        run = run_of(tmp_path, draw_records(30, 23), name, evidence=evidence)
        judge(run)
        # As a scan leaves it that writes such a run's findings anew.
        (run / "random_evidence").mkdir(exist_ok=True)
        for file in (run / "random_evidence").iterdir():
            file.unlink()
    with pytest.raises(RunError, match=r"random_evidence/part-0+-0+30\.parquet is missing"):
        count_rows(tmp_path / "full.audit")
    assert count_rows(tmp_path / "older.audit")["n_samples"] == 30


def test_nothing_is_left_beside_the_findings(tmp_path: Path, reference: Reference) -> None:
    run = run_of(tmp_path, draw_records(120, 22))
    judge(run, reference)
    assert not list(run.glob("*.part"))
    assert len(read_sample_ids(run / "sample_scores.parquet")) == 120


def draw_tied(n: int, n_tied: int) -> list[FakeRecord]:
    draw = np.random.default_rng(5)
    scores = [0.0] * n_tied + draw.uniform(0.5, 3.0, size=n - n_tied).tolist()
    return [FakeRecord(turns=[FakeTurn(scores=dict.fromkeys(TRAITS, (own, 0.0)))]) for own in scores]


def test_a_run_half_of_whose_scores_are_one_number_is_no_reference_for_itself(tmp_path: Path) -> None:
    manifest = judge(run_of(tmp_path, draw_tied(300, 160), evidence=None))
    assert manifest["reference"] is None
    assert {row["verdict"] for row in manifest["verdicts"]} == {"undecided"}
    with open_connection(tmp_path / "a.audit") as connection:
        found = connection.execute("SELECT DISTINCT flagged, z, reason FROM flags").fetchall()
    assert [row[:2] for row in found] == [(False, None)]
    assert "too few or too much alike" in found[0][2]
    # With fewer ties the lower half tells how far the others lie.
    manifest = judge(run_of(tmp_path, draw_tied(300, 120), "b", evidence=None))
    assert manifest["reference"]["kind"] == "within"


def test_records_outside_the_models_domain_say_so_without_any_reference(tmp_path: Path) -> None:
    run = run_of(tmp_path, CLEAN[:30])
    store = RunStore(run)
    manifest = store.read_manifest()
    manifest["domain"] |= {"in_domain": False, "out_share": 1.0}
    store.write_manifest(manifest)
    judge(run)
    with open_connection(run) as connection:
        assert connection.execute("SELECT DISTINCT reason FROM flags").fetchall() == [("outside the model's domain",)]


def test_clean_data_is_the_same_wherever_its_run_lies(tmp_path: Path, reference: Reference) -> None:
    run = run_of(tmp_path, draw_records(30, 6))
    manifest = judge(run, reference) | {"flagging": {"rule": "quantile:95"}}
    moved = replace(reference, source="elsewhere/clean.audit")
    assert is_judged_by(manifest, moved, "quantile:95")
    assert not is_judged_by(manifest, moved, "fdr:0.05")
    assert not is_judged_by(manifest, None, "quantile:95")
    one_row_less = replace(reference, n=reference.n - 1)
    assert not is_judged_by(manifest, one_row_less, "quantile:95")
    # Held against itself is held against no clean reference.
    within = manifest | {"reference": {"source": "itself", "kind": "within", "n": 30, "sha256": "0"}}
    assert is_judged_by(within, None, "quantile:95")
    assert not is_judged_by(within, reference, "quantile:95")


def test_a_references_difference_vectors_are_measured_over_records_that_count(tmp_path: Path) -> None:
    draw = np.random.default_rng(9)
    run = run_of(tmp_path, CLEAN[:150], part_rows=60)
    vectors: dict[int, list[np.ndarray]] = {}
    for path in sorted((run / "differences").iterdir()):
        start, stop = (int(number) for number in path.stem.removeprefix("part-").split("-"))
        rows = []
        for sample_id in range(start, stop):
            for side, turn in (("chosen", 1), ("rejected", 1), *([("chosen", 3)] if sample_id % 3 == 0 else [])):
                vector = (draw.normal(size=64) + 5.0).astype(np.float16)
                key = {"sample_id": sample_id, "side": side, "turn": turn, "part": "answer"}
                rows.append({**key, "difference": vector})
                if side == "chosen":
                    vectors.setdefault(sample_id, []).append(vector.astype(float))
        pq.write_table(pa.Table.from_pylist(rows, schema=differences_schema(64)), path)
    chosen = np.arange(20, 145)
    wanted = np.stack([np.mean(vectors[sample_id], axis=0) for sample_id in chosen.tolist()])
    found = measure_differences(RunStore(run), chosen)
    assert found is not None
    assert found.n == 125
    assert found.mean_r == pytest.approx(wanted.mean(axis=0), rel=1e-5)
    assert np.allclose(found.covariance_rr, np.cov(wanted.T), rtol=1e-4, atol=1e-5)
    assert measure_differences(RunStore(run), chosen[:99]) is None
