"""The way from a model's final states to its logits: the output head, and whatever the model does behind it.

Run for chosen places alone and a few at a time, so that a large vocabulary never stands in memory for a whole batch.
What a family does to logits (scaling, soft-capping) is done by its own code: the decoder is made to hand over states
that are there already. Knows no tokens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from audit.errors import ModelError
from audit.model.load import LoadedModel

LOGIT_BUDGET = 1 << 24
"""Most logits of one kind that are held at once: 64 MiB in float32."""


class _FinalStates:
    """What a decoder returns, with nothing in it but its states; families ask for different things beside them."""

    def __init__(self, last_hidden_state: Tensor | None) -> None:
        self.last_hidden_state = last_hidden_state

    def __getitem__(self, place: int) -> Tensor | None:
        return self.last_hidden_state if place == 0 else None

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class Tail:
    """Turns final states [p, d] into logits [p, v] while `opened_tail` is open.

    Attributes:
        weight_vd: of the output head, where logits are nothing but its product with the states (and a bias): then
            derivatives need no more than rows and products of it. None where the model does more.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._states_1pd: Tensor | None = None
        self.weight_vd: Tensor | None = None

    def __call__(self, states_pd: Tensor) -> Tensor:
        """Return the logits; gradients and tangents go through."""
        self._states_1pd = states_pd.unsqueeze(0)
        ids_1p = torch.zeros((1, states_pd.shape[0]), dtype=torch.long, device=self._model.device)
        logits: Tensor = self._model.module(input_ids=ids_1p, use_cache=False).logits
        self._states_1pd = None
        return logits[0]

    def hand_over(self, *_: object, **__: object) -> _FinalStates:
        """Stand in for the decoder."""
        return _FinalStates(self._states_1pd)


@contextlib.contextmanager
def opened_tail(model: LoadedModel) -> Iterator[Tail]:
    """Give the model's tail; its decoder is bypassed inside, and back in any case.

    Raises:
        ModelError: the model is loaded in part, or has no output head.
    """
    model.refuse_partial()
    if model.module.get_output_embeddings() is None:
        raise ModelError(model.id, "it has no output head", "use a causal language model")
    decoder: Any = model.module.get_decoder()
    tail = Tail(model)
    with replaced_forward(decoder, tail.hand_over):
        if model.module not in _plain_heads:
            _plain_heads[model.module] = _is_plain(model, tail)
        if _plain_heads[model.module]:
            tail.weight_vd = model.module.get_output_embeddings().weight.detach()
        yield tail


@contextlib.contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module do something else; what it did before comes back in any case."""
    # What spreads a model over devices puts a forward of its own on the instance.
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


_plain_heads: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def _is_plain(model: LoadedModel, tail: Tail) -> bool:
    head = model.module.get_output_embeddings()
    if type(head) is not nn.Linear or head.weight.device != model.device:
        return False
    # Large enough that a cap would show.
    draw = torch.Generator().manual_seed(0)
    states_pd = (100 * torch.randn(2, model.d_hidden, generator=draw)).to(head.weight)
    with torch.no_grad():
        return torch.equal(tail(states_pd), head(states_pd))


def places_at_once(n_vocab: int) -> int:
    """Return how many places may have their logits in memory at once."""
    return max(1, LOGIT_BUDGET // n_vocab)
