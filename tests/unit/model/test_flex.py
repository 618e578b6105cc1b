"""The kernel for whole packs sees exactly what the loop over segments sees; here without a GPU, hence uncompiled."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.model import packed
from audit.model.flex import BLOCK, FlexLayout, find_ends, find_tiles, wants_flex
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel
from audit.model.packed import choose_attention
from audit.model.packing import Group, Pack, pack_groups
from tests import models
from tests.unit.model.test_project_turns import load, make_conversations, make_units

# The kernel is compiled on a GPU alone; elsewhere torch says that it is slow.
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile", "ignore::FutureWarning")

CPU = torch.device("cpu")
sequences = st.lists(st.integers(0, 2), min_size=1, max_size=8)
groups = st.lists(st.lists(sequences, min_size=1, max_size=4), min_size=1, max_size=4)


def lay_out(drawn: list[list[list[int]]], multiple: int = 1) -> Pack:
    ids = [np.asarray(sequence, dtype=np.int32) for group in drawn for sequence in group]
    ends = np.cumsum([len(group) for group in drawn])
    members = [tuple(range(end - len(group), end)) for group, end in zip(drawn, ends, strict=True)]
    return pack_groups(ids, [Group(member, member) for member in members], multiple=multiple)


def visible(pack: Pack) -> np.ndarray:
    """What each token [q] may see [k], from the segments themselves."""
    seen = np.zeros((len(pack.ids), len(pack.ids)), dtype=bool)
    for segment in pack.segments:
        for token in range(segment.start, segment.stop):
            for start, stop in (*segment.above, (segment.start, token + 1)):
                seen[token, start:stop] = True
    return seen


@given(drawn=groups, multiple=st.sampled_from([1, 8]))
def test_a_token_sees_what_stands_before_it_and_goes_on_to_it(drawn: Any, multiple: int) -> None:
    pack = lay_out(drawn, multiple)
    assert len(pack.ids) % multiple == 0
    q, k = np.indices((len(pack.ids), len(pack.ids)))
    assert np.array_equal((k <= q) & (q < find_ends(pack)[k]), visible(pack))


@given(drawn=groups, size=st.sampled_from([1, 2, 3, 8]))
def test_a_tile_is_run_exactly_if_something_in_it_is_seen(drawn: Any, size: int) -> None:
    pack = lay_out(drawn)
    has_any, has_all = find_tiles(find_ends(pack), size)
    seen = visible(pack)
    for row in range(len(has_any)):
        for column in range(len(has_any)):
            tile = seen[row * size : (row + 1) * size, column * size : (column + 1) * size]
            assert has_any[row, column] == tile.any()
            # A tile on the diagonal is left to the mask, also where it is one token.
            assert has_all[row, column] == (bool(tile.all()) and row != column)


def test_the_mask_lists_every_tile_once_and_windows_are_left_to_the_mask() -> None:
    rng = np.random.default_rng(0)
    drawn = [[rng.integers(0, 9, n).tolist() for n in (300, 200)], [rng.integers(0, 9, 700).tolist()]]
    pack = lay_out(drawn, BLOCK)
    layout = FlexLayout.of(pack, CPU)
    for window in (None, 16):
        mask = layout.mask(window)
        assert mask is layout.mask(window)
        n_tiles = int(mask.kv_num_blocks.sum() + mask.full_kv_num_blocks.sum())
        assert n_tiles == layout.has_any.sum()
        assert (int(mask.full_kv_num_blocks.sum()) > 0) == (window is None)
        dense = torch.vmap(torch.vmap(mask.mask_mod, (None, None, None, 0)), (None, None, 0, None))
        places = torch.arange(len(pack.ids))
        near = visible(pack) & (pack.positions[:, None] - pack.positions[None, :] < (window or 10**9))
        assert np.array_equal(dense(torch.tensor(0), torch.tensor(0), places, places).numpy(), near)


def as_flex(model: LoadedModel) -> LoadedModel:
    return dataclasses.replace(model, attention="packed-flex")


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3", "gpt2"])
def test_one_kernel_gives_what_the_loop_over_segments_gives(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    turns, members = make_conversations()
    n_calls = 0
    attend = packed.attend_flex

    def count(*arguments: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        return attend(*arguments, **options)

    monkeypatch.setattr(packed, "attend_flex", count)
    options: dict[str, Any] = {"units": make_units(3), "batch_tokens": 600, "groups": members, "keep_mean_layer": 2}
    options["windowed"] = ("trait_0",)
    found = project_turns(as_flex(load(family)), turns, **options)
    assert n_calls > 0
    wanted = project_turns(load(family), turns, **options)
    assert found.mean_nd is not None
    assert wanted.mean_nd is not None
    assert np.allclose(found.projection_nk, wanted.projection_nk, atol=3e-5)
    assert np.allclose(found.prompt_projection_nk, wanted.prompt_projection_nk, atol=3e-5)
    assert np.allclose(found.mean_nd, wanted.mean_nd, atol=3e-5)
    assert np.allclose(found.window_nw, wanted.window_nw, atol=3e-5)


def test_a_kernel_that_cannot_be_built_leaves_the_loop_over_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    class CompilationError(Exception):
        """Compilers have errors of their own."""

    def fail(*_: object, **__: object) -> None:
        raise CompilationError("no such instruction")

    monkeypatch.setattr(packed, "attend_flex", fail)
    monkeypatch.setattr(packed._current, "has_flex_failed", False)
    turns, members = make_conversations()
    options: dict[str, Any] = {"units": make_units(3), "batch_tokens": 600, "groups": members}
    found = project_turns(as_flex(load()), turns, **options)
    assert np.allclose(found.projection_nk, project_turns(load(), turns, **options).projection_nk, atol=3e-5)

    monkeypatch.setattr(packed, "wants_flex", lambda *_: True)
    assert choose_attention(load().module, load().blocks, CPU, 4096) == "packed"


def test_flex_attention_is_tried_for_large_models_on_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wants_flex(torch.device("cuda", 1), 3584)
    assert not wants_flex(torch.device("cuda"), 128)
    assert not wants_flex(CPU, 3584)
    module, blocks = load().module, load().blocks
    assert choose_attention(module, blocks, CPU, 4096) == "packed"
    monkeypatch.setattr(packed, "wants_flex", lambda *_: True)
    assert choose_attention(module, blocks, CPU, 4096) == "packed-flex"
    monkeypatch.setattr(packed, "is_packable", lambda *_, **__: False)
    assert choose_attention(module, blocks, CPU, models.D_HIDDEN) == "padded"


def test_turns_read_together_as_on_a_gpu_give_what_they_give_alone() -> None:
    from audit.model.hidden import _Reader

    turns, _ = make_conversations()
    units = make_units(3, 2)
    states_td = torch.randn(sum(len(turn.ids) for turn in turns), models.D_HIDDEN)
    starts = np.cumsum([0, *(len(turn.ids) for turn in turns)])
    places = {n: np.arange(starts[n], starts[n + 1]) for n in range(len(turns))}
    together, alone = (_Reader(load(), turns, units, 3, ("trait_0",), None) for _ in range(2))
    together._read_turns(3, states_td, places)
    for position in places:
        alone._read_turns(3, states_td, {position: places[position]})
    for name in ("projection_nk", "prompt_projection_nk", "mean_nd", "window_nw"):
        own, other = getattr(together.projections, name), getattr(alone.projections, name)
        assert np.allclose(own, other, atol=1e-6, equal_nan=True)
        assert np.isfinite(own).any()
