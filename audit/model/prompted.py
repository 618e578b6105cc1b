"""Measure what system prompts for a trait, and against it, do to the likelihood of a response.

Every context of a turn is run by itself; of its final states those are kept that predict the response and the token
that ends the turn. Logits come from them a few places at a time, one context after the other, so that a large
vocabulary never stands in memory for a whole response. Knows token ids, not what prompts say.

Source: the gain over no prompt is the quantity of Logit-Linear Selection, arXiv 2602.04863. Departures: prompts for a
trait are held against prompts against it, several wordings are averaged, and z compares with what the model itself
would have said: u_t, the difference of mean log-probabilities, has mean E u_t and variance Var u_t under the model's
own distribution at step t, so that on the model's own samples z has mean 0 and variance 1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit.model.batches import run_batches
from audit.model.blocks import LastBlockDone, block_states
from audit.model.load import LoadedModel
from audit.model.passes import Places, run_turns
from audit.model.tail import Tail, opened_tail, places_at_once
from audit.model.turns import TokenizedTurn
from audit.model.widen import can_widen, in_float32

_STATE_BUDGET = 1 << 26
"""Most numbers of final states that are held at once: 256 MiB in float32."""

_LEAST_VARIANCE = 1e-10
"""Of a response, in squared nats: below, it is the rounding of float32 that varies."""

_Array = npt.NDArray[np.float32]
_Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contrast:
    """One turn behind the system prompts for a trait and behind those against it; the response is the same in all."""

    positive: tuple[TokenizedTurn, ...]
    negative: tuple[TokenizedTurn, ...]


@dataclass(frozen=True, slots=True)
class PromptedTurn:
    """A turn in all its contexts.

    Attributes:
        group: turns of a group, such as a sample, share what they begin with; they stand one after another.
        own: the turn as the record has it.
        contrasts: for every trait; None where it cannot be had.
    """

    group: int
    own: TokenizedTurn
    contrasts: tuple[Contrast | None, ...]

    @property
    def targets(self) -> npt.NDArray[np.int32]:
        """Response tokens, and the one that ends the turn where there is one; a very first token is not predicted."""
        response = self.own.ids[max(self.own.start, 1) :]
        return response if self.own.end_id is None else np.append(response, np.int32(self.own.end_id))

    def find_places(self, context: TokenizedTurn) -> slice:
        """Return the tokens of a context whose states predict the targets."""
        first = context.start - 1 + (self.own.start == 0)
        return slice(first, first + len(self.targets))


@dataclass(frozen=True, slots=True, eq=False)
class PromptedRatios:
    """What was measured of turns (n) and traits (k); NaN where it is not known.

    Attributes:
        ratio_nk: mean log-likelihood under the positive prompts minus under the negative, nats per token.
        z_nk: the sum of what u has at the response's tokens beyond its expectation, over its standard deviation.
        gain_nk: mean log-likelihood under the positive prompts minus under none, nats per token.
    """

    ratio_nk: _Array
    z_nk: _Array
    gain_nk: _Array


def measure_ratios(model: LoadedModel, turns: Sequence[PromptedTurn], *, batch_tokens: int) -> PromptedRatios:
    """Measure turns in batches of at most `batch_tokens` tokens; all have the same number of traits.

    What is not finite in the model's own type is measured again in float32. Variances of nothing leave z unknown.

    Raises:
        ModelError: the model is loaded in part or has no output head, or a context does not fit into the device's
            memory.
    """
    shape = (len(turns), len(turns[0].contrasts) if turns else 0)
    found = PromptedRatios(*(np.full(shape, np.nan, dtype=np.float32) for _ in range(3)))
    for start, stop in _split(turns, model.d_hidden):
        states = _read_states(model, turns[start:stop], batch_tokens)
        with torch.inference_mode(), opened_tail(model) as tail:
            for row, turn, own in zip(range(start, stop), turns[start:stop], states, strict=True):
                numbers = _measure_turn(model, tail, turn, own)
                with np.errstate(invalid="ignore", over="ignore"):
                    found.ratio_nk[row] = numbers.rise.mean(axis=1)
                    found.gain_nk[row] = numbers.gain.mean(axis=1)
                    found.z_nk[row] = _standardise(numbers)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _TurnStates:
    """Final states [p, d] at the places that predict a turn's targets, in each context."""

    own: Tensor
    contrasts: tuple[tuple[list[Tensor], list[Tensor]] | None, ...]

    @property
    def tensors(self) -> Iterator[Tensor]:
        yield self.own
        for contrast in self.contrasts:
            for side in contrast or ():
                yield from side


