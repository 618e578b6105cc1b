"""Attention of a whole pack in one kernel, through torch's flex attention: what keeps a GPU busy.

A loop over segments starts a kernel for each, and most segments are too short for one. Here the tree of segments is
one mask. Segments stand in the order in which a walk down the tree meets them, so token q sees token k exactly if k
does not come after q and q lies before the end of what goes on from k's segment.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from audit.model.packing import Pack

BLOCK = 128
"""Tokens a side of the tiles that the kernel runs or leaves out; packs are filled up to a multiple of it."""

_LEAST_WIDTH = 1024
"""Narrower models are done before the kernel is compiled."""

_Bools = npt.NDArray[np.bool_]


def wants_flex(device: torch.device, d_hidden: int) -> bool:
    """Tell whether flex attention is worth a trial: on CUDA, where segments run one after another otherwise."""
    return device.type == "cuda" and d_hidden >= _LEAST_WIDTH


def find_ends(pack: Pack) -> npt.NDArray[np.int32]:
    """Return, for every token, the first token that is neither in its segment nor in one that goes on from it."""
    ends = np.zeros(len(pack.ids), dtype=np.int32)
    for segment in pack.segments:
        for start, stop in (*segment.above, (segment.start, segment.stop)):
            ends[start:stop] = segment.stop
    return ends


def find_tiles(ends: npt.NDArray[np.int32], size: int = BLOCK) -> tuple[_Bools, _Bools]:
    """Return which tiles [q, k] hold a visible token, and in which of these all are; a last tile may be short."""
    starts = np.arange(0, len(ends), size)
    stops = np.append(starts[1:], len(ends))
    last_ends, first_ends = (reduce.reduceat(ends, starts) for reduce in (np.maximum, np.minimum))
    is_below = starts[:, None] > starts[None, :]
    has_any = (is_below & (last_ends[None, :] > starts[:, None])) | np.eye(len(starts), dtype=bool)
    has_all = is_below & (first_ends[None, :] >= stops[:, None])
    return has_any, has_all


@dataclass(slots=True)
class FlexLayout:
    """A pack as the kernel wants it; masks are made when a model asks for them, one for each sliding window."""

    ends_t: Tensor
    positions_t: Tensor
    has_any: _Bools
    has_all: _Bools
    masks: dict[int | None, BlockMask] = field(default_factory=dict)

    @classmethod
    def of(cls, pack: Pack, device: torch.device) -> FlexLayout:
        """Lay out a pack on a device."""
        ends = find_ends(pack)
        return cls(torch.from_numpy(ends).to(device), torch.from_numpy(pack.positions).to(device), *find_tiles(ends))

    def mask(self, window: int | None) -> BlockMask:
        """Return the mask of attention that sees `window` tokens at most, or all."""
        if window not in self.masks:
            self.masks[window] = self._make_mask(window)
        return self.masks[window]

    def _make_mask(self, window: int | None) -> BlockMask:
        ends_t, positions_t = self.ends_t, self.positions_t

        n_near = len(ends_t) if window is None else window

        def sees(_: Tensor, __: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (k <= q) & (q < ends_t[k])

        def sees_near(_: Tensor, __: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (k <= q) & (q < ends_t[k]) & (positions_t[q] - positions_t[k] < n_near)

        # Under a window no tile is known to be whole.
        has_all = self.has_all if window is None else np.zeros_like(self.has_all)
        device, n_tokens = ends_t.device, len(ends_t)
        return BlockMask.from_kv_blocks(
            *_list_tiles(self.has_any & ~has_all, device),
            *_list_tiles(has_all, device),
            BLOCK_SIZE=BLOCK,
            mask_mod=sees if window is None else sees_near,
            seq_lengths=(n_tokens, n_tokens),
        )


def _list_tiles(tiles: _Bools, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return, for every row, how many tiles are set, and their columns first: int32 [1, 1, q] and [1, 1, q, k]."""
    columns = np.argsort(~tiles, axis=1, kind="stable").astype(np.int32)
    counts = tiles.sum(axis=1).astype(np.int32)
    return torch.from_numpy(counts)[None, None].to(device), torch.from_numpy(columns)[None, None].to(device)


def attend_flex(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: FlexLayout,
    *,
    window: int | None,
    scaling: float | None,
    softcap: float | None,
) -> Tensor:
    """Attend inside a pack; query [1, h, t, d], key and value [1, h or fewer, t, d]; returns [1, h, t, d]."""

    attend = _compiled() if query.device.type == "cuda" else flex_attention
    output: Tensor = attend(
        query,
        key,
        value,
        score_mod=None if softcap is None else _make_cap(softcap),
        block_mask=layout.mask(window),
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output


def _make_cap(softcap: float) -> Callable[..., Tensor]:
    def cap(score: Tensor, _: Tensor, __: Tensor, ___: Tensor, ____: Tensor) -> Tensor:
        return torch.tanh(score / softcap) * softcap

    return cap


@functools.cache
def _compiled() -> Any:
    # Packs differ in length, and compiling takes many seconds.
    return torch.compile(flex_attention, dynamic=True)
