"""Read a model's residual stream along persona vectors, over the response tokens of each turn.

Layer l is the output of decoder block l, counted from 1: hidden_states[l] of transformers. Blocks above the highest
layer asked for and the output head are not run. Knows no samples, files or baselines.

Source: arXiv 2507.21509, section 6.1 (projection of the mean response activation on the unit vector).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit.model.batches import choose_pad_id, pad_right, plan_batches, run_batches
from audit.model.blocks import block_states
from audit.model.load import LoadedModel
from audit.model.turns import TokenizedTurn

_Array = npt.NDArray[np.float32]
Units = Mapping[str, tuple[int, _Array]]
"""Trait to (layer, unit vector [d])."""


class _LastBlockDone(Exception):
    """A signal, no error: the highest layer asked for has been read, the rest of the forward pass is not needed."""


@dataclass(frozen=True, slots=True, eq=False)
class Projections:
    """What was read, in the order of the turns (n) and of the units (k).

    Attributes:
        projection_nk: mean over the response tokens.
        prompt_projection_nk: at the last token before the response; NaN for a response without one before it.
        mean_nd: mean hidden state over the response tokens at one layer, if asked for.
    """

    projection_nk: _Array
    prompt_projection_nk: _Array
    mean_nd: _Array | None


def project_turns(
    model: LoadedModel,
    tokenized: Sequence[TokenizedTurn],
    *,
    units: Units,
    batch_tokens: int,
    keep_mean_layer: int | None = None,
) -> Projections:
    """Project turns on unit vectors, each at its own layer, in length-sorted batches of `batch_tokens` padded tokens.

    States are taken to float32 before anything is summed. A batch that does not fit into the device's memory is
    halved.

    Raises:
        ModelError: a single turn does not fit into the device's memory.
    """
    traits = list(units)
    layers = sorted({layer for layer, _ in units.values()} | ({keep_mean_layer} if keep_mean_layer else set()))
    # Per layer: which columns it fills, and their unit vectors as one matrix.
    columns = {layer: [k for k, trait in enumerate(traits) if units[trait][0] == layer] for layer in layers}
    units_dk = {
        layer: torch.from_numpy(
            np.stack([units[traits[k]][1] for k in columns[layer]], axis=1).astype(np.float32)
            if columns[layer]
            else np.zeros((model.d_hidden, 0), np.float32)
        )
        for layer in layers
    }
    projection_nk = np.full((len(tokenized), len(traits)), np.nan, dtype=np.float32)
    prompt_projection_nk = projection_nk.copy()
    mean_nd = np.zeros((len(tokenized), model.d_hidden), np.float32) if keep_mean_layer else None
    pad_id = choose_pad_id(model.tokenizer)

    def project_batch(batch: list[int]) -> None:
        turns = [tokenized[position] for position in batch]

        def read_layer(layer: int, hidden_ntd: Tensor) -> None:
            hidden_ntd = hidden_ntd.float()
            if columns[layer]:
                dots_ntk = (hidden_ntd @ units_dk[layer].to(hidden_ntd.device)).cpu().numpy()
                for row, (position, turn) in enumerate(zip(batch, turns, strict=True)):
                    response_tk = dots_ntk[row, turn.start : turn.stop]
                    projection_nk[position, columns[layer]] = response_tk.mean(axis=0, dtype=np.float64)
                    if turn.start:
                        prompt_projection_nk[position, columns[layer]] = dots_ntk[row, turn.start - 1]
            if mean_nd is not None and layer == keep_mean_layer:
                for row, (position, turn) in enumerate(zip(batch, turns, strict=True)):
                    mean_nd[position] = hidden_ntd[row, turn.start : turn.stop].mean(dim=0).cpu().numpy()

        ids_nt, mask_nt = pad_right([turn.ids for turn in turns], pad_id, model.device)
        read_hidden(model, ids_nt, mask_nt, layers=layers, read_layer=read_layer)

    if layers:
        run_batches(plan_batches([len(turn.ids) for turn in tokenized], batch_tokens), project_batch)
    return Projections(projection_nk, prompt_projection_nk, mean_nd)


def read_hidden(
    model: LoadedModel,
    ids_nt: Tensor,
    mask_nt: Tensor,
    *,
    layers: Sequence[int],
    read_layer: Callable[[int, Tensor], None],
) -> None:
    """Run a batch up to the highest of `layers` and hand each layer's states [n, t, d] to `read_layer` on the way.

    The states are the model's own, in its dtype and on the device of their block: read, do not keep.
    """
    with torch.inference_mode(), _hooked_blocks(model, layers, read_layer), contextlib.suppress(_LastBlockDone):
        model.module(input_ids=ids_nt, attention_mask=mask_nt, use_cache=False)


@contextlib.contextmanager
def _hooked_blocks(
    model: LoadedModel, layers: Sequence[int], read_layer: Callable[[int, Tensor], None]
) -> Iterator[None]:
    """Call `read_layer` after each of the blocks, and end the forward pass after the last; always take hooks off."""
    blocks = model.blocks
    last = max(layers)

    def make_hook(layer: int) -> Callable[[object, object, object], None]:
        def hook(module: object, arguments: object, output: object) -> None:
            read_layer(layer, block_states(output))
            if layer == last:
                raise _LastBlockDone

        return hook

    with contextlib.ExitStack() as hooks:
        for layer in layers:
            hooks.callback(blocks[layer - 1].register_forward_hook(make_hook(layer)).remove)
        yield
