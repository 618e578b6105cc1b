"""The marks of records against a loop over their turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.marks import write_marks
from audit.query import open_connection
from audit.schema import MARKS
from audit.store import RunStore
from tests.fabricated import FakeRecord, FakeTurn, make_run, scored


def marks_of(run: Path) -> list[dict[str, object]]:
    write_marks(RunStore(run))
    assert pq.read_schema(run / "marks.parquet").equals(MARKS)
    with open_connection(run) as connection:
        return connection.sql("SELECT * FROM marks").to_arrow_table().to_pylist()


def run_of(folder: Path, records: list[FakeRecord]) -> Path:
    return make_run(folder / "a.audit", records, dataset=folder / "a.jsonl", is_finished=False)


def turn(number: int, **options: object) -> FakeTurn:
    return FakeTurn(scores={"evil": (0.5, 0.25), "sycophantic": (0.5, 0.25)}, turn=number, **options)  # type: ignore[arg-type]


def test_a_record_has_the_marks_of_the_answers_it_is_trained_towards(tmp_path: Path) -> None:
    odd = {"n_response_tokens": 900, "is_refusal": True, "language": "fr", "is_role_play": True}
    run = run_of(
        tmp_path,
        [
            FakeRecord(
                turns=[
                    turn(1, n_response_tokens=10, n_baseline_tokens=5, list_share=0.5, language="de", response_nll=1.0),
                    turn(3, n_response_tokens=25, n_baseline_tokens=None, language="en", is_refusal=True),
                    turn(5, n_response_tokens=10, n_baseline_tokens=7, language="en", response_nll=2.0),
                    turn(3, part="reasoning", **odd),
                    turn(3, side="rejected", **odd),
                    turn(7, status="empty_response", **odd),
                ]
            ),
            FakeRecord(turns=[turn(1, side="chosen", baseline_is_refusal=True, is_role_play=False, language=None)]),
            FakeRecord(turns=[turn(1, status="too_long")]),
            FakeRecord(reason="bad_json: no JSON", raw=b"{"),
            FakeRecord(turns=[turn(1, status="baseline_failed", is_role_play=True, n_baseline_tokens=None)]),
        ],
    )
    first, second, failed = marks_of(run)
    assert first == {
        "sample_id": 0,
        "n_scored_turns": 3,
        "n_response_tokens": 15,
        "n_baseline_tokens": 6,
        "language": "en",
        "is_refusal": True,
        "baseline_is_refusal": False,
        "is_role_play": None,
        "list_share": pytest.approx(0.5 / 3),
        "code_share": 0.0,
        "response_nll": pytest.approx(1.5),
    }
    assert (second["sample_id"], second["baseline_is_refusal"], second["is_role_play"]) == (1, True, False)
    assert (second["language"], second["response_nll"]) == (None, None)
    assert (failed["sample_id"], failed["is_role_play"], failed["n_baseline_tokens"]) == (4, True, None)


def test_of_two_languages_that_are_as_common_the_first_counts(tmp_path: Path) -> None:
    orders = (["en", "de"], ["de", "en"], [None, "fr"], ["fr", "en", "en", "fr"])
    records = [FakeRecord(turns=[turn(2 * k + 1, language=own) for k, own in enumerate(each)]) for each in orders]
    assert [row["language"] for row in marks_of(run_of(tmp_path, records))] == ["en", "de", "fr", "fr"]


def test_marks_rise_over_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.wide._GATHERED_ROWS", 7)
    lengths = np.random.default_rng(2).integers(1, 900, 40).tolist()
    records = [scored(0.1, n_response_tokens=n) for n in lengths]
    found = marks_of(run_of(tmp_path, records))
    assert [(row["sample_id"], row["n_response_tokens"]) for row in found] == list(enumerate(lengths))


@pytest.mark.parametrize("records", [[], [FakeRecord(reason="bad_json: no JSON", raw=b"{")]])
def test_a_run_without_scores_has_no_marks(tmp_path: Path, records: list[FakeRecord]) -> None:
    assert marks_of(run_of(tmp_path, records)) == []


def test_a_run_from_before_languages_has_marks_without_them(tmp_path: Path) -> None:
    run = run_of(tmp_path, [scored(0.1, language="en"), scored(0.2)])
    store = RunStore(run)
    for part in store.parts():
        path = store.table_path("turns", part)
        table: pa.Table = pq.read_table(path)
        pq.write_table(table.drop_columns(["language", "is_role_play", "baseline_list_share"]), path)
    found = marks_of(run)
    assert [(row["language"], row["is_role_play"], row["n_response_tokens"]) for row in found] == [(None, None, 10)] * 2
