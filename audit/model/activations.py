"""Read mean activations of turns at every layer: what persona vectors are differences of.

Row l of what is returned is hidden_states[l] of transformers: row 0 the embeddings, row l the output of block l counted
from 1, and the last row L what comes after the final norm. Knows no traits.

Source: arXiv 2507.21509, section 2.2 and appendix A.3 (means over response tokens, over prompt tokens, and the last
prompt token).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit.errors import ModelError
from audit.model.blocks import LastBlockDone, block_states
from audit.model.load import LoadedModel
from audit.model.passes import Places, run_turns
from audit.model.turns import TokenizedTurn

_Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """What was read of n turns, float32 [n, L + 1, d] each, averaged in float32.

    Attributes:
        response_nld: mean over the response tokens.
        prompt_nld: mean over the tokens before the response.
        last_prompt_nld: at the last token before the response.
    """

    response_nld: _Array
    prompt_nld: _Array
    last_prompt_nld: _Array


def read_activations(model: LoadedModel, tokenized: Sequence[TokenizedTurn], *, batch_tokens: int) -> Activations:
    """Read the mean activations of turns at every layer, in batches of at most `batch_tokens` tokens.

    Memory grows with the number of turns: give as many at a time as may stand in memory.

    Raises:
        ModelError: the model is loaded in part; a turn has no prompt; a single turn does not fit into the device's
            memory.
    """
    model.refuse_partial()
    if any(turn.start == 0 for turn in tokenized):
        raise ModelError(model.id, "the chat template puts nothing before a response", "use a chat model")
    reader = _MeanReader(model, tokenized)
    run_turns(model, reader, batch_tokens=batch_tokens)
    return reader.activations


class _MeanReader:
    """Takes means of every row while a batch runs."""

    def __init__(self, model: LoadedModel, tokenized: Sequence[TokenizedTurn]) -> None:
        self.tokenized = tokenized
        self._model = model
        shape = (len(tokenized), model.n_layers + 1, model.d_hidden)
        self.activations = Activations(*(np.full(shape, np.nan, dtype=np.float32) for _ in range(3)))

    def is_finite(self, positions: Sequence[int]) -> bool:
        """Tell whether all that was read of these turns is finite."""
        rows, found = list(positions), self.activations
        read = (found.response_nld, found.prompt_nld, found.last_prompt_nld)
        return all(bool(np.isfinite(values[rows]).all()) for values in read)

    @contextlib.contextmanager
    def reading(self, places: Places) -> Iterator[None]:
        """Read every row of a batch; the output head is not run."""
        blocks, n_layers = self._model.blocks, self._model.n_layers

        def read_embeddings(_: object, arguments: tuple[Any, ...], names: dict[str, Any]) -> None:
            self._read(0, block_states(arguments[0] if arguments else names["hidden_states"]), places)

        def make_hook(row: int) -> Callable[[object, object, object], None]:
            return lambda _, __, output: self._read(row, block_states(output), places)

        def read_last(_: object, __: object, output: Any) -> None:
            self._read(n_layers, block_states(output[0]), places)
            raise LastBlockDone

        with contextlib.ExitStack() as hooks:
            hooks.callback(blocks[0].register_forward_pre_hook(read_embeddings, with_kwargs=True).remove)
            for row in range(1, n_layers):
                hooks.callback(blocks[row - 1].register_forward_hook(make_hook(row)).remove)
            # The decoder as a whole ends behind the final norm.
            hooks.callback(self._model.module.get_decoder().register_forward_hook(read_last).remove)
            with contextlib.suppress(LastBlockDone):
                yield

    def _read(self, row: int, states_ntd: Tensor, places: Places) -> None:
        states_td, found = states_ntd.flatten(0, 1), self.activations
        for position, places_t in places.items():
            turn = self.tokenized[position]
            own_td = states_td[torch.from_numpy(places_t[: turn.stop]).to(states_td.device)].float()
            found.response_nld[position, row] = own_td[turn.start :].mean(dim=0).cpu().numpy()
            found.prompt_nld[position, row] = own_td[: turn.start].mean(dim=0).cpu().numpy()
            found.last_prompt_nld[position, row] = own_td[turn.start - 1].cpu().numpy()
