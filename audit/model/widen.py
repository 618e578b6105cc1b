"""Run a model of reduced precision in float32, one block at a time, and leave it as it was.

For the few sequences whose states do not fit into bfloat16 or float16. Weights of reduced precision are exact in
float32, so the numbers are those of the same weights loaded in float32 (constants that a model keeps beside its
weights stay rounded); what is widened at once is one block or one embedding, never the model. Knows modules, not what
they compute.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

_REDUCED = (torch.bfloat16, torch.float16)


def can_widen(module: nn.Module, *, is_quantised: bool) -> bool:
    """Tell whether a model has reduced weights that could be float32: not packed into other types, not on disk."""
    parameters = list(module.parameters())
    return (
        not is_quantised
        and any(parameter.dtype in _REDUCED for parameter in parameters)
        and not any(parameter.is_meta for parameter in parameters)
    )


@contextlib.contextmanager
def in_float32(module: nn.Module, blocks: nn.ModuleList) -> Iterator[None]:
    """Let every block, and every other module that has weights of its own, compute in float32 while it runs."""
    kept: dict[nn.Parameter, Tensor] = {}

    def widen(part: nn.Module, _: Any) -> None:
        # The model runs in inference mode, whose tensors could not take a parameter's place.
        with torch.inference_mode(False):
            for parameter in part.parameters():
                if parameter.dtype in _REDUCED:
                    kept[parameter] = parameter.data
                    parameter.data = parameter.data.float()

    def restore(part: nn.Module, _: Any, __: Any) -> None:
        for parameter in part.parameters():
            if parameter in kept:
                parameter.data = kept.pop(parameter)

    with contextlib.ExitStack() as stack:
        for part in _find_parts(module, blocks):
            stack.callback(part.register_forward_pre_hook(widen).remove)
            # Before the hooks that read a block, the last of which ends the pass.
            stack.callback(part.register_forward_hook(restore, prepend=True).remove)
        try:
            yield
        finally:
            for parameter, data in kept.items():
                parameter.data = data


def _find_parts(module: nn.Module, blocks: nn.ModuleList) -> list[nn.Module]:
    inside = {child for block in blocks for child in block.modules()}
    others = [
        child
        for child in module.modules()
        if child not in inside and next(child.parameters(recurse=False), None) is not None
    ]
    return [*blocks, *others]
