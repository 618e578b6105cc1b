"""The only door that adds a vector to a model: it is in while answers are made, and out whatever happens.

Source: arXiv 2507.21509, section 3.2: h_l ← h_l + α v_l at every decoding step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit.errors import VectorError
from audit.model.blocks import block_states
from audit.model.load import LoadedModel


@contextlib.contextmanager
def steered(model: LoadedModel, additions: Mapping[int, npt.NDArray[np.float32]]) -> Iterator[None]:
    """Add a vector [d] to the output of each of these blocks, counted from 1, at the last token of every pass.

    In generation that is the token the next one is chosen from: the last of the prompt, then each of the answer. The
    prompt itself stays as it is. Nothing of it is left on the model afterwards.

    Raises:
        VectorError: no such block, or a vector of another size.
    """
    for layer, addition_d in additions.items():
        if not 1 <= layer <= model.n_loaded or addition_d.shape != (model.d_hidden,):
            found = f"layer {layer}, {list(addition_d.shape)}"
            raise VectorError("steering", f"{found} does not fit {model.n_loaded} blocks of {model.d_hidden}")
    with contextlib.ExitStack() as hooks:
        for layer, addition_d in additions.items():
            hook = _make_hook(torch.from_numpy(np.array(addition_d, dtype=np.float32)))
            hooks.callback(model.blocks[layer - 1].register_forward_hook(hook).remove)
        yield


def _make_hook(addition_d: Tensor) -> Callable[[object, object, Any], Any]:
    def add(module: object, arguments: object, output: Any) -> Any:
        states_ntd = block_states(output).clone()
        # The sum is taken in float32 and rounded once.
        last_nd = states_ntd[:, -1].float() + addition_d.to(states_ntd.device)
        states_ntd[:, -1] = last_nd.to(states_ntd.dtype)
        return (states_ntd, *output[1:]) if isinstance(output, tuple) else states_ntd

    return add
