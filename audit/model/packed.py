"""A forward pass over a pack: attention inside each sequence only, through transformers' attention interface.

A model whose attention goes another way, or that carries state from token to token in other ways, would give other
numbers than it does for each sequence alone; `choose_attention` finds out by comparing.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from audit.model.blocks import LastBlockDone, block_states, count_loaded
from audit.model.flex import BLOCK, FlexLayout, attend_flex, wants_flex
from audit.model.packing import Group, Pack, Segment, pack_groups
from audit.model.precision import default_matmul

ATTENTION = "persona_audit_packed"

_SMOOTH_WEIGHTS = 1 << 20
"""Most attention weights of one slice while derivatives are taken: 4 MiB in float32, near the processor."""


@dataclass(slots=True)
class _Current:
    """The pack that is being run: attention functions get nothing but tensors from the model.

    `layout` is the pack's for flex attention, where that runs it; `masks` are those of its segments; `windows` the
    sliding windows that attention was asked for. `is_smooth` while derivatives are taken. `has_flex_failed` is kept:
    what could not be built once is not tried again.
    """

    pack: Pack | None = None
    layout: FlexLayout | None = None
    masks: dict[tuple[int, int, int], Tensor] = field(default_factory=dict)
    windows: set[int] = field(default_factory=set)
    is_smooth: bool = False
    has_flex_failed: bool = False

    def finish(self) -> None:
        """Forget the pack and its masks."""
        self.pack = self.layout = None
        self.is_smooth = False
        self.masks.clear()


_current = _Current()


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend segment by segment, or at once where the pack has a layout for that.

    Query [1, h, t, d], key and value [1, h or fewer, t, d]; returns [1, t, h, d].
    """
    pack = _current.pack
    if pack is None or others.get("s_aux") is not None or others.get("position_bias") is not None:
        raise NotImplementedError("attention of another kind")
    if sliding_window is not None:
        _current.windows.add(sliding_window)
    if _current.layout is not None:
        try:
            output = attend_flex(
                query, key, value, _current.layout, window=sliding_window, scaling=scaling, softcap=softcap
            )
            return output.transpose(1, 2).contiguous(), None
        except torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001 - compilers have errors of their own; the pack goes on segment by segment
            _current.layout, _current.has_flex_failed = None, True
    n_repeats = query.shape[1] // key.shape[1]
    outputs: list[Tensor] = []
    queries, keys, values = (_split(states, pack) for states in (query, key, value))
    for segment in pack.segments:
        # Copies, so that not even the alignment of what is multiplied depends on where a segment lies.
        q = queries[segment.start].contiguous()
        k, v = _gather(keys, segment).contiguous(), _gather(values, segment).contiguous()
        if n_repeats > 1:
            k, v = k.repeat_interleave(n_repeats, dim=1), v.repeat_interleave(n_repeats, dim=1)
        n_q, n_k = q.shape[2], k.shape[2]
        is_plain = not segment.above and (sliding_window is None or n_k <= sliding_window)
        mask = None if is_plain else _mask(n_q, n_k, sliding_window or 0, query.device)
        with default_matmul(query.device):
            if softcap is not None:
                outputs.append(_attend_capped(q, k, v, mask, scaling, softcap))
            elif _current.is_smooth:
                outputs += _attend_in_slices(q, k, v, sliding_window or 0, scaling)
            else:
                outputs.append(
                    torch.nn.functional.scaled_dot_product_attention(
                        q, k, v, attn_mask=mask, is_causal=is_plain, scale=scaling
                    )
                )
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _attend_in_slices(q: Tensor, k: Tensor, v: Tensor, window: int, scaling: float | None) -> list[Tensor]:
    """Attend a few queries at a time: what has derivatives keeps a weight for every pair of tokens."""
    n_heads, n_q, n_k = q.shape[1], q.shape[2], k.shape[2]
    most = _SMOOTH_WEIGHTS if q.device.type == "cpu" else 1 << 26
    n_rows = max(1, most // (n_heads * n_k))
    outputs = []
    for start in range(0, n_q, n_rows):
        stop = min(start + n_rows, n_q)
        seen = n_k - n_q + stop
        mask = _mask(n_q, n_k, window, q.device)[start:stop, :seen]
        outputs.append(
            torch.nn.functional.scaled_dot_product_attention(
                q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen], attn_mask=mask, scale=scaling
            )
        )
    return outputs


def _split(states: Tensor, pack: Pack) -> dict[int, Tensor]:
    """Return the states of each segment by where it starts; at once, since a slice each would cost a whole gradient."""
    lengths = [segment.stop - segment.start for segment in pack.segments]
    parts = torch.split(states, lengths, dim=2)
    return {segment.start: part for segment, part in zip(pack.segments, parts, strict=True)}


def _gather(parts: dict[int, Tensor], segment: Segment) -> Tensor:
    found = [parts[start] for start, _ in (*segment.above, (segment.start, segment.stop))]
    return found[0] if len(found) == 1 else torch.cat(found, dim=2)


