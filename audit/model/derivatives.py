"""How a model's final states move when something is added to its residual stream: upwards from a layer, both ways.

`Upper` runs the blocks above a layer from states that are there already. Tangents go up through it (what a direction
does to every final state), gradients come down (what every direction does to one number). A model whose code does not
let tangents through gets central differences in their place; one without gradients does without.

Knows layers and states, not what they are for. Nothing of it stays on the model.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from audit.model.blocks import block_states
from audit.model.load import LoadedModel
from audit.model.tail import opened_tail, replaced_forward

_STEPS = {torch.float32: 0.02, torch.float64: 0.02}
_COARSE_STEP = 0.2
"""Of a central difference, as a share of the length of what is moved; types of few digits need a coarse one."""

_TANGENTS_AT_ONCE = 8
_N_TRIED = 7

Additions = Mapping[int, Tensor]
"""Layer to what is added to its states; of a shape that broadcasts to them."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a model allows.

    Attributes:
        resumes: its upper blocks can be run from states of a lower one, without the blocks below.
        has_tangents: forward-mode derivatives go through; otherwise central differences are taken.
        has_gradients: reverse-mode derivatives go through.
    """

    resumes: bool
    has_tangents: bool
    has_gradients: bool


class Upper:
    """Runs a model from `layer` on, over states of that layer.

    Args:
        states: [n, t, d], the output of block `layer`.
        inputs: what the decoder takes beside, `input_ids` and positions or mask.
        saves_memory: keep no more than one block's intermediate values for gradients.
    """

    def __init__(
        self,
        model: LoadedModel,
        layer: int,
        states: Tensor,
        inputs: Mapping[str, Tensor],
        *,
        resumes: bool = True,
        saves_memory: bool = False,
    ) -> None:
        self._model, self._layer, self._states = model, layer, states
        self._inputs = dict(inputs)
        self._resumes, self._saves_memory = resumes, saves_memory

    def __call__(self, additions: Additions) -> Tensor:
        """Return the states after the final norm, [n * t, d]."""
        with contextlib.ExitStack() as stack:
            if self._resumes:
                stack.enter_context(_replaced_blocks(self._model.blocks, self._layer, self._states, additions))
            else:
                stack.enter_context(_added(self._model.blocks[self._layer - 1], additions.get(self._layer)))
            for layer, addition in additions.items():
                if layer > self._layer:
                    stack.enter_context(_added(self._model.blocks[layer - 1], addition))
            if self._saves_memory:
                for block in list(self._model.blocks)[self._layer :]:
                    stack.enter_context(_checkpointed(block))
            output: Any = self._model.module.get_decoder()(**self._inputs, use_cache=False)
        final: Tensor = output[0]
        return final.flatten(0, 1)


def push_forward(way: Way, function: Callable[[Tensor], Tensor], directions_kd: Tensor, states: Tensor) -> Tensor:
    """Return the derivative of `function` at 0 by the strength of each direction, [k, ...].

    Args:
        function: of strengths [k].
        directions_kd: what the strengths are of.
        states: what is moved, [..., d]; its type and device are those of the strengths.
    """
    n_directions = len(directions_kd)
    axes_kk = torch.eye(n_directions, dtype=states.dtype, device=states.device)
    with torch.no_grad():
        if way.has_tangents:
            at = torch.zeros(n_directions, dtype=states.dtype, device=states.device)
            return _push(function, at, axes_kk, chunk_size=_TANGENTS_AT_ONCE)
        length = states.float().norm(dim=-1).mean()
        moved = []
        for axis_k, direction_d in zip(axes_kk, directions_kd, strict=True):
            step = _share_of(length, direction_d.float().norm(), states.dtype)
            moved.append((function(step * axis_k) - function(-step * axis_k)) / (2 * step))
        return torch.stack(moved)


def push_each(way: Way, function: Callable[[Tensor], Tensor], at: Tensor, tangent: Tensor) -> Tensor:
    """Return the derivative of `function` at `at` along a tangent of the same shape."""
    with torch.no_grad():
        if way.has_tangents:
            return _push(function, at, tangent[None])[0]
        step = _share_of(at.float().norm(), tangent.float().norm(), at.dtype)
        return (function(at + step * tangent) - function(at - step * tangent)) / (2 * step)


def _share_of(length: Tensor, unit: Tensor, dtype: torch.dtype) -> float:
    """Return the step, in units of a direction, that moves what is moved by a share of its length."""
    return _STEPS.get(dtype, _COARSE_STEP) * float(length) / max(float(unit), 1e-30)


def _push(
    function: Callable[[Tensor], Tensor], at: Tensor, tangents_k: Tensor, *, chunk_size: int | None = None
) -> Tensor:
    """Push tangents through a function; what it computes at `at` is computed once for all of them."""

    def along(tangent: Tensor) -> Tensor:
        moved: Tensor = torch.func.jvp(function, (at,), (tangent,))[1]
        return moved

    batched: Any = torch.func.vmap(along, chunk_size=chunk_size)
    pushed: Tensor = batched(tangents_k)
    return pushed


@contextlib.contextmanager
def smooth_attention() -> Iterator[None]:
    """Attend through operations that have derivatives of both kinds."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