@dataclass(frozen=True, slots=True, eq=False)
class _TargetNumbers:
    """By trait and target, float64 [k, p]: u and the gain at the target, and u's null mean and variance."""

    rise: _Float64s
    gain: _Float64s
    mean: _Float64s
    variance: _Float64s


def _split(turns: Sequence[PromptedTurn], d_hidden: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of turns whose states may be held together; a group stays whole, so that its layout does."""
    start, n_numbers = 0, 0
    for stop, turn in enumerate(turns):
        n_contexts = 1 + sum(len(own.positive) + len(own.negative) for own in turn.contrasts if own is not None)
        n_more = n_contexts * len(turn.targets) * d_hidden
        is_new_group = stop > start and turn.group != turns[stop - 1].group
        if is_new_group and n_numbers + n_more > _STATE_BUDGET:
            yield start, stop
            start, n_numbers = stop, 0
        n_numbers += n_more
    if turns:
        yield start, len(turns)


def _read_states(model: LoadedModel, turns: Sequence[PromptedTurn], batch_tokens: int) -> list[_TurnStates]:
    contexts: list[TokenizedTurn] = []
    places: list[slice] = []
    groups: list[int] = []
    group_of: dict[tuple[int, int], int] = {}

    def add(turn: PromptedTurn, context: TokenizedTurn, prompt: int) -> int:
        contexts.append(context)
        places.append(turn.find_places(context))
        # Turns of a conversation behind the same system prompt begin alike; other contexts have nothing to share.
        groups.append(group_of.setdefault((turn.group, prompt), len(group_of)))
        return len(contexts) - 1

    layouts = []
    for turn in turns:
        own, prompt = add(turn, turn.own, 0), 0
        sides: list[tuple[list[int], list[int]] | None] = []
        for contrast in turn.contrasts:
            if contrast is None:
                sides.append(None)
                continue
            rows: list[list[int]] = []
            for side in (contrast.positive, contrast.negative):
                rows.append([add(turn, context, prompt + place) for place, context in enumerate(side, start=1)])
                prompt += len(side)
            sides.append((rows[0], rows[1]))
        layouts.append((own, sides))
    reader = _FinalReader(model, contexts, places)
    run_turns(model, reader, batch_tokens=batch_tokens, groups=groups)
    read = reader.states
    return [
        _TurnStates(
            read[own],
            tuple(side and ([read[row] for row in side[0]], [read[row] for row in side[1]]) for side in sides),
        )
        for own, sides in layouts
    ]


class _FinalReader:
    """Keeps what comes out of the final norm at chosen tokens of every context."""

    def __init__(self, model: LoadedModel, tokenized: Sequence[TokenizedTurn], places: Sequence[slice]) -> None:
        self.tokenized = tokenized
        self.states: dict[int, Tensor] = {}
        self._model = model
        self._places = places

    def is_finite(self, positions: Sequence[int]) -> bool:
        """Tell whether all that was read of these turns is finite."""
        return all(bool(torch.isfinite(self.states[position]).all()) for position in positions)

    @contextlib.contextmanager
    def reading(self, places: Places) -> Iterator[None]:
        """Read every row of a batch; the output head is not run."""

        def read_last(_: object, __: object, output: Any) -> None:
            states_td = block_states(output[0]).flatten(0, 1)
            for position, places_t in places.items():
                wanted = torch.from_numpy(places_t[self._places[position]])
                self.states[position] = states_td[wanted.to(states_td.device)]
            raise LastBlockDone

        hook = self._model.module.get_decoder().register_forward_hook(read_last)
        try:
            with contextlib.suppress(LastBlockDone):
                yield
        finally:
            hook.remove()


def _measure_turn(model: LoadedModel, tail: Tail, turn: PromptedTurn, states: _TurnStates) -> _TargetNumbers:
    can_be_wide = can_widen(model.module, is_quantised=model.is_quantised)
    is_wide = can_be_wide and any(own.dtype is torch.float32 for own in states.tensors)
    found = _empty_numbers(turn)
    if not is_wide:
        _fill_numbers(model, tail, turn, states, found)
    known_k = [contrast is not None for contrast in turn.contrasts]
    if can_be_wide and not np.isfinite(found.variance[known_k]).all():
        # A model that cannot run so keeps numbers that are not finite, which are left out.
        with in_float32(model.module, model.blocks), contextlib.suppress(RuntimeError):
            wide = _empty_numbers(turn)
            _fill_numbers(model, tail, turn, _widen(states), wide)
            return wide
    return found


def _widen(states: _TurnStates) -> _TurnStates:
    def widen(side: list[Tensor]) -> list[Tensor]:
        return [own_pd.float() for own_pd in side]

    return _TurnStates(
        states.own.float(), tuple(sides and (widen(sides[0]), widen(sides[1])) for sides in states.contrasts)
    )


def _empty_numbers(turn: PromptedTurn) -> _TargetNumbers:
    shape = (len(turn.contrasts), len(turn.targets))
    return _TargetNumbers(*(np.full(shape, np.nan) for _ in range(4)))


def _fill_numbers(
    model: LoadedModel, tail: Tail, turn: PromptedTurn, states: _TurnStates, found: _TargetNumbers
) -> None:
    """Fill in the numbers of all targets, as many at a time as fit."""
    targets = torch.from_numpy(turn.targets.astype(np.int64))
    n_targets, n_once = len(targets), places_at_once(model.fingerprint.n_vocab)

    def measure_places(places: list[int]) -> None:
        chosen = torch.tensor(places, device=states.own.device)

        def log_p(own_pd: Tensor) -> Tensor:
            return tail(own_pd[chosen]).float().log_softmax(dim=-1)

        own_pv = log_p(states.own)
        wanted_p1 = targets[places].to(own_pv.device)[:, None]
        own_p1 = own_pv.gather(1, wanted_p1)
        p_pv = own_pv.exp_()
        for k, sides in enumerate(states.contrasts):
            if sides is None:
                continue
            u_pv = torch.zeros_like(p_pv)
            rise_p1 = torch.zeros_like(own_p1)
            for side, sign in zip(sides, (1, -1), strict=True):
                for context_pd in side:
                    prompted_pv = log_p(context_pd)
                    rise_p1 += prompted_pv.gather(1, wanted_p1) * (sign / len(side))
                    u_pv.add_(prompted_pv, alpha=sign / len(side))
                if sign > 0:
                    found.gain[k, places] = _to_numpy(rise_p1 - own_p1)
            # What cannot be drawn may be infinitely unlikely in any context, and counts for nothing.
            u_pv.masked_fill_(p_pv == 0, 0.0)
            mean_p1 = (p_pv * u_pv).sum(dim=-1, keepdim=True)
            found.rise[k, places] = _to_numpy(rise_p1)
            found.mean[k, places] = _to_numpy(mean_p1)
            found.variance[k, places] = _to_numpy(u_pv.sub_(mean_p1).square_().mul_(p_pv).sum(dim=-1))

    places = list(range(n_targets))
    run_batches([places[start : start + n_once] for start in range(0, n_targets, n_once)], measure_places)


def _standardise(numbers: _TargetNumbers) -> _Float64s:
    surprise_k, variance_k = (numbers.rise - numbers.mean).sum(axis=1), numbers.variance.sum(axis=1)
    z_k: _Float64s = surprise_k / np.sqrt(np.where(variance_k > _LEAST_VARIANCE, variance_k, np.nan))
    return z_k


def _to_numpy(values: Tensor) -> _Float64s:
    numbers: _Float64s = values.flatten().double().cpu().numpy()
    return numbers
