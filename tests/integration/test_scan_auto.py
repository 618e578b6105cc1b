"""`--baseline auto`: true scores where it matters, predicted ones marked as such, and the same after any kill.

Pairs covered: auto-generation, auto-cascade, auto-known, auto-responses, run-auto, shard-known, findings-means.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from audit import Run, ScanConfig, scan
from audit.cascade import run_cascade
from audit.clean import reference_from_run
from audit.demo.world import audit_rows, write_rows
from audit.errors import RunError
from audit.events import Event, StageAdvanced, StageFinished

N_ROWS, N_RANDOM = 300, 100


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """The cascade at a size that takes seconds, on one thread."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("audit.run.LEAST_PROMPTS", 50)
        patch.setattr(
            "audit.auto.choose_random_rows",
            lambda n, seed: np.sort(np.random.default_rng(seed).choice(n, N_RANDOM, replace=False)),
        )
        yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("auto")
    write_rows(audit_rows(N_ROWS, 77), folder / "data.jsonl", None)
    return folder


@pytest.fixture(scope="module")
def shared_cache(folder: Path) -> str:
    """Answers that every scan of this file may use: the choices must not depend on it."""
    return str(folder / "cache")


@pytest.fixture(autouse=True)
def _use_cache(shared_cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONA_AUDIT_CACHE", shared_cache)


def config(folder: Path, name: str, **options: object) -> ScanConfig:
    return replace(ScanConfig(datasets=(str(folder / "data.jsonl"),), out=str(folder / name)), **options)


@pytest.fixture(scope="module")
def auto(folder: Path, small: None, shared_cache: str) -> Run:
    os.environ["PERSONA_AUDIT_CACHE"] = shared_cache
    return scan(config(folder, "auto"))


@pytest.fixture(scope="module")
def full(folder: Path, auto: Run, shared_cache: str) -> Run:
    os.environ["PERSONA_AUDIT_CACHE"] = shared_cache
    return scan(config(folder, "full", baseline="generate"))


SCORES = """SELECT * FROM scores JOIN turns USING (sample_id, side, turn, part) ORDER BY sample_id, turn, trait"""


def test_a_part_of_the_prompts_is_answered_and_the_report_adds_up(auto: Run) -> None:
    baseline = auto.manifest["baseline"]
    report = baseline["auto"]
    assert 0 < baseline["n_generated"] + baseline["n_cached"] < baseline["n_prompts"]
    assert report["n_random"] + report["n_chosen"] + report["n_audited"] + report["n_left"] == report["n_rows"]
    assert report["miss_bound"] <= 0.05 or report["n_left"] == 0
    assert set(report["r2"]) == {"evil", "hallucinating", "optimistic", "sycophantic"}
    kinds = dict(auto.sql("SELECT score_kind, count(*) FROM sample_scores GROUP BY ALL").fetchall())
    # Some of the rows that were left share a prompt with one that was not.
    assert 0 < kinds["predicted_difference"] <= report["n_left"]


def test_generated_baselines_give_the_scores_of_a_full_scan_and_predicted_ones_say_so(auto: Run, full: Run) -> None:
    ours, theirs = auto.sql(SCORES).pl(), full.sql(SCORES).pl()
    assert ours["sample_id"].to_list() == theirs["sample_id"].to_list()
    is_true = (ours["baseline_kind"] == "generated").to_numpy()
    assert 0 < is_true.sum() < len(is_true)
    for name in ("projection", "prompt_projection"):
        assert np.allclose(ours[name].to_numpy(), theirs[name].to_numpy(), atol=2e-4)
    difference = ours["projection_difference"].to_numpy()
    assert np.allclose(difference[is_true], theirs["projection_difference"].to_numpy()[is_true], atol=4e-4)
    for name in ("window_difference", "layer_difference"):
        wanted = theirs[name].to_numpy()[is_true]
        assert np.allclose(ours[name].to_numpy()[is_true], wanted, atol=2e-4 * wanted.std()), name
    rest = ours.filter(~is_true)
    assert set(rest["baseline_kind"]) == {"predicted"}
    assert rest["baseline_response"].null_count() == len(rest)
    # No window of a response that was never written is known; layers are predicted as projections are.
    assert rest["window_difference"].null_count() == len(rest)
    gap = rest["layer_difference"].to_numpy() - theirs.filter(~is_true)["layer_difference"].to_numpy()
    assert gap.std() < 0.5 * theirs["layer_difference"].to_numpy().std()
    assert (rest["standard_error"] > 0).all()
    assert ours.filter(is_true)["standard_error"].null_count() == is_true.sum()
    gap = rest["projection"] - rest["predicted_baseline_projection"] - rest["projection_difference"]
    assert float(gap.abs().max()) < 1e-5  # type: ignore[arg-type]
    # A prediction is worth something: its error is smaller than the spread of what it predicts.
    off = (rest["projection_difference"].to_numpy() - theirs.filter(~is_true)["projection_difference"].to_numpy()).std()
    assert off < 0.8 * theirs["baseline_projection"].std()  # type: ignore[operator]


def test_a_flagged_row_has_a_true_baseline_and_hardly_a_flag_is_missed(auto: Run, full: Run) -> None:
    flagged = auto.sql("SELECT score_kind FROM sample_scores WHERE flagged").fetchall()
    assert flagged
    assert set(flagged) == {("difference",)}
    missed = full.sql("SELECT sample_id FROM sample_scores WHERE flagged").fetchall()
    found = auto.sql("SELECT sample_id FROM sample_scores WHERE flagged").fetchall()
    assert set(found) <= set(missed)
    assert len(set(missed) - set(found)) <= 0.08 * len(missed)
    rows = auto.sql("SELECT q_value, z, percentile FROM flags WHERE reason LIKE '%predicted%'").fetchall()
    # Never discovered, and placed among clean scores against predicted baselines.
    assert rows
    for q_value, z, percentile in rows:
        assert q_value is None
        assert abs(z) < 10
        assert 0 <= percentile <= 100


def test_the_mean_is_the_difference_estimator_and_covers_the_full_scans(auto: Run, full: Run) -> None:
    rows = auto.sql(
        """SELECT sample_id, avg(projection - predicted_baseline_projection) AS predicted,
            avg(projection_difference) AS score, bool_and(baseline_draw = 'random') AS is_random
        FROM scores JOIN turns USING (sample_id, side, turn, part) WHERE trait = 'evil' GROUP BY sample_id"""
    ).pl()
    drawn = rows.filter(rows["is_random"])
    assert len(drawn) == N_RANDOM
    off = (drawn["predicted"] - drawn["score"]).to_numpy()
    mean = rows["predicted"].to_numpy().mean() - off.mean()
    variance = drawn["score"].to_numpy().var(ddof=1) * (N_RANDOM - 0) / N_RANDOM / N_ROWS
    variance += off.var(ddof=1) * (1 / N_RANDOM - 1 / N_ROWS)
    verdict = next(row for row in auto.verdicts if row["trait"] == "evil")
    assert verdict["mean_difference"] == pytest.approx(mean, abs=1e-4)
    assert (verdict["ci_high"] - verdict["ci_low"]) / 2 == pytest.approx(1.96 * variance**0.5, rel=1e-3)
    for own, true in zip(auto.verdicts, full.verdicts, strict=True):
        assert own["ci_low"] - 0.1 <= true["mean_difference"] <= own["ci_high"] + 0.1


def test_records_that_only_share_a_prompt_with_a_random_one_are_not_random(auto: Run) -> None:
    drawn = auto.sql("SELECT count(DISTINCT sample_id) FROM turns WHERE baseline_draw = 'random'").fetchall()
    assert drawn == [(N_RANDOM,)]


class _Killed(Exception):
    pass


def _stop_at(name: str, n: int) -> object:
    seen = 0

    def listen(event: Event) -> None:
        nonlocal seen
        if isinstance(event, StageAdvanced | StageFinished) and event.stage.rstrip("-0123456789)") == name:
            seen += 1
            if seen == n:
                raise _Killed

    return listen


def test_a_scan_that_is_killed_anywhere_ends_as_an_undisturbed_one(folder: Path, auto: Run) -> None:
    ours = config(folder, "killed", shard_rows=128)
    for stage, n in (
        ("listing prompts", 2),
        ("reading responses", 4),
        ("generating", 1),
        ("scoring what was drawn (random", 1),
        ("scoring what was drawn (chosen", 2),
        ("scoring what was drawn (audit", 1),
        ("scoring", 3),
    ):
        with pytest.raises(_Killed):
            scan(replace(ours, no_cache=stage == "generating"), listener=_stop_at(stage, n))  # type: ignore[arg-type]
    run = scan(ours)
    assert run.manifest["baseline"]["auto"] == auto.manifest["baseline"]["auto"]
    for table in ("scores", "turns", "sample_scores", "flags", "verdicts", "clusters"):
        query = f"SELECT * FROM {table} ORDER BY ALL"
        assert run.sql(query).fetchall() == auto.sql(query).fetchall(), table
    assert not any((run.path / name).exists() for name in ("responses", "prediction.npz", "answers.sqlite"))


def test_few_prompts_are_all_answered(folder: Path, auto: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.run.LEAST_PROMPTS", 5_000)
    run = scan(config(folder, "few", limit=20))
    assert run.manifest["baseline"]["auto"] is None
    assert run.manifest["baseline"]["kind"] == "generate"
    assert run.sql("SELECT DISTINCT baseline_kind FROM turns").fetchall() == [("generated",)]


def test_a_reference_from_such_a_run_counts_its_random_rows_and_keeps_predicted_scores(auto: Run) -> None:
    reference = reference_from_run(auto.path, seed=0)
    assert all(trait.n == N_RANDOM for trait in reference.traits.values())
    n_turns = auto.sql("SELECT count(*) FROM scores WHERE trait = 'evil'").fetchall()[0][0]
    assert n_turns > N_ROWS
    assert all(len(trait.plain.predicted_sorted) == n_turns for trait in reference.traits.values())
    scores = auto.sql(
        """SELECT projection_difference FROM scores WHERE trait = 'evil' AND sample_id IN
            (SELECT sample_id FROM turns GROUP BY sample_id HAVING bool_and(baseline_draw = 'random'))
        ORDER BY 1"""
    ).fetchall()
    assert [row[0] for row in scores] == pytest.approx(reference.traits["evil"].plain.scores_sorted, rel=1e-5)


def test_a_damaged_prediction_is_an_error_with_a_cure(folder: Path, auto: Run) -> None:
    ours = config(folder, "damaged", shard_rows=128)
    with pytest.raises(_Killed):
        scan(ours, listener=_stop_at("scoring", 3))  # type: ignore[arg-type]
    (folder / "damaged" / "prediction.npz").write_bytes(b"no archive")
    with pytest.raises(RunError, match=r"prediction\.npz: cannot be read.*--fresh"):
        scan(ours)


def test_the_cascade_looks_for_the_flags_that_the_run_makes(folder: Path, auto: Run) -> None:
    run = scan(config(folder, "combined", reference=str(auto.path), flag="quantile:95"))
    report = run.manifest["baseline"]["auto"]
    # Flags are made from difference and evidence together, not from the score that is shown.
    combined = run.sql("SELECT count(*) FROM flags WHERE abs(risk - projection_difference) > 0.01").fetchall()
    assert combined[0][0] > N_ROWS
    flagged = run.sql("SELECT score_kind, count(*) FROM sample_scores WHERE flagged GROUP BY ALL").fetchall()
    assert [kind for kind, _ in flagged] == ["difference"]
    # Records that share a prompt with a revealed one have a true baseline too, and so may have a flag.
    assert report["has_reference"]
    # What is found passes with a turn; a record of several turns has to pass by more.
    assert report["n_found"] > 0
    assert 0.5 * report["n_found"] < flagged[0][1] <= report["n_found"] + report["n_left"]


def test_drawn_baselines_are_predicted_by_their_means_and_true_ones_keep_their_own_error(
    folder: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So few rows are all revealed for a bound of a twentieth.
    monkeypatch.setattr("audit.auto.run_cascade", partial(run_cascade, target=0.6))
    options: dict[str, object] = {"baseline_samples": 2, "evidence": "off", "limit": 150, "max_new_tokens": 24}
    auto = scan(config(folder, "auto-drawn", **options))
    full = scan(config(folder, "full-drawn", baseline="generate", **options))
    baseline = auto.manifest["baseline"]
    assert baseline["n_generated"] + baseline["n_cached"] < 2 * baseline["n_prompts"]
    # What was drawn for the first scan is what the second one would have drawn.
    assert full.manifest["baseline"]["n_cached"] == baseline["n_generated"]
    ours, theirs = auto.sql(SCORES).pl(), full.sql(SCORES).pl()
    is_true = (ours["baseline_kind"] == "generated").to_numpy()
    assert 0 < is_true.sum() < len(is_true)
    for name in ("baseline_projection", "standard_error"):
        true, found = theirs[name].to_numpy()[is_true], ours[name].to_numpy()[is_true]
        assert np.allclose(found, true, atol=4e-4), name
    for trait in ("evil", "optimistic"):
        errors = ours.filter(~is_true).filter(ours.filter(~is_true)["trait"] == trait)["standard_error"]
        # Of a predicted baseline it is the prediction's error, the same for all.
        assert errors.null_count() == 0
        assert errors.n_unique() == 1


def test_a_run_that_is_judged_anew_says_for_which_flags_its_baselines_were_chosen(folder: Path, auto: Run) -> None:
    shutil.copytree(auto.path, folder / "anew")
    ours = config(folder, "anew")
    before = scan(ours).summary()["notices"]
    assert not any("baselines were generated" in words for words in before)
    for rule in ("quantile:80", "quantile:70"):
        notices = scan(replace(ours, flag=rule)).summary()["notices"]
        assert sum("which baselines were generated was chosen" in words for words in notices) == 1
