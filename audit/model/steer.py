"""The only door that adds vectors to a model: they are in while answers are made, and out whatever happens.

Every row of a batch may have vectors of its own, so that answers under many strengths are made together.

Source: arXiv 2507.21509, section 3.2: h_l ← h_l + α v_l at every decoding step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audit.errors import VectorError
from audit.model.blocks import block_states
from audit.model.load import LoadedModel
from audit.model.rows import PromptRow


class Steering:
    """What is added to the rows of the batch that runs, layer by layer."""

    def __init__(self, layers: Sequence[int], d_hidden: int) -> None:
        self._layers = layers
        self._d_hidden = d_hidden
        self._rows: list[PromptRow] = []
        self._added: dict[int, Tensor] = {}

    def take(self, rows: Sequence[PromptRow]) -> None:
        """Add, from the next forward pass on, what belongs to these rows, which are its batch in this order."""
        if not self._layers or (len(rows) == len(self._rows) and all(map(_is_same, rows, self._rows))):
            return
        self._rows = list(rows)
        for layer in self._layers:
            added_nd = np.zeros((len(rows), self._d_hidden), dtype=np.float32)
            for place, row in enumerate(rows):
                if layer in row.additions:
                    added_nd[place] = row.additions[layer]
            self._added[layer] = torch.from_numpy(added_nd)

    def hook(self, layer: int) -> Callable[[object, object, Any], Any]:
        """Return the hook of a block; counted from 1."""

        def add(module: object, arguments: object, output: Any) -> Any:
            states_ntd = block_states(output).clone()
            added_nd = self._added[layer] = self._added[layer].to(states_ntd.device)
            # The sum is taken in float32 and rounded once.
            states_ntd[:, -1] = (states_ntd[:, -1].float() + added_nd).to(states_ntd.dtype)
            return (states_ntd, *output[1:]) if isinstance(output, tuple) else states_ntd

        return add


@contextlib.contextmanager
def steered(model: LoadedModel, rows: Sequence[PromptRow]) -> Iterator[Steering]:
    """Add to the last token of every forward pass what the rows of its batch ask for.

    In generation that is the token the next one is chosen from: the last of the prompt, then each of the answer. The
    prompt itself stays as it is. Nothing of it is left on the model afterwards.

    Raises:
        VectorError: no such block, or a vector of another size.
    """
    layers = sorted({layer for row in rows for layer in row.additions})
    for row in rows:
        for layer, addition_d in row.additions.items():
            if not 1 <= layer <= model.n_loaded or addition_d.shape != (model.d_hidden,):
                found = f"layer {layer}, {list(addition_d.shape)}"
                raise VectorError("steering", f"{found} does not fit {model.n_loaded} blocks of {model.d_hidden}")
    steering = Steering(layers, model.d_hidden)
    with contextlib.ExitStack() as hooks:
        for layer in layers:
            hooks.callback(model.blocks[layer - 1].register_forward_hook(steering.hook(layer)).remove)
        yield steering


def _is_same(one: PromptRow, other: PromptRow) -> bool:
    return one is other
