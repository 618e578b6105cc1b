"""What else explains a score: the summary and the named queries say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audit.confound import CONFOUNDS, measure_confounds, measure_run_agreement
from audit.query import open_connection, read_batches, run_named
from audit.score import correlation
from tests.fabricated import FakeRecord, FakeTurn, make_run, scored

N = 40


def make(path: Path, **options: object) -> Path:
    """Return a run of random scores; every third is a refusal, none has code."""
    generator = np.random.default_rng(3)
    records = [
        scored(
            float(generator.normal()),
            0.25,
            n_response_tokens=int(generator.integers(1, 90)),
            is_refusal=k % 3 == 0,
            list_share=float(generator.uniform()),
            prompt_projection=float(generator.normal()),
            **{
                # Unknown of some turns, which must not take the other marks with them.
                "language": ("en", "de", "en", None)[k % 4],
                "is_role_play": (True, False, None, False, True)[k % 5],
                "baseline_is_refusal": k % 7 == 0,
                "baseline_list_share": None if k % 2 else float(generator.uniform()),
                **options,
            },
        )
        for k in range(N)
    ]
    # What must not count: no score, another part, a side that training pushes away from.
    odd = {"evil": (900.0, 0.0), "sycophantic": (7.0, 0.0)}
    records += [
        FakeRecord(turns=[FakeTurn(scores={"evil": (900.0, None)}, status="baseline_failed", baseline_kind=None)]),
        FakeRecord(turns=[FakeTurn(scores=odd, part="reasoning", baseline_kind="prompt")]),
        FakeRecord(turns=[FakeTurn(scores=odd, side="rejected", baseline_kind="prompt")]),
    ]
    return make_run(path / "a.audit", records, dataset=path / "a.jsonl", is_finished=False)


def ask(run: Path, name: str) -> dict[str, dict[str, float | None]]:
    with open_connection(run) as connection:
        rows = [row for batch in read_batches(run_named(connection, name)) for row in batch.to_pylist()]
    return {row["trait"]: row for row in rows}


def test_confounds_are_what_the_named_query_and_the_formula_say(tmp_path: Path) -> None:
    run = make(tmp_path)
    found = measure_confounds(run, ["evil", "sycophantic"])
    named = ask(run, "length_effect")
    with open_connection(run) as connection:
        columns = connection.execute(
            "SELECT projection_difference AS score, * FROM scores JOIN turns USING (sample_id, side, turn, part) "
            f"WHERE trait = 'evil' AND sample_id < {N} ORDER BY sample_id"
        ).fetchnumpy()
    columns["other_language"] = columns["language"] != "en"
    columns["other_language"].mask = columns["language"].mask
    for name in CONFOUNDS:
        if name in ("baseline_code_share", "code_share", "n_baseline_tokens"):
            assert found["evil"][name] is None
            continue
        expected = correlation(columns["score"], np.ma.filled(columns[name].astype(float), np.nan))
        assert found["evil"][name] == named["evil"][name] == pytest.approx(expected, abs=1e-5)
    assert found["evil"]["is_refusal"] is not None
    assert found["evil"]["code_share"] is None
    assert found["sycophantic"] == dict.fromkeys(CONFOUNDS)


def test_a_trait_without_scores_has_no_correlations(tmp_path: Path) -> None:
    assert measure_confounds(make(tmp_path), ["humorous"]) == {"humorous": dict.fromkeys(CONFOUNDS)}


def test_the_agreement_is_what_the_named_query_says(tmp_path: Path) -> None:
    run = make(tmp_path)
    agreement = measure_run_agreement(run)
    assert agreement["evil"] == ask(run, "baseline_agreement")["evil"]["correlation"]
    assert agreement["evil"] is not None
    assert 0 < agreement["evil"] < 1
    assert agreement["sycophantic"] is None


@pytest.mark.parametrize("kind", ["prompt", None])
def test_a_run_without_true_baselines_has_no_agreement(tmp_path: Path, kind: str | None) -> None:
    assert measure_run_agreement(make(tmp_path, baseline_kind=kind)) == {}


def test_turns_of_a_given_baseline_count(tmp_path: Path) -> None:
    assert measure_run_agreement(make(tmp_path, baseline_kind="file"))["evil"] is not None
