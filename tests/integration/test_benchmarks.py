"""The benchmarks hold together: what they time is the same work, what they count is there, and the files are whole.

Covers: the benchmarks' workload with audit.model (tokens, hidden); gpu.py from end to end on a tiny model.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from audit.model.tokens import tokenize_turns
from audit.model.turns import TokenizedTurn
from tests.benchmarks import gpu
from tests.benchmarks.bars import BARS, judge
from tests.benchmarks.exactness import compare_with_oracle, count_differing
from tests.benchmarks.part import run_part
from tests.benchmarks.scoring import score_ours, score_reference
from tests.benchmarks.workload import TINY, build_module, build_tokenizer, draw_pairs, render_pairs, wrap_module
from tests.models import one_thread

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

PAIRS = draw_pairs(TINY.n_vocab, 3, scale=0.2)


def test_the_reference_loop_and_ours_give_the_same_scores() -> None:
    model = wrap_module(build_module(TINY, torch.float32))
    ours, loop = score_ours(model, PAIRS, TINY), score_reference(model, PAIRS, TINY)
    assert ours.shape == (2 * len(PAIRS), 8)
    assert np.abs(ours - loop).max() < 1e-5 * ours.std()
    assert count_differing(PAIRS, lambda some, budget: score_ours(model, some, TINY, budget), ours) == 0
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


def test_a_figure_is_judged_by_its_bar_alone_and_a_missing_one_is_not() -> None:
    results = {result.id: result for result in judge({"P1": 3.0, "P10": 5.1, "P12": 60_000.0}, {"P12"})}
    assert [results[name].met for name in ("P1", "P10", "P12", "P2")] == [True, False, False, None]
    assert list(results) == [bar.id for bar in BARS]


def test_a_part_that_fails_has_no_values_and_says_so() -> None:
    found = run_part("tests.benchmarks.optional", "storage", "--rows", "none", threads=1, limit_s=60)
    assert found.values == {}
    assert found.notes == ["tests.benchmarks.optional: failed with exit code 2"]
