"""The benchmarks hold together: what they time is the same work, what they count is there, and the files are whole.

Covers: the benchmarks' workload with audit.model (tokens, hidden, evidence); gpu.py and evidence.py from end to end on
a tiny model, findings.py on a small run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray

from audit.model.tokens import tokenize_turns
from audit.model.turns import TokenizedTurn
from audit.store import RunStore
from tests.benchmarks import evidence, gpu
from tests.benchmarks.__main__ import PARTS
from tests.benchmarks.bars import BARS, judge
from tests.benchmarks.exactness import compare_with_oracle, count_differing
from tests.benchmarks.findings import measure, write_run
from tests.benchmarks.part import run_part
from tests.benchmarks.scoring import score_ours, score_reference
from tests.benchmarks.workload import (
    QWEN_HALF_B,
    TINY,
    Pair,
    build_module,
    build_tokenizer,
    draw_pairs,
    render_pairs,
    wrap_module,
)
from tests.models import one_thread

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

PAIRS = draw_pairs(TINY.n_vocab, 3, scale=0.2)
PATIENCE_S = 300.0


def test_the_reference_loop_and_ours_give_the_same_scores() -> None:
    model = wrap_module(build_module(TINY, torch.float32))
    everything, loop = score_ours(model, PAIRS, TINY), score_reference(model, PAIRS, TINY)
    # Projections, those at the one layer below, and windows.
    assert everything.shape == (2 * len(PAIRS), 3 * 8)
    ours = everything[:, :8]
    assert np.abs(ours - loop).max() < 1e-5 * ours.std()
    assert count_differing(PAIRS, lambda some, budget: score_ours(model, some, TINY, budget), everything) == 0
    scores = {"ours medium": ours, "ours bf16": ours, "reference bf16": loop}
    assert 0 < (compare_with_oracle(model.module, PAIRS, TINY, scores).values["P4"] or 0) < 1e-5


def test_a_score_that_differs_is_counted() -> None:
    scores = np.arange(6.0).reshape(6, 1)
    assert count_differing(PAIRS, lambda some, _: np.zeros((2 * len(some), 1)), scores, (1,)) == 3


def test_the_workload_has_the_tokens_that_are_counted() -> None:
    model = wrap_module(build_module(TINY, torch.float32))
    turns, _ = render_pairs(PAIRS)
    tokenized = tokenize_turns(model, turns, model.context_tokens)
    wanted = [[*pair.prompt, *answer] for pair in PAIRS for answer in (pair.response, pair.baseline)]
    assert [turn.ids.tolist() for turn in tokenized if isinstance(turn, TokenizedTurn)] == wanted
    assert build_tokenizer(12)("10 0 2", add_special_tokens=False)["input_ids"] == [10, 0, 2]


def test_the_gpu_benchmark_runs_on_a_tiny_model(tmp_path: Path) -> None:
    gpu.main(["--tiny", "--device", "cpu", "--output", str(tmp_path / "gpu.json")])
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["tokens_per_s"] == max(speed["tokens_per_s"] for speed in found["tried"])
    assert 0 < found["executed_share"] < found["naive_share"]
    assert found["speedup"] == pytest.approx(found["tokens_per_s"] / found["reference"]["tokens_per_s"])
    assert found["is_packable"]


def test_evidence_is_timed_on_top_of_the_same_projections() -> None:
    scoring = evidence.Scoring(evidence.build_model(TINY), PAIRS, TINY)
    plain_nk, nothing = scoring.score("off")
    assert nothing is None
    assert np.abs(scoring.score_responses() - plain_nk[::2]).max() < 1e-5 * plain_nk.std()
    for level in ("score", "full"):
        projections_nk, measured = scoring.score(level)
        assert measured is not None
        assert np.array_equal(projections_nk, plain_nk)
        assert measured.score_nk.shape == (2 * len(PAIRS), 4)
        assert measured.random_nr[TINY.layer].shape == (2 * len(PAIRS), 32)
        assert np.isfinite(measured.score_nk[::2]).all()
        assert np.isnan(measured.score_nk[1::2]).all()


def test_the_pairs_that_evidence_is_timed_on_stand_for_the_workload() -> None:
    def share(pairs: list[Pair]) -> NDArray[np.float64]:
        counts = np.array([(len(pair.prompt), len(pair.response), len(pair.baseline)) for pair in pairs]).sum(axis=0)
        return np.asarray(counts / counts.sum())

    chosen = evidence.choose_pairs(QWEN_HALF_B, is_quick=False)
    assert np.abs(share(chosen) - share(draw_pairs(QWEN_HALF_B.n_vocab))).max() < 0.02


def test_the_evidence_benchmark_measures_all_its_ids_on_a_tiny_model() -> None:
    found = run_part("tests.benchmarks.evidence", "--tiny", "--quick", "--budget-s", "1", threads=1, limit_s=PATIENCE_S)
    (part,) = [part for part in PARTS if part.module == "evidence"]
    wanted = set(part.ids) if sys.platform == "linux" else set(part.ids) - {"E4"}
    assert set(found.values) == wanted
    assert all(value is not None and np.isfinite(value) for value in found.values.values())
    assert all(bar.id in part.ids for bar in BARS if bar.id.startswith("E"))


def test_the_findings_benchmark_finds_what_it_plants_and_measures_all_its_ids(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "large.audit")
    write_run(store.path, 2_000, 1_000)
    found = measure(store, 2_000)
    (part,) = [part for part in PARTS if part.module == "findings"]
    assert set(found.values) == set(part.ids)
    assert all(value is not None and np.isfinite(value) and value > 0 for value in found.values.values())
    flagged_n = pq.read_table(store.sample_scores_path)["flagged"].to_numpy()
    assert len(flagged_n) == 2_000
    assert 0.03 < flagged_n.mean() < 0.07
    # Vectors are those of the first half of the records alone.
    assert pq.read_table(store.path / "clusters.parquet").num_rows == 1_000


def test_a_figure_without_a_bar_is_neither_met_nor_missed() -> None:
    results = {result.id: result for result in judge({"E1": 2.5, "E1s": 90.0})}
    assert [(results[name].value, results[name].bar, results[name].met) for name in ("E1", "E1s")] == [
        (2.5, 3.0, True),
        (90.0, None, None),
    ]


def test_a_figure_is_judged_by_its_bar_alone_and_a_missing_one_is_not() -> None:
    results = {result.id: result for result in judge({"P1": 3.0, "P10": 5.1, "P12": 60_000.0}, {"P12"})}
    assert [results[name].met for name in ("P1", "P10", "P12", "P2")] == [True, False, False, None]
    assert list(results) == [bar.id for bar in BARS]


def test_a_part_that_fails_has_no_values_and_says_so() -> None:
    found = run_part("tests.benchmarks.optional", "storage", "--rows", "none", threads=1, limit_s=60)
    assert found.values == {}
    assert found.notes == ["tests.benchmarks.optional: failed with exit code 2"]
