"""Compare scores with themselves under other neighbours (P5), and with float64 arithmetic (P4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.benchmarks.part import Findings
from tests.benchmarks.workload import SEED, Pair, Shape, draw_units

BUDGETS = (256, 2_048, 16_384)

Scores = NDArray[np.float64]


def count_differing(
    pairs: Sequence[Pair],
    score: Callable[[Sequence[Pair], int], Scores],
    known_nk: Scores,
    budgets: Sequence[int] = BUDGETS,
) -> int:
    """Count the scores that are not bitwise what they were, for every other pair in shuffled order."""
    order = np.random.default_rng(SEED + 2).permutation(np.arange(0, len(pairs), 2))
    rows = [2 * pair + side for pair in order.tolist() for side in (0, 1)]
    differing = 0
    for budget in budgets:
        found_nk = score([pairs[pair] for pair in order.tolist()], budget)
        differing += int((found_nk != known_nk[rows]).sum())
    return differing


def compare_with_oracle(module: Any, pairs: Sequence[Pair], shape: Shape, scores: Mapping[str, Scores]) -> Findings:
    """Return P4 and P4b: errors of the difference between y and y′, for every other pair.

    `module` is the float32 model, which is used up: it becomes a float64 one of the blocks that are needed.
    """
    chosen = range(0, len(pairs), 2)
    exact_nk = _project_exactly(module, [pairs[place] for place in chosen], shape)
    differences = {way: (nk[0::2] - nk[1::2])[chosen] for way, nk in scores.items()}
    ours_nk = scores["ours medium"][0::2] - scores["ours medium"][1::2]
    sd_k = ours_nk.std(axis=0, ddof=1)
    errors = {way: (found_nk - exact_nk) / sd_k for way, found_nk in differences.items()}
    rms = {way: float(np.sqrt(np.square(error_nk).mean())) for way, error_nk in errors.items()}
    return Findings(
        {
            "P4": float(np.abs(errors["ours medium"]).max()),
            "P4b": rms["ours bf16"] / rms["reference bf16"],
        },
        [
            f"P4b: root mean square error {rms['ours bf16']:.4f} SD, of the reference {rms['reference bf16']:.4f}; "
            f"against float64, {len(chosen)} of {len(pairs)} pairs"
        ],
    )


def _project_exactly(module: Any, pairs: Sequence[Pair], shape: Shape) -> Scores:
    """Return the differences [n, k] in float64, one sequence at a time, prompts run anew, attention written out."""
    # The last of hidden_states is normalised, so one block more stays.
    module.model.layers = module.model.layers[: shape.layer + 1]
    module.config.num_hidden_layers = shape.layer + 1
    module.double()
    module.set_attn_implementation("eager")
    units_kd = np.stack([unit_d for _, unit_d in draw_units(shape).values()]).astype(np.float64)

    def project(prompt: Sequence[int], answer: Sequence[int]) -> Scores:
        with torch.no_grad():
            output = module.model(torch.tensor([[*prompt, *answer]]), output_hidden_states=True, use_cache=False)
        mean_d = output.hidden_states[shape.layer][0, len(prompt) :].mean(dim=0).numpy()
        return np.asarray(units_kd @ mean_d)

    return np.stack([project(pair.prompt, pair.response) - project(pair.prompt, pair.baseline) for pair in pairs])
