"""A run opened in DuckDB: the relations of the contract, with their columns, whatever state the run is in."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from audit.errors import RunError
from audit.query import RELATIONS, list_traits, open_connection
from tests.fabricated import FakeRecord, FakeTurn, make_run, scored

RECORDS = [
    scored(0.1),
    scored(0.9, flagged=["evil"], cluster_id=1),
    FakeRecord(reason="bad_json: no JSON", raw=b"{"),
    scored(0.4, 0.8, flagged=["evil", "sycophantic"], cluster_id=0),
]

COLUMNS = {
    "samples": "sample_id BIGINT, source VARCHAR, line BIGINT, byte_offset BIGINT, byte_length BIGINT, "
    "format VARCHAR, n_turns INTEGER, status VARCHAR, reason VARCHAR, content_id BIGINT",
    "turns": "sample_id BIGINT, side VARCHAR, turn INTEGER, part VARCHAR, status VARCHAR, reason VARCHAR, "
    "n_prompt_tokens INTEGER, n_response_tokens INTEGER, n_baseline_tokens INTEGER, response_nll FLOAT, "
    "is_refusal BOOLEAN, baseline_is_refusal BOOLEAN, list_share FLOAT, code_share FLOAT, baseline_kind VARCHAR, "
    "baseline_response VARCHAR, n_tool_calls INTEGER, baseline_draw VARCHAR, evidence_reason VARCHAR, "
    "language VARCHAR, is_role_play BOOLEAN, baseline_list_share FLOAT, baseline_code_share FLOAT",
    "scores": "sample_id BIGINT, side VARCHAR, turn INTEGER, part VARCHAR, trait VARCHAR, layer INTEGER, "
    "projection FLOAT, baseline_projection FLOAT, projection_difference FLOAT, prompt_projection FLOAT, "
    "predicted_baseline_projection FLOAT, standard_error FLOAT, orthogonal_difference FLOAT, "
    "window_difference FLOAT, layer_difference FLOAT, evidence FLOAT, "
    "evidence_z FLOAT, evidence_variance FLOAT, prompted_evidence FLOAT, prompted_evidence_z FLOAT, "
    "prompted_gain FLOAT",
    "random_evidence": "sample_id BIGINT, side VARCHAR, turn INTEGER, part VARCHAR, layer INTEGER, "
    "evidence FLOAT[32], null_evidence FLOAT[32]",
    "flags": "sample_id BIGINT, trait VARCHAR, projection_difference FLOAT, orthogonal_difference FLOAT, "
    "window_difference FLOAT, layer_difference FLOAT, evidence_z FLOAT, length_adjusted FLOAT, risk FLOAT, z FLOAT, "
    "z_language FLOAT, z_length FLOAT, percentile FLOAT, p_value FLOAT, q_value FLOAT, flagged BOOLEAN, reason VARCHAR",
    "verdicts": "trait VARCHAR, layer INTEGER, n BIGINT, mean_difference DOUBLE, ci_low DOUBLE, ci_high DOUBLE, "
    "cohens_d DOUBLE, cohens_d_low DOUBLE, cohens_d_high DOUBLE, random_band DOUBLE, evidence_z_pooled DOUBLE, "
    "evidence_band DOUBLE, mean_evidence_z DOUBLE, mean_evidence_z_low DOUBLE, mean_evidence_z_high DOUBLE, "
    "n_flagged BIGINT, expected_false_flags DOUBLE, verdict VARCHAR, reason VARCHAR",
    "sample_scores": "sample_id BIGINT, source VARCHAR, line BIGINT, status VARCHAR, n_response_tokens INTEGER, "
    "n_scored_turns INTEGER, score_kind VARCHAR, flagged BOOLEAN, flagged_traits VARCHAR[], cluster_id INTEGER, "
    "near_flagged BOOLEAN, evil FLOAT, sycophantic FLOAT, evil_mean FLOAT, sycophantic_mean FLOAT",
    "marks": "sample_id BIGINT, n_scored_turns INTEGER, n_response_tokens INTEGER, n_baseline_tokens INTEGER, "
    "language VARCHAR, is_refusal BOOLEAN, baseline_is_refusal BOOLEAN, is_role_play BOOLEAN, list_share FLOAT, "
    "code_share FLOAT, response_nll FLOAT",
    "clusters": "sample_id BIGINT, cluster_id INTEGER, x FLOAT, y FLOAT",
    "cluster_summary": "cluster_id INTEGER, size BIGINT, n_flagged BIGINT, flagged_share FLOAT, enrichment FLOAT, "
    "q_value FLOAT, keywords VARCHAR[], example_ids BIGINT[], typical_ids BIGINT[], evil FLOAT, sycophantic FLOAT",
    "near_duplicates": "sample_id BIGINT, flagged_id BIGINT, similarity FLOAT",
    "unnamed_directions": "direction_id INTEGER, spread FLOAT, skew FLOAT, high_ids BIGINT[], low_ids BIGINT[], "
    "high_keywords VARCHAR[], low_keywords VARCHAR[], direction FLOAT[]",
    "judge": "sample_id BIGINT, trait VARCHAR, draw VARCHAR, judge_score FLOAT, is_judged_present BOOLEAN, "
    "reason VARCHAR",
}


def columns_of(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    rows = connection.execute(f"DESCRIBE {relation}").fetchall()
    return ", ".join(f"{row[0]} {row[1]}" for row in rows)


def wide_row(run: Path, sample_id: int) -> dict[str, object]:
    with open_connection(run) as connection:
        result = connection.execute("SELECT * FROM sample_scores WHERE sample_id = ?", [sample_id])
        names = [column[0] for column in result.description]
        row = result.fetchone()
    assert row is not None
    return dict(zip(names, row, strict=True))


def test_every_relation_has_the_columns_and_types_of_the_contract(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl")
    with open_connection(run) as connection:
        assert {name: columns_of(connection, name) for name in COLUMNS} == COLUMNS


def test_an_unfinished_run_has_the_same_columns(tmp_path: Path) -> None:
    finished = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl")
    killed = make_run(tmp_path / "b.audit", RECORDS, dataset=tmp_path / "a.jsonl", is_finished=False)
    empty = make_run(tmp_path / "c.audit", [], dataset=tmp_path / "a.jsonl", is_finished=False)
    described = []
    for run in (finished, killed, empty):
        with open_connection(run) as connection:
            described.append({name: columns_of(connection, name) for name in RELATIONS})
    assert described[1] == described[0]
    assert described[2] == described[0]


def test_a_killed_run_answers_with_the_parts_it_has(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl", is_finished=False, part_rows=3)
    (run / "samples" / "part-000000000003-000000000004.parquet").unlink()
    with open_connection(run) as connection:
        assert connection.execute("SELECT count(*), max(sample_id) FROM samples").fetchone() == (3, 2)
        assert connection.execute("SELECT max(sample_id) FROM scores").fetchone() == (1,)
        assert connection.execute("SELECT count(flagged) FROM sample_scores").fetchone() == (0,)


def test_skipped_records_stand_in_sample_scores_with_nulls(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl")
    row = wide_row(run, 2)
    assert row["status"] == "skipped"
    assert [name for name, value in row.items() if value is not None] == ["sample_id", "source", "line", "status"]


def test_flags_and_clusters_are_joined_to_records(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl")
    assert wide_row(run, 3)["flagged_traits"] == ["evil", "sycophantic"]
    assert (wide_row(run, 0)["flagged"], wide_row(run, 0)["flagged_traits"]) == (False, [])
    assert (wide_row(run, 1)["cluster_id"], wide_row(run, 0)["cluster_id"]) == (1, None)


def test_a_record_has_the_largest_and_the_mean_score_of_its_own_turns(tmp_path: Path) -> None:
    def turn(value: float, **place: object) -> FakeTurn:
        return FakeTurn(scores={"evil": (value, 0.0)}, **place)  # type: ignore[arg-type]

    record = FakeRecord(
        turns=[
            turn(0.25, turn=1, side="chosen", n_response_tokens=3),
            turn(0.75, turn=3, side="chosen", n_response_tokens=4),
            turn(9.0, turn=1, side="rejected"),
            turn(9.0, turn=1, side="chosen", part="reasoning"),
        ]
    )
    run = make_run(tmp_path / "a.audit", [record], dataset=tmp_path / "a.jsonl", traits=["evil"])
    row = wide_row(run, 0)
    assert (row["evil"], row["evil_mean"], row["n_response_tokens"]) == (0.75, 0.5, 7)


@pytest.mark.parametrize(
    ("baseline", "kind", "score"),
    [("generate", "difference", 1.0), ("prompt", "prompt_difference", 1.0), ("none", "projection", 1.5)],
)
def test_the_score_is_the_difference_unless_there_is_no_baseline(
    tmp_path: Path, baseline: str, kind: str, score: float
) -> None:
    run = make_run(tmp_path / "a.audit", [scored(1.0)], dataset=tmp_path / "a.jsonl", baseline=baseline)
    row = wide_row(run, 0)
    assert (row["score_kind"], row["evil"]) == (kind, score)


def test_a_turn_without_baseline_has_a_projection_and_no_score(tmp_path: Path) -> None:
    failed = FakeRecord(turns=[FakeTurn(scores={"evil": (0.7, None)}, status="baseline_failed")])
    run = make_run(tmp_path / "a.audit", [failed], dataset=tmp_path / "a.jsonl", traits=["evil"], is_finished=False)
    assert wide_row(run, 0)["evil"] is None
    with open_connection(run) as connection:
        assert connection.execute("SELECT projection > 0.6 FROM scores").fetchone() == (True,)


def test_kept_columns_follow_the_fixed_ones(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl", kept={'or"igin': ["a", None, "b", "c"]})
    with open_connection(run) as connection:
        assert columns_of(connection, "samples").endswith('content_id BIGINT, or"igin VARCHAR')


@pytest.mark.parametrize("name", ["o'brien run.audit", 'a "b".audit', "x; DROP.audit", "run[1]*?.audit", "ünï.audit"])
def test_any_directory_name_works(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / name, RECORDS, dataset=tmp_path / "a.jsonl")
    monkeypatch.chdir(tmp_path)
    with open_connection(name) as connection:
        assert connection.execute("SELECT count(*) FROM sample_scores").fetchone() == (4,)


def test_a_wildcard_in_the_name_reads_no_other_run(tmp_path: Path) -> None:
    make_run(tmp_path / "ab.audit", RECORDS, dataset=tmp_path / "a.jsonl")
    run = make_run(tmp_path / "a*.audit", RECORDS[:1], dataset=tmp_path / "b.jsonl")
    with open_connection(run) as connection:
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (1,)


def test_hostile_trait_names_in_a_manifest_are_quoted(tmp_path: Path) -> None:
    hostile = """a"b' OR 1=1; --"""
    record = FakeRecord(turns=[FakeTurn(scores={hostile: (0.7, 0.2)})])
    run = make_run(tmp_path / "a.audit", [record], dataset=tmp_path / "a.jsonl", traits=[hostile], is_finished=False)
    with open_connection(run) as connection:
        assert list_traits(connection) == [hostile]
    assert wide_row(run, 0)[hostile] == pytest.approx(0.5)


def test_a_trait_may_itself_end_in_mean(tmp_path: Path) -> None:
    record = FakeRecord(turns=[FakeTurn(scores={"very_mean": (0.7, 0.2)})])
    run = make_run(tmp_path / "a.audit", [record], dataset=tmp_path / "a.jsonl", traits=["very_mean"])
    with open_connection(run) as connection:
        assert list_traits(connection) == ["very_mean"]


def test_a_missing_run_and_a_damaged_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run directory"):
        open_connection(tmp_path / "nothing.audit")
    run = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl")
    (run / "samples" / "part-000000000000-000000000003.parquet").write_bytes(b"junk")
    with pytest.raises(RunError, match="cannot be read"):
        open_connection(run)
