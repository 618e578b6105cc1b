"""Named queries: what their headers promise is what they give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audit.errors import QueryError
from audit.query import named_queries, open_connection, read_batches, run_named
from audit.query.named import parse_query
from tests.fabricated import FakeRecord, FakeTurn, make_run, scored

RECORDS = [
    scored(0.1, n_response_tokens=5),
    scored(0.9, flagged=["evil"], cluster_id=1, n_response_tokens=40),
    FakeRecord(reason="bad_json: no JSON", raw=b"{"),
    scored(0.4, 0.8, flagged=["evil", "sycophantic"], cluster_id=0, is_refusal=True, list_share=0.5),
    FakeRecord(
        turns=[
            FakeTurn(scores={"evil": (0.2, 0.1), "sycophantic": (0.2, 0.1)}, turn=1),
            FakeTurn(turn=3, status="empty_response"),
        ]
    ),
]
NAMES = {
    "top_by_trait", "flagged", "by_source", "by_cluster", "multi_trait", "length_effect", "refusals", "skipped",
    "turns_by_position", "baseline_agreement", "evidence_by_source", "evidence_by_cluster", "flagged_by_turns",
    "flagged_by_language", "length_effect_by_language", "trivial_predictors",
    "judged", "near_flagged", "unnamed_directions", "verdicts",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("named")
    return make_run(folder / "a.audit", RECORDS, dataset=folder / "a.jsonl")


def ask(run: Path, name: str, **params: str | int) -> list[dict[str, object]]:
    with open_connection(run) as connection:
        return [row for batch in read_batches(run_named(connection, name, params)) for row in batch.to_pylist()]


def test_every_promised_query_is_there() -> None:
    assert set(named_queries()) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_query_gives_the_columns_of_its_header(run: Path, name: str) -> None:
    query = named_queries()[name]
    params = {"trait": "evil"} if name == "top_by_trait" else {}
    with open_connection(run) as connection:
        columns = run_named(connection, name, params).columns
    promised: list[str] = []
    for column in query.columns:
        promised += ["evil", "sycophantic"] if column.name == "<trait>" else [column.name]
    assert columns == promised
    assert query.description.endswith(".")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_query_runs_on_an_unfinished_run(tmp_path: Path, name: str) -> None:
    killed = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl", is_finished=False)
    params = {"trait": "evil"} if name == "top_by_trait" else {}
    assert isinstance(ask(killed, name, **params), list)


def test_top_by_trait_sorts_and_stops(run: Path) -> None:
    assert [row["sample_id"] for row in ask(run, "top_by_trait", trait="evil", n="2")] == [1, 3]


def test_multi_trait_counts_a_record_once(run: Path) -> None:
    (row,) = ask(run, "multi_trait")
    assert (row["sample_id"], row["traits"]) == (3, ["evil", "sycophantic"])


def test_flagged_names_the_trait_of_every_flag(run: Path) -> None:
    assert {(row["sample_id"], row["trait"]) for row in ask(run, "flagged")} == {
        (1, "evil"),
        (3, "evil"),
        (3, "sycophantic"),
    }


def test_skipped_lists_records_and_turns(run: Path) -> None:
    found = [(row["sample_id"], row["turn"], row["status"]) for row in ask(run, "skipped")]
    assert found == [(2, None, "skipped"), (4, 3, "empty_response")]


def test_by_source_counts_scored_and_flagged(run: Path) -> None:
    evil = next(row for row in ask(run, "by_source") if row["trait"] == "evil")
    assert (evil["n_samples"], evil["n_scored"], evil["n_flagged"], evil["flagged_share"]) == (5, 4, 2, 0.5)


def test_flagged_by_turns_counts_records_by_their_scored_turns(run: Path) -> None:
    (row,) = ask(run, "flagged_by_turns")
    # The second turn of the last record has no score; the skipped record has none at all.
    assert (row["n_scored_turns"], row["n_records"], row["n_flagged"], row["n_traits_flagged"]) == (1, 4, 2, 3)
    assert row["flagged_share"] == 0.5


def test_flagged_by_turns_tells_long_conversations_apart(tmp_path: Path) -> None:
    turns = [FakeTurn(scores={"evil": (0.2, 0.1), "sycophantic": (0.2, 0.1)}, turn=turn) for turn in (1, 3)]
    records = [scored(0.1), scored(0.2), FakeRecord(turns=turns, flagged=["evil"])]
    found = ask(make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl"), "flagged_by_turns")
    assert [(row["n_scored_turns"], row["n_records"], row["n_flagged"]) for row in found] == [(1, 2, 0), (2, 1, 1)]


def test_the_effect_of_length_is_given_within_a_language(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    lengths, scores = draw.integers(1, 90, 40), draw.normal(size=40)
    languages = ["en", "de", None, "en"] * 10
    records = [
        scored(float(score), n_response_tokens=int(n), language=language)
        for score, n, language in zip(scores, lengths, languages, strict=True)
    ]
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl")
    found = {row["language"]: row for row in ask(run, "length_effect_by_language") if row["trait"] == "evil"}
    assert {language: row["n_turns"] for language, row in found.items()} == {"en": 20, "de": 10, None: 10}
    own = np.array([language == "de" for language in languages])
    expected = np.corrcoef(scores[own], lengths[own])[0, 1]
    assert found["de"]["n_response_tokens"] == pytest.approx(expected, abs=1e-5)
    assert found["de"]["mean_score"] == pytest.approx(scores[own].mean(), abs=1e-5)
    assert found["de"]["n_baseline_tokens"] is None


def test_length_effect_is_null_where_nothing_varies(run: Path) -> None:
    evil = next(row for row in ask(run, "length_effect") if row["trait"] == "evil")
    assert evil["n_response_tokens"] == pytest.approx(0.9, abs=0.1)
    assert evil["code_share"] is None


def test_baseline_agreement_compares_the_two_differences(run: Path) -> None:
    evil = next(row for row in ask(run, "baseline_agreement") if row["trait"] == "evil")
    assert evil["n_turns"] == 4
    assert 0 < evil["mean_absolute_difference"] < 0.3  # type: ignore[operator]


def test_baseline_agreement_leaves_out_the_cheap_baseline_itself(tmp_path: Path) -> None:
    records = [
        *(scored(x, prompt_projection=0.5 - y) for x, y in ((0.1, 0.3), (0.2, 0.1), (0.3, 0.2))),
        *(scored(x, baseline_kind=kind) for x in (5.0, 9.0) for kind in ("prompt", None)),
    ]
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl")
    evil = next(row for row in ask(run, "baseline_agreement") if row["trait"] == "evil")
    assert evil["n_turns"] == 3
    expected = np.corrcoef([0.1, 0.2, 0.3], [0.4, 0.3, 0.5])[0, 1]
    assert evil["correlation"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("query", ["length_effect", "baseline_agreement"])
def test_a_correlation_of_two_turns_is_null(tmp_path: Path, query: str) -> None:
    records = [scored(0.1, n_response_tokens=5), scored(0.9, n_response_tokens=40)]
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl")
    for row in ask(run, query):
        assert row["n_turns"] == 2
        assert row.get("n_response_tokens") is None
        assert row.get("correlation") is None


@pytest.mark.parametrize(
    ("name", "params", "finding"),
    [
        ("top_by_trai", {}, "did you mean 'top_by_trait'"),
        ("top_by_trait", {}, "needs trait"),
        ("top_by_trait", {"trait": "evli"}, "did you mean 'evil'"),
        ("top_by_trait", {"trait": "x' OR 1=1 --"}, "no trait"),
        ("top_by_trait", {"trait": "evil", "n": "many"}, "is no integer"),
        ("top_by_trait", {"trait": "evil", "k": "1"}, "no parameter 'k'"),
        ("flagged", {"n": "1"}, "it takes none"),
        ("../secrets", {}, "no such named query"),
    ],
)
def test_a_wrong_name_or_parameter_is_explained(run: Path, name: str, params: dict[str, str], finding: str) -> None:
    with pytest.raises(QueryError, match=finding):
        ask(run, name, **params)


def test_a_header_line_of_another_form_is_refused() -> None:
    with pytest.raises(QueryError, match="header line not understood"):
        parse_query("bad", "-- A query.\n-- param n: rows\nSELECT 1")
