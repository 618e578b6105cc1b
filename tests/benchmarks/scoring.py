"""Measure scoring against the reference loop, on one thread and on two: P1 to P5.

Run as `python -m tests.benchmarks.scoring`. Every way of scoring gets the same chunk of pairs in turn, again and again
as long as there is time, and ratios are formed within a turn: what else the machine does then hits all of them alike.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from audit.config import ScanConfig
from audit.model import precision
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel
from audit.model.tokens import tokenize_turns
from audit.model.turns import TokenizedTurn
from tests.benchmarks.exactness import compare_with_oracle, count_differing
from tests.benchmarks.gemm import choose_clock, measure_gemm
from tests.benchmarks.part import Findings
from tests.benchmarks.reference import project_naively
from tests.benchmarks.workload import (
    N_VECTORS,
    QWEN_HALF_B,
    TINY,
    Pair,
    Shape,
    build_module,
    count_flops,
    draw_pairs,
    draw_units,
    render_pairs,
    wrap_module,
)

CHUNK_PAIRS = 2
N_ROUNDS = 3
BATCH_TOKENS = ScanConfig(datasets=("-",)).batch_tokens
CPU = torch.device("cpu")

Scores = NDArray[np.float64]


def score_ours(model: LoadedModel, pairs: Sequence[Pair], shape: Shape, batch_tokens: int = BATCH_TOKENS) -> Scores:
    """Return what a scan reads, y and y′ of a pair in one group: projections [n, k], then what stands beside them.

    That is the window maxima, and the projections at the two layers below for the ensemble.
    """
    turns, groups = render_pairs(pairs)
    tokenized = tokenize_turns(model, turns, model.context_tokens)
    good = [turn for turn in tokenized if isinstance(turn, TokenizedTurn)]
    units = draw_units(shape)
    below = {
        f"{trait} at {layer}": (layer, unit_d)
        for trait, (own_layer, unit_d) in units.items()
        for layer in range(max(own_layer - 2, 1), own_layer)
    }
    found = project_turns(
        model,
        good,
        units={**units, **below},
        batch_tokens=batch_tokens,
        keep_mean_layer=shape.layer,
        windowed=units,
        groups=groups,
    )
    return np.concatenate([found.projection_nk, found.window_nw], axis=1).astype(np.float64)


def score_reference(model: LoadedModel, pairs: Sequence[Pair], shape: Shape) -> Scores:
    """Return the projections [n, k] as the reference loop takes them."""
    texts = [(turn.prompt_text, turn.text) for turn in render_pairs(pairs)[0]]
    return project_naively(model.module, model.tokenizer, texts, draw_units(shape))


class Timings:
    """Times and scores of every way of scoring, chunk by chunk."""

    def __init__(self, full: LoadedModel, half: LoadedModel, shape: Shape) -> None:
        self.shape = shape
        self._clock = choose_clock(CPU)
        self._ways: dict[str, Callable[[Sequence[Pair]], Scores]] = {
            "reference": lambda pairs: score_reference(full, pairs, shape),
            "ours": lambda pairs: _with_default_library(lambda: score_ours(full, pairs, shape)),
            "ours medium": lambda pairs: score_ours(full, pairs, shape),
            "reference bf16": lambda pairs: score_reference(half, pairs, shape),
            "ours bf16": lambda pairs: score_ours(half, pairs, shape),
        }
        self.seconds: dict[str, list[float]] = {way: [] for way in self._ways}
        self.shares: list[tuple[float, float]] = []
        self._rates: list[float] = []
        self.scores: dict[str, dict[int, Scores]] = {way: {} for way in self._ways}

    def warm_up(self, pairs: Sequence[Pair]) -> None:
        """Score a little in every way: whatever comes first pays for memory and libraries."""
        for score in self._ways.values():
            score(pairs)

    def take(self, number: int, pairs: Sequence[Pair]) -> None:
        """Score one chunk in every way."""
        for way, score in self._ways.items():
            before = measure_gemm(self.shape, torch.bfloat16, CPU) if way == "ours bf16" else 0.0
            began = self._clock()
            self.scores[way][number] = score(pairs)
            taken_s = self._clock() - began
            self.seconds[way].append(taken_s)
            if before:
                rate = (before + measure_gemm(self.shape, torch.bfloat16, CPU)) / 2
                self._rates.append(rate)
                naive, executed = (count_flops(pairs, self.shape, is_naive=naive) for naive in (True, False))
                self.shares.append((naive / taken_s / rate, executed / taken_s / rate))

    def ratio(self, slow: str, fast: str) -> float:
        """Return the median over the turns of how much longer the one way took."""
        return statistics.median(a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True))

    def share(self, *, is_naive: bool) -> float:
        """Return the median share of the matrix product's rate, from the naive count or from what was executed."""
        return statistics.median(naive if is_naive else executed for naive, executed in self.shares)

    def gemm_rate(self) -> float:
        """Return the median rate of the bfloat16 product."""
        return statistics.median(self._rates)

    def collect(self, way: str) -> Scores:
        """Return the scores of all chunks, in order."""
        return np.concatenate([self.scores[way][number] for number in sorted(self.scores[way])])