_ways: WeakKeyDictionary[nn.Module, dict[int, Way]] = WeakKeyDictionary()


def find_way(model: LoadedModel, layer: int) -> Way:
    """Return what a model allows from a layer on, by trying a few tokens; tried once for a model.

    Raises:
        ModelError: the model is loaded in part, or has no output head.
    """
    model.refuse_partial()
    known = _ways.setdefault(model.module, {})
    if layer not in known:
        with warnings.catch_warnings():
            # The first tangent imports a part of torch that still uses what torch deprecates.
            warnings.simplefilter("ignore", DeprecationWarning)
            known[layer] = _try_ways(model, layer)
    return known[layer]


_FOREIGN_ERRORS = (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError, KeyError, IndexError)


def _try_ways(model: LoadedModel, layer: int) -> Way:
    draw = torch.Generator().manual_seed(0)
    ids_nt = torch.randint(0, model.fingerprint.n_vocab, (2, _N_TRIED), generator=draw).to(model.device)
    inputs = {"input_ids": ids_nt, "attention_mask": torch.ones_like(ids_nt)}
    direction_d = torch.randn(model.d_hidden, generator=draw)
    with smooth_attention():
        states, final = _read_states(model, layer, inputs)
        direction_d = (direction_d / direction_d.norm() * states.float().norm(dim=-1).mean()).to(states)
        resumes = _try_resuming(model, layer, states, inputs, final)
        upper = Upper(model, layer, states, inputs, resumes=resumes)

        def moved(strength_k: Tensor) -> Tensor:
            return upper({layer: (strength_k[:, None] * direction_d).sum(dim=0)[None, None]})

        way = Way(resumes, has_tangents=True, has_gradients=True)
        tangent = gradient = None
        with contextlib.suppress(*_FOREIGN_ERRORS):
            candidate = push_forward(way, moved, direction_d[None], states)[0]
            with opened_tail(model) as tail:
                is_smooth = bool(push_each(way, tail, final, candidate).isfinite().all())
            tangent = candidate if is_smooth and bool(candidate.isfinite().all()) else None
        with contextlib.suppress(*_FOREIGN_ERRORS), torch.enable_grad():
            leaf = torch.zeros_like(states, requires_grad=True)
            (gradient,) = torch.autograd.grad(upper({layer: leaf}).float().sum(), leaf)
        if tangent is not None and gradient is not None and model.module.dtype is torch.float32:
            down, up = float((gradient.float() @ direction_d.float()).sum()), float(tangent.float().sum())
            if abs(down - up) > 1e-2 * float(tangent.float().abs().sum()):
                # Something in between cuts one of the two; differences are slow and right.
                tangent = gradient = None
    return Way(resumes, tangent is not None, gradient is not None)


def _read_states(model: LoadedModel, layer: int, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    kept: list[Tensor] = []
    hook = model.blocks[layer - 1].register_forward_hook(lambda _, __, output: kept.append(block_states(output)))
    try:
        with torch.no_grad():
            final = model.module.get_decoder()(**inputs, use_cache=False)[0]
    finally:
        hook.remove()
    return kept[0], final.flatten(0, 1)


def _try_resuming(model: LoadedModel, layer: int, states: Tensor, inputs: Mapping[str, Tensor], final: Tensor) -> bool:
    try:
        with torch.no_grad():
            resumed = Upper(model, layer, states, inputs)({})
    except _FOREIGN_ERRORS:
        return False
    tolerance = 1e-3 if model.module.dtype is torch.float32 else 5e-2
    return bool((resumed - final).float().norm() <= tolerance * final.float().norm())


@contextlib.contextmanager
def _replaced_blocks(blocks: nn.ModuleList, layer: int, states: Tensor, additions: Additions) -> Iterator[None]:
    """Let the blocks up to `layer` hand over its states instead of computing."""
    moved = states + additions[layer] if layer in additions else states
    with contextlib.ExitStack() as stack:
        for place in range(layer):
            stack.enter_context(
                replaced_forward(blocks[place], _make_constant(moved if place == layer - 1 else states))
            )
        yield


def _make_constant(states: Tensor) -> Callable[..., Tensor]:
    return lambda *_, **__: states


@contextlib.contextmanager
def _added(block: nn.Module, addition: Tensor | None) -> Iterator[None]:
    if addition is None:
        yield
        return

    def add(_: object, __: object, output: Any) -> Any:
        states = block_states(output)
        # Blocks may lie on other devices than the lowest layer.
        moved = states + addition.to(states.device)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    hook = block.register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


def _checkpointed(block: nn.Module) -> contextlib.AbstractContextManager[None]:
    whole = block.forward

    def forward(*arguments: Any, **names: Any) -> Any:
        return checkpoint(whole, *arguments, use_reentrant=False, **names)

    return replaced_forward(block, forward)
