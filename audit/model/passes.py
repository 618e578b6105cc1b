"""Run turns through a model, in packs or padded batches, while a reader sees what comes out of its blocks.

Where the model allows, turns are packed without padding, and what the turns of a group share is run once; then what is
read does not depend on a turn's neighbours. Otherwise batches are sorted by length and padded. Knows no vectors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit.model.batches import choose_pad_id, pad_right, plan_batches, run_batches
from audit.model.blocks import LastBlockDone, block_states
from audit.model.flex import BLOCK
from audit.model.load import LoadedModel
from audit.model.packed import packed_attention, run_pack
from audit.model.packing import Group, count_tokens, pack_groups
from audit.model.precision import exact_matmul
from audit.model.turns import TokenizedTurn
from audit.model.widen import can_widen, in_float32

Places = Mapping[int, npt.NDArray[np.int64]]
"""Position of a turn to where its tokens lie among all tokens of a batch."""

_LEAST_TOKENS = 32
"""From here on the multiplication of a row was measured not to depend on how many rows there are (oneDNN)."""


_CPU_MULTIPLE = 64
"""Packs are filled up to it: oneDNN compiles and keeps code for every number of tokens, hundreds of MiB in the end."""


class Reader(Protocol):
    """Sees the blocks while a batch runs, and keeps what it wants."""

    @property
    def tokenized(self) -> Sequence[TokenizedTurn]:
        """The turns, by position."""
        ...

    def reading(self, places: Places) -> contextlib.AbstractContextManager[None]:
        """Read the blocks while a batch runs inside."""
        ...

    def is_finite(self, positions: Sequence[int]) -> bool:
        """Tell whether all that was read of these turns is finite."""
        ...


def run_turns(
    model: LoadedModel, reader: Reader, *, batch_tokens: int, groups: Sequence[int] | None = None
) -> list[int]:
    """Run all turns of a reader in batches of at most `batch_tokens` tokens; a batch that does not fit is halved.

    A group with states that are not finite in the model's type is run again in float32; what is not finite then stays
    so.

    Args:
        groups: the group of every turn, such as its sample; None: every turn is a group of its own.

    Returns:
        The positions of the turns that were run again in float32.

    Raises:
        ModelError: a single turn does not fit into the device's memory.
    """
    members = _collect_groups(groups or range(len(reader.tokenized)))
    run_groups = _run_packed if model.is_packable else _run_padded
    run_groups(model, reader, members, batch_tokens)
    overflowing = [group for group in members if not reader.is_finite(group)]
    if not overflowing or not can_widen(model.module, is_quantised=model.is_quantised):
        return []
    # A model that cannot run so keeps what it had: states that are not finite, which no score is made of.
    with in_float32(model.module, model.blocks), contextlib.suppress(RuntimeError):
        # In float32 the tiles of flex attention may be too large for a GPU, and few groups come here.
        calm = replace(model, attention="packed") if model.is_packable else model
        run_groups(calm, reader, overflowing, batch_tokens)
    return [position for group in overflowing for position in group]


def _run_packed(model: LoadedModel, reader: Reader, members: Sequence[Sequence[int]], batch_tokens: int) -> None:
    sequences = [turn.ids for turn in reader.tokenized]
    groups = [Group(tuple(group), tuple(group)) for group in members]
    packs = _fill_packs([count_tokens(sequences, group) for group in groups], batch_tokens)

    is_flex = model.attention == "packed-flex"
    multiple = BLOCK if is_flex else _CPU_MULTIPLE if model.device.type == "cpu" else 1

    def project_pack(batch: list[Group]) -> None:
        pack = pack_groups(sequences, batch, n_least=_LEAST_TOKENS, multiple=multiple)
        with torch.inference_mode(), reader.reading(pack.places):
            run_pack(model.module, pack, model.device, is_flex=is_flex)

    with packed_attention(model.module), exact_matmul(model.device):
        run_batches([[groups[place] for place in pack] for pack in packs], project_pack, split=Group.split)


def _run_padded(model: LoadedModel, reader: Reader, members: Sequence[Sequence[int]], batch_tokens: int) -> None:
    pad_id = choose_pad_id(model.tokenizer)
    positions = [position for group in members for position in group]
    turns = {position: reader.tokenized[position] for position in positions}

    def project_padded(batch: list[int]) -> None:
        ids_nt, mask_nt = pad_right([turns[position].ids for position in batch], pad_id, model.device)
        width = ids_nt.shape[1]
        places = {
            position: np.arange(row * width, row * width + len(turns[position].ids))
            for row, position in enumerate(batch)
        }
        with torch.inference_mode(), reader.reading(places):
            model.module(input_ids=ids_nt, attention_mask=mask_nt, use_cache=False)

    batches = plan_batches([len(turns[position].ids) for position in positions], batch_tokens)
    run_batches([[positions[place] for place in batch] for batch in batches], project_padded)


def _collect_groups(groups: Iterable[int]) -> list[list[int]]:
    members: dict[int, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    return list(members.values())


def _fill_packs(sizes: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Put groups into packs in order; one that is larger than `batch_tokens` has a pack of its own."""
    packs: list[list[int]] = []
    n_tokens = 0
    for group, size in enumerate(sizes):
        if not packs or n_tokens + size > batch_tokens:
            packs.append([])
            n_tokens = 0
        packs[-1].append(group)
        n_tokens += size
    return packs


@contextlib.contextmanager
def hooked_blocks(
    model: LoadedModel, layers: Sequence[int], read_layer: Callable[[int, Tensor], None]
) -> Iterator[None]:
    """Call `read_layer` after each of the blocks, and end the forward pass after the last; always take hooks off."""
    blocks = model.blocks
    last = max(layers)

    def make_hook(layer: int) -> Callable[[object, object, object], None]:
        def hook(module: object, arguments: object, output: object) -> None:
            read_layer(layer, block_states(output))
            if layer == last:
                raise LastBlockDone

        return hook

    with contextlib.ExitStack() as hooks:
        for layer in layers:
            hooks.callback(blocks[layer - 1].register_forward_hook(make_hook(layer)).remove)
        yield
