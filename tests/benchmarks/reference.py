"""The loop that our scoring is timed against: what a script does that nobody has made fast.

One sample at a time, all hidden states, all logits, gradients on, prompt and whole text tokenised apart, projections
in the end. Shares no code with the tool.

Source: the script of arXiv 2507.21509 works this way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def project_naively(
    module: Any,
    tokenizer: Any,
    texts: Sequence[tuple[str, str]],
    units: Mapping[str, tuple[int, NDArray[np.float32]]],
) -> NDArray[np.float64]:
    """Return the projections [n, k] of the mean response state for (prompt, whole text); leaves gradients on."""
    means: list[dict[int, torch.Tensor]] = []
    layers = {layer for layer, _ in units.values()}
    for prompt, text in texts:
        n_prompt = len(tokenizer.encode(prompt, add_special_tokens=False))
        encoded = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        output = module(
            input_ids=encoded["input_ids"].to(module.device),
            attention_mask=encoded["attention_mask"].to(module.device),
            output_hidden_states=True,
        )
        means.append({layer: output.hidden_states[layer][0, n_prompt:].mean(dim=0).detach().cpu() for layer in layers})
    return np.array(
        [
            [float(mean[layer].double() @ torch.from_numpy(unit_d).double()) for layer, unit_d in units.values()]
            for mean in means
        ]
    )