def _with_default_library(score: Callable[[], Scores]) -> Scores:
    with mock.patch.object(precision, "is_onednn_exact", return_value=False):
        return score()


def time_ways(timings: Timings, pairs: Sequence[Pair], n_rounds: int, budget_s: float) -> None:
    """Take every chunk once, and then again as long as a turn fits into the budget; say after each what there is."""
    began = time.perf_counter()
    chunks = [pairs[start : start + CHUNK_PAIRS] for start in range(0, len(pairs), CHUNK_PAIRS)]
    for turn in range(n_rounds * len(chunks)):
        elapsed_s = time.perf_counter() - began
        if turn >= len(chunks) and elapsed_s * (turn + 1) / turn > budget_s:
            break
        timings.take(turn % len(chunks), chunks[turn % len(chunks)])
        describe_timings(timings).send()


def measure_scoring(shape: Shape, pairs: Sequence[Pair], *, n_rounds: int, budget_s: float, is_exact: bool) -> None:
    """Send the ratios, then, where `is_exact`, what the scores are worth."""
    full, half = (wrap_module(build_module(shape, dtype)) for dtype in (torch.float32, torch.bfloat16))
    timings = Timings(full, half, shape)
    timings.warm_up(draw_pairs(shape.n_vocab, 1, scale=0.2))
    time_ways(timings, pairs, n_rounds, budget_s)
    if not is_exact:
        return
    findings = describe_timings(timings)
    differing = count_differing(
        pairs, lambda some, budget: score_ours(full, some, shape, budget), timings.collect("ours medium")
    )
    differing += count_differing(
        pairs, lambda some, budget: score_ours(half, some, shape, budget), timings.collect("ours bf16"), (256,)
    )
    findings.values["P5"] = float(differing)
    findings.send()
    scores = {way: timings.collect(way)[:, :N_VECTORS] for way in ("ours medium", "ours bf16", "reference bf16")}
    findings.add(compare_with_oracle(full.module, pairs, shape, scores))
    findings.send()


def describe_timings(timings: Timings) -> Findings:
    """Return P1 to P3; with more than one thread as a line alone, since no bar is set for it."""
    is_onednn = precision.matmul_way(CPU, torch.float32) == "onednn"
    values: dict[str, float | None] = {
        "P1": timings.ratio("reference", "ours"),
        "P1m": timings.ratio("reference", "ours medium") if is_onednn else None,
        "P2": timings.ratio("reference bf16", "ours bf16"),
        "P2f": timings.ratio("reference", "ours bf16"),
        "P3": timings.share(is_naive=True),
    }
    if torch.get_num_threads() > 1:
        figures = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None)
        return Findings(notes=[f"{torch.get_num_threads()} threads, wall clock: {figures}"])
    n_turns = len(timings.shares)
    return Findings(
        values,
        [
            f"P1-P3: medians of {n_turns} interleaved turns of {2 * CHUNK_PAIRS} sequences; one thread, process time",
            f"P3: {timings.share(is_naive=False):.2f} by the operations that were really executed; product: "
            f"{timings.gemm_rate() / 1e9:.0f} GFLOP/s in bfloat16, "
            f"{measure_gemm(timings.shape, torch.float32, CPU) / 1e9:.0f} in float32",
        ],
    )


def main() -> None:
    """Measure on as many threads as OpenMP was given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget-s", type=float, default=400.0)
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--rounds", type=int, default=N_ROUNDS)
    parser.add_argument("--inexact", action="store_true", help="times only")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    shape = TINY if options.tiny else QWEN_HALF_B
    pairs = draw_pairs(shape.n_vocab, **({"n_pairs": options.pairs} if options.pairs else {}))
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    measure_scoring(shape, pairs, n_rounds=options.rounds, budget_s=options.budget_s, is_exact=not options.inexact)


if __name__ == "__main__":
    main()