def _mask(n_q: int, n_k: int, window: int, device: torch.device) -> Tensor:
    key = (n_q, n_k, window)
    mask = _current.masks.get(key)
    if mask is None:
        at_q = torch.arange(n_k - n_q, n_k, device=device)[:, None]
        at_k = torch.arange(n_k, device=device)[None, :]
        mask = at_k <= at_q
        if window:
            mask &= at_k > at_q - window
        _current.masks[key] = mask
    return mask


def _attend_capped(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scaling: float | None, softcap: float
) -> Tensor:
    scale = scaling if scaling is not None else q.shape[-1] ** -0.5
    scores = torch.tanh(q @ k.transpose(2, 3) * scale / softcap) * softcap
    if mask is None:
        mask = _mask(q.shape[2], k.shape[2], 0, q.device)
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, lambda *arguments, **names: None)


@contextlib.contextmanager
def packed_attention(module: Any) -> Iterator[None]:
    """Let the model attend inside the segments of packs; its own attention comes back in any case."""
    before = module.config._attn_implementation
    try:
        module.set_attn_implementation(ATTENTION)
        yield
    finally:
        module.set_attn_implementation(before)
        _current.finish()


def run_pack(module: Any, pack: Pack, device: torch.device, *, is_flex: bool = False) -> None:
    """Run a pack through a model under `packed_attention`; what is wanted of it is read by hooks."""
    _current.pack = pack
    _current.layout = FlexLayout.of(pack, device) if is_flex and not _current.has_flex_failed else None
    try:
        module(
            input_ids=torch.from_numpy(pack.ids)[None].to(device),
            position_ids=torch.from_numpy(pack.positions)[None].to(device),
            use_cache=False,
        )
    finally:
        _current.finish()


@contextlib.contextmanager
def smooth_pack(pack: Pack) -> Iterator[None]:
    """Let what runs inside, under `packed_attention`, attend as the pack says and have derivatives."""
    _current.pack, _current.is_smooth = pack, True
    try:
        yield
    finally:
        _current.finish()


def choose_attention(module: Any, blocks: torch.nn.ModuleList, device: torch.device, d_hidden: int) -> str:
    """Return how a model's sequences are scored together.

    `packed-flex` is one kernel for a pack, `packed` attends segment by segment, and `padded` takes no packs at all.
    """
    if wants_flex(device, d_hidden) and _try_flex(module, blocks, device):
        return "packed-flex"
    return "packed" if is_packable(module, blocks, device) else "padded"


def _try_flex(module: Any, blocks: torch.nn.ModuleList, device: torch.device) -> bool:
    _current.has_flex_failed = False
    return is_packable(module, blocks, device, is_flex=True) and not _current.has_flex_failed


def is_packable(module: Any, blocks: torch.nn.ModuleList, device: torch.device, *, is_flex: bool = False) -> bool:
    """Tell whether packed sequences give the states that they give alone, by trying a few short ones.

    A model that hides what a far token may see in its mask alone is refused, since the trial cannot show it.
    """
    config = module.config.get_text_config()
    n_loaded = count_loaded(blocks)
    kinds = set((getattr(config, "layer_types", None) or ())[:n_loaded])
    if kinds - {"full_attention", "sliding_attention"} or "input_ids" not in _parameters(module):
        return False
    _current.windows.clear()
    try:
        with torch.inference_mode():
            is_equal = _compare(module, blocks[n_loaded - 1], device, int(config.vocab_size), is_flex=is_flex)
    except (NotImplementedError, TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError):
        # Whatever a foreign model makes of it: it runs in padded batches instead.
        return False
    window = getattr(config, "sliding_window", None)
    hides_window = "sliding_attention" in kinds and window is not None and window not in _current.windows
    return is_equal and not hides_window


def _parameters(module: Any) -> set[str]:
    return set(inspect.signature(module.forward).parameters)


def _compare(module: Any, last_block: torch.nn.Module, device: torch.device, n_vocab: int, *, is_flex: bool) -> bool:
    draw = np.random.default_rng(0)
    head, *tails = [draw.integers(0, n_vocab, n).astype(np.int32) for n in (7, 9, 4, 21)]
    sequences = [np.concatenate([head, tails[0]]), np.concatenate([head, tails[1]]), tails[2]]
    pack = pack_groups(sequences, [Group((0, 1), (0, 1)), Group((2,), (2,))], multiple=BLOCK if is_flex else 1)
    states: list[Tensor] = []

    def keep_states(_: object, __: object, output: object) -> None:
        states.append(block_states(output)[0].float())
        raise LastBlockDone

    hook = last_block.register_forward_hook(keep_states)
    try:
        for ids in sequences:
            with contextlib.suppress(LastBlockDone):
                module(input_ids=torch.from_numpy(ids.astype(np.int64))[None].to(device), use_cache=False)
        with packed_attention(module), contextlib.suppress(LastBlockDone):
            run_pack(module, pack, device, is_flex=is_flex)
    finally:
        hook.remove()
    *alone, together = states
    packed = [together[torch.from_numpy(pack.places[n]).to(together.device)] for n in range(len(sequences))]
    tolerance = 1e-3 if module.dtype is torch.float32 else 5e-2
    return all(bool((own - other).norm() <= tolerance * own.norm()) for own, other in zip(alone, packed, strict=True))
