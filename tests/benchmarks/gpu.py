"""Measure scoring on an accelerator: P12. Writes `bench-gpu.json`, which `make bench` reads.

Run as `python -m tests.benchmarks.gpu`. The model has the shape of Qwen2.5-7B and random weights, drawn on the device:
ours is the blocks up to the scoring layer, the reference loop has all of it. Both score the same pairs. The token
budget is doubled until the throughput no longer grows or the memory is full. `--tiny --device cpu` runs the same in
seconds, for a test.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audit.errors import ModelError
from audit.model.load import LoadedModel
from tests.benchmarks.gemm import choose_clock, measure_gemm
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.part import ROOT
from tests.benchmarks.scoring import score_ours, score_reference
from tests.benchmarks.workload import (
    QWEN_7B,
    TINY,
    Pair,
    Shape,
    build_module,
    count_flops,
    count_naive_tokens,
    draw_pairs,
    wrap_module,
)

FIRST_BUDGET, LAST_BUDGET = 2_048, 262_144
LEAST_GROWTH = 1.02
"""A budget that is not faster than the best by this much ends the search."""

N_PAIRS, N_REFERENCE_PAIRS = 768, 24
N_REPEATS = 3
GEMM_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Speed:
    """One way of scoring: tokens a second by the naive count, and the peak of the device's memory.

    `batch_tokens` is None for the loop, which takes one sequence at a time.
    """

    batch_tokens: int | None
    tokens_per_s: float
    seconds: float
    peak_bytes: int | None


def measure_device(shape: Shape, device: torch.device, *, n_pairs: int, n_rows: int) -> dict[str, Any]:
    """Return everything that `bench-gpu.json` holds."""
    pairs = draw_pairs(shape.n_vocab, n_pairs)
    gemm = measure_gemm(shape, torch.bfloat16, device, n_rows)
    tried, is_packable = _measure_ours(shape, device, pairs)
    gemm = max(gemm, measure_gemm(shape, torch.bfloat16, device, n_rows))
    reference = _measure_reference(shape, device, pairs[:N_REFERENCE_PAIRS])
    best = max(tried, key=lambda speed: speed.tokens_per_s)
    naive, executed = (count_flops(pairs, shape, is_naive=naive) for naive in (True, False))
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": describe_machine(),
        "cuda": torch.version.cuda,
        "shape": asdict(shape),
        "dtype": "bfloat16",
        "is_packable": is_packable,
        "n_sequences": 2 * n_pairs,
        "n_tokens": count_naive_tokens(pairs),
        "tokens_per_s": best.tokens_per_s,
        "batch_tokens": best.batch_tokens,
        "peak_bytes": best.peak_bytes,
        "gemm_flops_per_s": gemm,
        "naive_share": naive / best.seconds / gemm,
        "executed_share": executed / best.seconds / gemm,
        "reference": asdict(reference),
        "speedup": best.tokens_per_s / reference.tokens_per_s,
        "tried": [asdict(speed) for speed in tried],
    }


def _measure_ours(shape: Shape, device: torch.device, pairs: Sequence[Pair]) -> tuple[list[Speed], bool]:
    """Score with larger and larger budgets."""
    model = wrap_module(_drop_head(build_module(shape.cut(), torch.bfloat16, str(device))))
    score_ours(model, pairs[:4], shape)
    tried: list[Speed] = []
    budget = FIRST_BUDGET
    while budget <= LAST_BUDGET:
        try:
            speed = _time(lambda: score_ours(model, pairs, shape, budget), pairs, device, budget)  # noqa: B023
        except (ModelError, torch.OutOfMemoryError):
            break
        best = max((other.tokens_per_s for other in tried), default=0.0)
        tried.append(speed)
        if speed.tokens_per_s < LEAST_GROWTH * best or budget > count_naive_tokens(pairs):
            break
        budget *= 2
    if not tried:
        raise SystemExit("the smallest budget does not fit into the device's memory")
    return tried, model.is_packable


def _measure_reference(shape: Shape, device: torch.device, pairs: Sequence[Pair]) -> Speed:
    _free(device)
    model: LoadedModel = wrap_module(build_module(shape, torch.bfloat16, str(device)))
    score_reference(model, pairs[:2], shape)
    return _time(lambda: score_reference(model, pairs, shape), pairs, device, None)


def _time(score: Any, pairs: Sequence[Pair], device: torch.device, budget: int | None) -> Speed:
    """Return the fastest of a few runs: on a device of one's own, what is slower was disturbed."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    clock = choose_clock(device)
    times = []
    for _ in range(N_REPEATS):
        began = clock()
        score()
        times.append(clock() - began)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Speed(budget, count_naive_tokens(pairs) / min(times), min(times), peak)


def _drop_head(module: Any) -> Any:
    """Take off what a scan does not load: nothing behind the last block is run."""
    module.lm_head = nn.Identity()
    return module


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="a tiny model and few pairs; writes nothing without --output"
    )
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here (try --tiny --device cpu)")
    if options.tiny:
        found = measure_device(TINY, device, n_pairs=6, n_rows=64)
    else:
        found = measure_device(QWEN_7B, device, n_pairs=N_PAIRS, n_rows=GEMM_ROWS)
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    output = options.output or (None if options.tiny else ROOT / "bench-gpu.json")
    if output is not None:
        output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
