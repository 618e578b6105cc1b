"""Where a causal language model keeps its decoder blocks, whatever its family.

Layer l everywhere means the output of block l counted from 1, which is hidden_states[l] of transformers below the
last block. This file knows module trees only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from audit.errors import ModelError


class LastBlockDone(Exception):
    """A signal, no error: the highest block asked for has been read, the rest of the forward pass is not needed."""


class AbsentPart(nn.Module):
    """Stands where a block or an output head was not loaded.

    Attributes:
        rows: of a block, the first row of every parameter, in the order of their names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Tensor] = []

    def forward(self, *_: object, **__: object) -> None:
        """Refuse: a model that was loaded in part cannot be run to its end."""
        raise RuntimeError("this part of the model was not loaded")


def decoder_blocks(module: Any, place: str = "model") -> nn.ModuleList:
    """Return the list of decoder blocks, in the order in which they run.

    Raises:
        ModelError: no list of modules has as many entries as the configuration has layers.
    """
    n_layers = getattr(module.config.get_text_config(), "num_hidden_layers", None)
    # A vision tower can have as many blocks as the text decoder, so the decoder's own subtree comes first.
    roots = [module.get_decoder(), module] if hasattr(module, "get_decoder") else [module]
    for root in roots:
        lists = [
            (name.count("."), child)
            for name, child in root.named_modules()
            if isinstance(child, nn.ModuleList) and len(child) == n_layers
        ]
        if lists:
            return min(lists, key=lambda pair: pair[0])[1]
    raise ModelError(
        place,
        f"no list of {n_layers} decoder blocks found in {type(module).__name__}",
        "use a decoder-only causal language model",
    )


def block_states(output: Any) -> Tensor:
    """Return the hidden states [n, t, d] from what a decoder block returned.

    Raises:
        ModelError: the block returns something of another shape.
    """
    states = output[0] if isinstance(output, tuple | list) else output
    if not isinstance(states, Tensor) or states.ndim != 3:
        raise ModelError(
            "model", "its decoder blocks return no [rows, tokens, width] tensor", "use another model family"
        )
    return states


def count_loaded(blocks: Iterable[nn.Module]) -> int:
    """Return how many blocks are loaded; those that are not come last."""
    return sum(not isinstance(block, AbsentPart) for block in blocks)


def first_row(parameter: Tensor) -> Tensor:
    """Return a vector as it is, of anything else the first row."""
    return parameter if parameter.ndim == 1 else parameter.flatten(0, -2)[0]
