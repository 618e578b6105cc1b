"""Read a model's residual stream along persona vectors, over the response tokens of each turn.

Layer l is the output of decoder block l, counted from 1: hidden_states[l] of transformers. Blocks above the highest
layer asked for and the output head are not run. Knows no samples, files or baselines.

Source: arXiv 2507.21509, section 6.1 (projection of the mean response activation on the unit vector).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit.model.blocks import LastBlockDone
from audit.model.evidence import EvidenceMeter
from audit.model.load import LoadedModel
from audit.model.passes import Places, hooked_blocks, run_turns
from audit.model.turns import TokenizedTurn
from audit.schema import WINDOW_TOKENS

_Array = npt.NDArray[np.float32]
Units = Mapping[str, tuple[int, _Array]]
"""Trait to (layer, unit vector [d])."""


@dataclass(frozen=True, slots=True, eq=False)
class Projections:
    """What was read, in the order of the turns (n) and of the units (k).

    Attributes:
        projection_nk: mean over the response tokens.
        prompt_projection_nk: at the last token before the response; NaN for a response without one before it.
        mean_nd: mean hidden state over the response tokens at one layer, if asked for.
        window_nw: largest mean over consecutive response tokens, as many as a window has, of the units w that it was
            asked for; of a response that is shorter than a window, the mean.
        is_widened_n: the turn was read again in float32, since its states overflow in the model's own type.
    """

    projection_nk: _Array
    prompt_projection_nk: _Array
    mean_nd: _Array | None
    window_nw: _Array
    is_widened_n: npt.NDArray[np.bool_]


def project_turns(
    model: LoadedModel,
    tokenized: Sequence[TokenizedTurn],
    *,
    units: Units,
    batch_tokens: int,
    keep_mean_layer: int | None = None,
    windowed: Collection[str] = (),
    groups: Sequence[int] | None = None,
    meter: EvidenceMeter | None = None,
) -> Projections:
    """Project turns on unit vectors, each at its own layer, in batches of at most `batch_tokens` tokens.

    States are taken to float32 before anything is summed; see `passes.run_turns` for how the turns are run.

    Args:
        windowed: the units whose window maxima are read, in this order.
        groups: the group of every turn, such as its sample; None: every turn is a group of its own.
        meter: measures evidence on top of the states that pass its layer.

    Raises:
        ModelError: a single turn does not fit into the device's memory.
    """
    reader = _Reader(model, tokenized, units, keep_mean_layer, windowed, meter)
    if reader.layers:
        widened = run_turns(model, reader, batch_tokens=batch_tokens, groups=groups)
        reader.projections.is_widened_n[widened] = True
    return reader.projections


class _Reader:
    """Reads layers while a batch runs, and fills in what was asked for."""

    def __init__(
        self,
        model: LoadedModel,
        tokenized: Sequence[TokenizedTurn],
        units: Units,
        keep_mean_layer: int | None,
        windowed: Collection[str],
        meter: EvidenceMeter | None,
    ) -> None:
        self._model, self._meter = model, meter
        self._states_td: Tensor | None = None
        self.tokenized = tokenized
        self._mean_layer = keep_mean_layer
        traits = list(units)
        kept = {keep_mean_layer} if keep_mean_layer else set()
        metered = {meter.layer} if meter is not None else set()
        self.layers = sorted({layer for layer, _ in units.values()} | kept | metered)
        # Per layer: which columns it fills, and their unit vectors as one matrix.
        self._columns = {
            layer: [k for k, trait in enumerate(traits) if units[trait][0] == layer] for layer in self.layers
        }
        self._units_dk = {
            layer: torch.from_numpy(np.stack([units[traits[k]][1] for k in columns], axis=1).astype(np.float32))
            for layer, columns in self._columns.items()
            if columns
        }
        # Of these columns: which are windowed, and what they fill in.
        window_of = {trait: w for w, trait in enumerate(windowed)}
        self._windows = {
            layer: [(place, window_of[traits[k]]) for place, k in enumerate(columns) if traits[k] in window_of]
            for layer, columns in self._columns.items()
        }
        projection_nk = np.full((len(tokenized), len(traits)), np.nan, dtype=np.float32)
        mean_nd = np.zeros((len(tokenized), model.d_hidden), np.float32) if keep_mean_layer else None
        window_nw = np.full((len(tokenized), len(window_of)), np.nan, dtype=np.float32)
        is_widened_n = np.zeros(len(tokenized), dtype=bool)
        self.projections = Projections(projection_nk, projection_nk.copy(), mean_nd, window_nw, is_widened_n)

    def is_finite(self, positions: Sequence[int]) -> bool:
        """Tell whether all that was read of these turns is finite."""
        found, rows = self.projections, list(positions)
        with_prompt = [position for position in rows if self.tokenized[position].start]
        read = [found.projection_nk[rows], found.prompt_projection_nk[with_prompt]]
        read += [] if found.mean_nd is None else [found.mean_nd[rows]]
        if not all(bool(np.isfinite(values).all()) for values in read):
            return False
        return self._meter is None or self._meter.is_finite(rows)

    @contextlib.contextmanager
    def reading(self, places: Places) -> Iterator[None]:
        """Read the layers of a batch; `places` says where the tokens of each turn lie among all of the batch."""
        with (
            hooked_blocks(self._model, self.layers, lambda layer, states: self._read(layer, states, places)),
            contextlib.suppress(LastBlockDone),
        ):
            yield
        self._measure(places)

    def _measure(self, places: Places) -> None:
        """Hand the turns of the batch that ran to the meter."""
        states_td, self._states_td = self._states_td, None
        if self._meter is None or states_td is None:
            return
        # What derivatives are taken of must not come out of inference mode.
        with torch.inference_mode(False), torch.no_grad():
            states = {
                position: states_td[torch.from_numpy(places_t).to(states_td.device)].clone()
                for position, places_t in places.items()
                if self._meter.wants(position)
            }
            if states:
                self._meter.measure(states)

    def _read(self, layer: int, states_ntd: Tensor, places: Places) -> None:
        states_td = states_ntd.flatten(0, 1)
        if self._meter is not None and layer == self._meter.layer:
            self._states_td = states_td
        # On a CPU one turn at a time: what is multiplied together must not depend on the turn's neighbours. A GPU
        # promises no bits, and waits for every copy that is asked of it.
        if states_td.device.type != "cpu":
            self._read_turns(layer, states_td, places)
            return
        for position, places_t in places.items():
            self._read_turns(layer, states_td, {position: places_t})

    def _read_turns(self, layer: int, states_td: Tensor, places: Places) -> None:
        found, columns = self.projections, self._columns[layer]
        wanted: list[npt.NDArray[np.int64]] = []
        spans: dict[int, tuple[int, int, int]] = {}
        n_tokens = 0
        for position, places_t in places.items():
            turn = self.tokenized[position]
            # The last token of the prompt comes before the response.
            first = max(turn.start - 1, 0)
            wanted.append(places_t[first : turn.stop])
            spans[position] = (n_tokens, n_tokens + turn.start - first, n_tokens + turn.stop - first)
            n_tokens += turn.stop - first
        # A third of what indexing with brackets takes: beside a small model, that is felt.
        own_td = states_td.index_select(0, torch.from_numpy(np.concatenate(wanted)).to(states_td.device)).float()
        if columns:
            dots_tk = (own_td @ self._units_dk[layer].to(own_td.device)).cpu().numpy()
            windowed, windows = ([pair[side] for pair in self._windows[layer]] for side in (0, 1))
            for position, (begin, start, end) in spans.items():
                with np.errstate(invalid="ignore"):
                    found.projection_nk[position, columns] = dots_tk[start:end].mean(axis=0, dtype=np.float64)
                    if windows:
                        found.window_nw[position, windows] = _find_window_maxima(dots_tk[start:end, windowed])
                if start > begin:
                    found.prompt_projection_nk[position, columns] = dots_tk[begin]
        if found.mean_nd is not None and layer == self._mean_layer:
            means = [own_td[start:end].mean(dim=0) for _, start, end in spans.values()]
            found.mean_nd[list(spans)] = torch.stack(means).cpu().numpy()


def _find_window_maxima(dots_tw: _Array) -> npt.NDArray[np.float64]:
    """Return the largest mean over a window's tokens in a row [w]; of fewer tokens, the mean over all.

    Sums run in float64, so that those of a long response lose nothing that float32 holds.
    """
    if len(dots_tw) <= WINDOW_TOKENS:
        return np.asarray(dots_tw.mean(axis=0, dtype=np.float64))
    sums_tw = np.cumsum(dots_tw, axis=0, dtype=np.float64)
    within_tw = sums_tw[WINDOW_TOKENS:] - sums_tw[:-WINDOW_TOKENS]
    return np.asarray(np.maximum(sums_tw[WINDOW_TOKENS - 1], within_tw.max(axis=0)) / WINDOW_TOKENS)
