"""Read a model's residual stream along persona vectors, over the response tokens of each turn.

Layer l is the output of decoder block l, counted from 1: hidden_states[l] of transformers. Blocks above the highest
layer asked for and the output head are not run. Knows no samples, files or baselines.

Source: arXiv 2507.21509, section 6.1 (projection of the mean response activation on the unit vector).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

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

_Array = npt.NDArray[np.float32]
Units = Mapping[str, tuple[int, _Array]]
"""Trait to (layer, unit vector [d])."""


_LEAST_TOKENS = 32
"""From here on the multiplication of a row was measured not to depend on how many rows there are (oneDNN)."""


@dataclass(frozen=True, slots=True, eq=False)
class Projections:
    """What was read, in the order of the turns (n) and of the units (k).

    Attributes:
        projection_nk: mean over the response tokens.
        prompt_projection_nk: at the last token before the response; NaN for a response without one before it.
        mean_nd: mean hidden state over the response tokens at one layer, if asked for.
        is_widened_n: the turn was read again in float32, since its states overflow in the model's own type.
    """

    projection_nk: _Array
    prompt_projection_nk: _Array
    mean_nd: _Array | None
    is_widened_n: npt.NDArray[np.bool_]


def project_turns(
    model: LoadedModel,
    tokenized: Sequence[TokenizedTurn],
    *,
    units: Units,
    batch_tokens: int,
    keep_mean_layer: int | None = None,
    groups: Sequence[int] | None = None,
) -> Projections:
    """Project turns on unit vectors, each at its own layer, in batches of at most `batch_tokens` tokens.

    Where the model allows, turns are packed without padding, and what the turns of a group share is run once; then
    the numbers do not depend on a turn's neighbours. Otherwise batches are sorted by length and padded. States are
    taken to float32 before anything is summed. A batch that does not fit into the device's memory is halved. A group
    with states that are not finite in the model's type is run again in float32; what is not finite then stays so.

    Args:
        groups: the group of every turn, such as its sample; None: every turn is a group of its own.

    Raises:
        ModelError: a single turn does not fit into the device's memory.
    """
    reader = _Reader(model, tokenized, units, keep_mean_layer)
    if not reader.layers:
        return reader.projections
    members = _collect_groups(groups or range(len(tokenized)))
    run_groups = _run_packed if model.is_packable else _run_padded
    run_groups(model, reader, members, batch_tokens)
    overflowing = [group for group in members if not reader.is_finite(group)]
    if overflowing and can_widen(model.module, is_quantised=model.is_quantised):
        # A model that cannot run so keeps what it had: states that are not finite, which no score is made of.
        with in_float32(model.module, model.blocks), contextlib.suppress(RuntimeError):
            # In float32 the tiles of flex attention may be too large for a GPU, and few groups come here.
            calm = replace(model, attention="packed") if model.is_packable else model
            run_groups(calm, reader, overflowing, batch_tokens)
        reader.projections.is_widened_n[[position for group in overflowing for position in group]] = True
    return reader.projections


def _run_packed(model: LoadedModel, reader: _Reader, members: Sequence[Sequence[int]], batch_tokens: int) -> None:
    sequences = [turn.ids for turn in reader.tokenized]
    groups = [Group(tuple(group), tuple(group)) for group in members]
    packs = _fill_packs([count_tokens(sequences, group) for group in groups], batch_tokens)

    is_flex = model.attention == "packed-flex"

    def project_pack(batch: list[Group]) -> None:
        pack = pack_groups(sequences, batch, n_least=_LEAST_TOKENS, multiple=BLOCK if is_flex else 1)
        with torch.inference_mode(), reader.reading(pack.places):
            run_pack(model.module, pack, model.device, is_flex=is_flex)

    with packed_attention(model.module), exact_matmul(model.device):
        run_batches([[groups[place] for place in pack] for pack in packs], project_pack, split=Group.split)


def _run_padded(model: LoadedModel, reader: _Reader, members: Sequence[Sequence[int]], batch_tokens: int) -> None:
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


class _Reader:
    """Reads layers while a batch runs, and fills in what was asked for."""

    def __init__(
        self, model: LoadedModel, tokenized: Sequence[TokenizedTurn], units: Units, keep_mean_layer: int | None
    ) -> None:
        self._model = model
        self.tokenized = tokenized
        self._mean_layer = keep_mean_layer
        traits = list(units)
        kept = {keep_mean_layer} if keep_mean_layer else set()
        self.layers = sorted({layer for layer, _ in units.values()} | kept)
        # Per layer: which columns it fills, and their unit vectors as one matrix.
        self._columns = {
            layer: [k for k, trait in enumerate(traits) if units[trait][0] == layer] for layer in self.layers
        }
        self._units_dk = {
            layer: torch.from_numpy(np.stack([units[traits[k]][1] for k in columns], axis=1).astype(np.float32))
            for layer, columns in self._columns.items()
            if columns
        }
        projection_nk = np.full((len(tokenized), len(traits)), np.nan, dtype=np.float32)
        mean_nd = np.zeros((len(tokenized), model.d_hidden), np.float32) if keep_mean_layer else None
        is_widened_n = np.zeros(len(tokenized), dtype=bool)
        self.projections = Projections(projection_nk, projection_nk.copy(), mean_nd, is_widened_n)

    def is_finite(self, positions: Sequence[int]) -> bool:
        """Tell whether all that was read of these turns is finite."""
        found, rows = self.projections, list(positions)
        with_prompt = [position for position in rows if self.tokenized[position].start]
        read = [found.projection_nk[rows], found.prompt_projection_nk[with_prompt]]
        read += [] if found.mean_nd is None else [found.mean_nd[rows]]
        return all(bool(np.isfinite(values).all()) for values in read)

    @contextlib.contextmanager
    def reading(self, places: Mapping[int, npt.NDArray[np.int64]]) -> Iterator[None]:
        """Read the layers of a batch; `places` says where the tokens of each turn lie among all of the batch."""
        with (
            _hooked_blocks(self._model, self.layers, lambda layer, states: self._read(layer, states, places)),
            contextlib.suppress(LastBlockDone),
        ):
            yield

    def _read(self, layer: int, states_ntd: Tensor, places: Mapping[int, npt.NDArray[np.int64]]) -> None:
        states_td = states_ntd.flatten(0, 1)
        # On a CPU one turn at a time: what is multiplied together must not depend on the turn's neighbours. A GPU
        # promises no bits, and waits for every copy that is asked of it.
        if states_td.device.type != "cpu":
            self._read_turns(layer, states_td, places)
            return
        for position, places_t in places.items():
            self._read_turns(layer, states_td, {position: places_t})

    def _read_turns(self, layer: int, states_td: Tensor, places: Mapping[int, npt.NDArray[np.int64]]) -> None:
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
        own_td = states_td[torch.from_numpy(np.concatenate(wanted)).to(states_td.device)].float()
        if columns:
            dots_tk = (own_td @ self._units_dk[layer].to(own_td.device)).cpu().numpy()
            for position, (begin, start, end) in spans.items():
                with np.errstate(invalid="ignore"):
                    found.projection_nk[position, columns] = dots_tk[start:end].mean(axis=0, dtype=np.float64)
                if start > begin:
                    found.prompt_projection_nk[position, columns] = dots_tk[begin]
        if found.mean_nd is not None and layer == self._mean_layer:
            means = [own_td[start:end].mean(dim=0) for _, start, end in spans.values()]
            found.mean_nd[list(spans)] = torch.stack(means).cpu().numpy()


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
                raise LastBlockDone

        return hook

    with contextlib.ExitStack() as hooks:
        for layer in layers:
            hooks.callback(blocks[layer - 1].register_forward_hook(make_hook(layer)).remove)
        yield
