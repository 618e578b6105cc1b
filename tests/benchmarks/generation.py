"""Measure how fast baselines are generated, against transformers answering one prompt at a time: P6.

Run as `python -m tests.benchmarks.generation`. Every answer has the same length, since a model with random weights does
not end one; single prompts before and after the batch stand for all of them. Longer answers would favour batches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import GenerationConfig

from audit.config import ScanConfig
from audit.model.generate import answer_prompts
from audit.model.load import LoadedModel
from tests.benchmarks.gemm import choose_clock
from tests.benchmarks.part import Findings
from tests.benchmarks.workload import QWEN_HALF_B, TINY, build_module, draw_pairs, wrap_module, write_text

N_PROMPTS = 32
N_SINGLE = 4
NEW_TOKENS = 32


def measure_generation(model: LoadedModel, n_prompts: int, new_tokens: int, budget_s: float) -> Findings:
    """Return P6: seconds a prompt of the loop over seconds a prompt of ours."""
    clock = choose_clock(model.device)
    pairs = draw_pairs(model.module.config.vocab_size, n_prompts)
    prompts = [write_text(pair.prompt) for pair in pairs]
    # Prompts of all lengths, so that their mean is near that of all.
    by_length = sorted(range(n_prompts), key=lambda place: len(pairs[place].prompt))
    sample = by_length[n_prompts // (2 * N_SINGLE) :: max(n_prompts // N_SINGLE, 1)]
    ratios: list[float] = []
    began_s = time.perf_counter()
    while not ratios or (time.perf_counter() - began_s) * (len(ratios) + 1) / len(ratios) < budget_s:
        singles = [_answer_alone(model, pairs[place].prompt, new_tokens, clock) for place in sample[::2]]
        began = clock()
        answers = answer_prompts(
            model,
            prompts,
            max_new_tokens=new_tokens,
            max_tokens=model.context_tokens,
            batch_tokens=ScanConfig(datasets=("-",)).batch_tokens,
            seed=0,
        )
        ours_s = (clock() - began) / n_prompts
        if any(answer.n_tokens != new_tokens for answer in answers):
            raise RuntimeError("answers are not as long as the loop's")
        singles += [_answer_alone(model, pairs[place].prompt, new_tokens, clock) for place in sample[1::2]]
        ratios.append(statistics.fmean(singles) / ours_s)
    note = (
        f"P6: {n_prompts} prompts, {new_tokens} tokens each, float32; the loop on {len(sample)} of them; "
        f"median of {len(ratios)} turns; ours {new_tokens / ours_s:.1f} tokens/s"
    )
    return Findings({"P6": statistics.median(ratios)}, [note])


def _answer_alone(model: LoadedModel, prompt: tuple[int, ...], new_tokens: int, clock: Callable[[], float]) -> float:
    ids = torch.tensor([prompt], device=model.device)
    config = GenerationConfig(do_sample=False, max_new_tokens=new_tokens, pad_token_id=0, eos_token_id=None)
    began = clock()
    model.module.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    return clock() - began


def main() -> None:
    """Measure on one thread."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget-s", type=float, default=150.0)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    model = wrap_module(build_module(TINY if options.tiny else QWEN_HALF_B, torch.float32))
    model.module.generation_config.eos_token_id = None
    n_prompts, new_tokens = (8, 16) if options.quick else (N_PROMPTS, NEW_TOKENS)
    measure_generation(model, n_prompts, new_tokens, options.budget_s).send()


if __name__ == "__main__":
    main()
