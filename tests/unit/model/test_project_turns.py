from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from audit.errors import ModelError
from audit.model.blocks import block_states
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel, load_model
from audit.model.turns import TokenizedTurn
from tests import models

TOP = 3


@functools.cache
def load(family: str = "llama", dtype: str = "auto") -> LoadedModel:
    return load_model(model=str(models.model_path(family)), dtype=dtype)


def padded(model: LoadedModel) -> LoadedModel:
    """The model as one whose attention does not go through transformers' interface is run."""
    return dataclasses.replace(model, attention="padded")


def make_turn(length: int, start: int, seed: int = 0) -> TokenizedTurn:
    ids = np.random.default_rng(seed).integers(5, 300, size=length).astype(np.int32)
    return TokenizedTurn(ids, start, length, start, truncated=False)


TURNS = [make_turn(length, length // 2, length) for length in (9, 40, 3, 17, 40, 25)]


def make_units(*layers: int) -> dict[str, tuple[int, np.ndarray]]:
    rng = np.random.default_rng(1)
    units = rng.normal(size=(len(layers), models.D_HIDDEN)).astype(np.float32)
    return {
        f"trait_{k}": (layer, unit / np.linalg.norm(unit))
        for k, (layer, unit) in enumerate(zip(layers, units, strict=True))
    }


def n_hooks(model: LoadedModel) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.module.modules())


@pytest.mark.parametrize("way", [load, lambda family: padded(load(family))])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "phi", "gemma2", "gemma3", "mistral", "qwen3"])
def test_projections_equal_hidden_states_times_units(family: str, way: Callable[[str], LoadedModel]) -> None:
    model = way(family)
    units = make_units(TOP, 1, TOP, 2)
    windowed = ("trait_3", "trait_0", "trait_1")
    found = project_turns(model, TURNS, units=units, batch_tokens=64, keep_mean_layer=2, windowed=windowed)
    assert found.window_nw.shape == (len(TURNS), 3)
    for n, turn in enumerate(TURNS):
        with torch.no_grad():
            output = model.module(torch.from_numpy(turn.ids[None].astype(np.int64)), output_hidden_states=True)
        for k, (layer, unit_d) in enumerate(units.values()):
            dots_t = output.hidden_states[layer][0].numpy() @ unit_d
            assert found.projection_nk[n, k] == pytest.approx(dots_t[turn.start :].mean(), abs=2e-5)
            assert found.prompt_projection_nk[n, k] == pytest.approx(dots_t[turn.start - 1], abs=2e-5)
            if f"trait_{k}" in windowed:
                starts = range(turn.start, max(turn.start, len(turn.ids) - 16) + 1)
                largest = max(dots_t[start : start + 16].mean() for start in starts)
                assert found.window_nw[n, windowed.index(f"trait_{k}")] == pytest.approx(largest, abs=2e-5)
        assert found.mean_nd is not None
        mean_d = output.hidden_states[2][0, turn.start :].mean(dim=0).numpy()
        assert np.allclose(found.mean_nd[n], mean_d, atol=2e-5)


def test_the_batch_budget_changes_nothing_but_rounding() -> None:
    small = project_turns(load(), TURNS, units=make_units(TOP), batch_tokens=1)
    large = project_turns(load(), TURNS, units=make_units(TOP), batch_tokens=10_000)
    assert np.allclose(small.projection_nk, large.projection_nk, atol=2e-5)
    assert small.mean_nd is None
    assert small.projection_nk.dtype == small.prompt_projection_nk.dtype == np.float32


def test_a_response_at_the_very_start_has_no_prompt_projection() -> None:
    found = project_turns(load(), [make_turn(6, 0), make_turn(6, 2)], units=make_units(2), batch_tokens=64)
    assert np.isnan(found.prompt_projection_nk[:, 0]).tolist() == [True, False]
    assert np.isfinite(found.projection_nk).all()


@pytest.mark.parametrize(("length", "n_windows"), [(1, 1), (15, 1), (16, 1), (17, 2), (60, 45)])
def test_a_window_has_sixteen_tokens_or_the_whole_response(length: int, n_windows: int) -> None:
    turn = make_turn(length + 3, 3)
    (unit_d,) = (unit_d for _, unit_d in make_units(TOP).values())
    # Of two windows, each is the largest along one of these.
    units = {"trait": (TOP, unit_d), "opposite": (TOP, -unit_d)}
    found = project_turns(load(), [turn], units=units, batch_tokens=64, windowed=units)
    # Every window by itself, as a response of its own within the same conversation.
    windows = [
        dataclasses.replace(turn, ids=turn.ids[: start + 16], start=start, stop=min(start + 16, turn.stop))
        for start in range(turn.start, turn.start + n_windows)
    ]
    means_wk = project_turns(load(), windows, units=units, batch_tokens=64).projection_nk
    assert found.window_nw[0] == pytest.approx(means_wk.max(axis=0), abs=2e-5)
    assert (found.window_nw[0] == found.projection_nk[0]).all() == (length <= 16)


def test_windows_of_a_long_response_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over tens of thousands of tokens far from zero leave a window as exact as its tokens are."""
    draw = np.random.default_rng(3)
    states_td = (draw.normal(size=(50_000, models.D_HIDDEN)) + 300).astype(np.float32)
    states_td[31_000:31_016] += np.float32(0.5)
    turn = TokenizedTurn(np.zeros(50_000, dtype=np.int32), 1, 50_000, 1, truncated=False)
    (layer, unit_d) = make_units(TOP)["trait_0"]
    unit_d = np.abs(unit_d)

    def feed(model: Any, reader: Any, **_: Any) -> list[int]:
        reader._read(layer, torch.from_numpy(states_td)[None], {0: np.arange(50_000)})
        return []

    monkeypatch.setattr("audit.model.hidden.run_turns", feed)
    found = project_turns(load(), [turn], units={"a": (layer, unit_d)}, batch_tokens=1, windowed=("a",))
    dots_t = (states_td @ unit_d)[1:].astype(np.float64)
    wanted = max(dots_t[start : start + 16].mean() for start in range(len(dots_t) - 15))
    assert abs(found.window_nw[0, 0] - wanted) <= 4 * np.spacing(np.float32(wanted))


def test_nothing_to_project_gives_empty_arrays() -> None:
    found = project_turns(load(), [], units=make_units(2, 3), batch_tokens=64, keep_mean_layer=2)
    assert found.projection_nk.shape == (0, 2)
    assert found.mean_nd is not None
    assert found.mean_nd.shape == (0, models.D_HIDDEN)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_blocks_above_the_highest_layer_and_the_head_are_not_run(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(family)
    runs: dict[str, int] = {}

    def count(name: str, module: torch.nn.Module) -> None:
        forward = module.forward

        def counted(*arguments: Any, **keywords: Any) -> Any:
            runs[name] = runs.get(name, 0) + 1
            return forward(*arguments, **keywords)

        monkeypatch.setattr(module, "forward", counted)

    for place, block in enumerate(model.blocks, start=1):
        count(f"block {place}", block)
    count("head", model.module.get_output_embeddings())
    project_turns(model, TURNS, units=make_units(1, TOP), batch_tokens=10_000)
    assert runs == {f"block {place}": 1 for place in range(1, TOP + 1)}


def test_hooks_are_gone_and_attention_is_back_also_when_reading_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load()
    before = n_hooks(model)
    project_turns(model, TURNS, units=make_units(TOP), batch_tokens=64)
    assert n_hooks(model) == before

    attention = model.module.config._attn_implementation

    def fail(output: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("audit.model.passes.block_states", fail)
    for each in (model, padded(model)):
        with pytest.raises(RuntimeError, match="no"):
            project_turns(each, TURNS, units=make_units(1, 2), batch_tokens=64)
        assert n_hooks(model) == before
        assert model.module.config._attn_implementation == attention
    with torch.no_grad():
        assert model.module(torch.ones((1, 4), dtype=torch.long)).logits.shape[:2] == (1, 4)


def n_bytes(keywords: dict[str, Any]) -> int:
    return int(keywords["input_ids"].numel())


@pytest.mark.parametrize("way", [load, lambda: padded(load())])
def test_running_out_of_memory_halves_the_batch(
    monkeypatch: pytest.MonkeyPatch, way: Callable[[], LoadedModel]
) -> None:
    model = way()
    wanted = project_turns(model, TURNS, units=make_units(TOP), batch_tokens=10_000)
    forward = model.module.forward
    sizes: list[int] = []

    def narrow(*arguments: Any, **keywords: Any) -> Any:
        sizes.append(n_bytes(keywords))
        if sizes[-1] > 80:
            raise torch.OutOfMemoryError
        return forward(*arguments, **keywords)

    monkeypatch.setattr(model.module, "forward", narrow)
    found = project_turns(model, TURNS, units=make_units(TOP), batch_tokens=10_000)
    assert max(sizes) > 80 >= sizes[-1]
    assert np.allclose(found.projection_nk, wanted.projection_nk, atol=2e-5)


def test_a_turn_that_does_not_fit_at_all_is_an_error_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def narrow(**keywords: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(load().module, "forward", narrow)
    with pytest.raises(ModelError, match="lower --max-tokens"):
        project_turns(load(), TURNS, units=make_units(TOP), batch_tokens=10_000)


def make_conversations() -> tuple[list[TokenizedTurn], list[int]]:
    """Groups of turns that share their prompts, as a response and its baseline do, and turns of one conversation."""
    rng = np.random.default_rng(5)
    turns, groups = [], []
    for group in range(9):
        prompt = rng.integers(5, 300, size=rng.integers(1, 40))
        for _ in range(2):
            response = rng.integers(5, 300, size=rng.integers(1, 60))
            ids = np.concatenate([prompt, response]).astype(np.int32)
            turns.append(TokenizedTurn(ids, len(prompt), len(ids), len(prompt), truncated=False))
            groups.append(group)
        if group % 3 == 0:
            longer = np.concatenate([turns[-1].ids, rng.integers(5, 300, size=20).astype(np.int32)])
            start = len(turns[-1].ids) + 5
            turns.append(TokenizedTurn(longer, start, len(longer), start, truncated=False))
            groups.append(group)
    return turns, groups


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral", "gpt2"])
def test_packed_scores_are_bitwise_the_same_under_other_budgets_and_neighbours(family: str, dtype: str) -> None:
    model = load(family, dtype)
    turns, groups = make_conversations()
    units = make_units(TOP, 2)

    def project(order: list[int], batch_tokens: int) -> list[np.ndarray]:
        found = project_turns(
            model,
            [turns[n] for n in order],
            units=units,
            batch_tokens=batch_tokens,
            keep_mean_layer=TOP,
            windowed=units,
            groups=[groups[n] for n in order],
        )
        back = np.argsort(order)
        assert found.mean_nd is not None
        read = (found.projection_nk, found.prompt_projection_nk, found.mean_nd, found.window_nw)
        return [values[back] for values in read]

    straight = list(range(len(turns)))
    wanted = project(straight, 256)
    # Groups trade places; a group's own turns keep their order, which is the record's.
    shuffled = [n for group in np.random.default_rng(1).permutation(9) for n in straight if groups[n] == group]
    for order, batch_tokens in ((straight, 2_048), (straight, 16_384), (shuffled, 256), (shuffled, 2_048)):
        for own, other in zip(wanted, project(order, batch_tokens), strict=True):
            assert np.array_equal(own, other)


def test_short_responses_are_bitwise_the_same_whatever_is_multiplied_beside_them() -> None:
    """In a mean over many tokens the last bits of one are lost; here every token is seen."""
    turns = [make_turn(5 + n % 3, 4, seed=n) for n in range(41)]
    units = make_units(TOP)

    def project(chosen: list[TokenizedTurn], batch_tokens: int) -> np.ndarray:
        found = project_turns(load(), chosen, units=units, batch_tokens=batch_tokens, windowed=units)
        return np.concatenate([found.projection_nk, found.prompt_projection_nk, found.window_nw], axis=1)

    wanted = project(turns, 64)
    for batch_tokens in (1, 100, 2_048):
        assert np.array_equal(project(turns, batch_tokens), wanted)
    assert np.array_equal(project(turns[7:12], 2_048), wanted[7:12])


@pytest.mark.parametrize("family", [*models.FAMILIES, *models.PLAIN_FAMILIES])
def test_every_family_of_the_tests_can_be_packed_and_gives_what_padding_gives(family: str) -> None:
    model = load(family)
    assert model.is_packable
    turns, groups = make_conversations()
    units = make_units(TOP)
    packed = project_turns(model, turns, units=units, batch_tokens=300, windowed=units, groups=groups)
    alone = project_turns(padded(model), turns, units=units, batch_tokens=300, windowed=units)
    assert np.allclose(packed.projection_nk, alone.projection_nk, atol=3e-5)
    assert np.allclose(packed.prompt_projection_nk, alone.prompt_projection_nk, atol=3e-5)
    assert np.allclose(packed.window_nw, alone.window_nw, atol=3e-5)


def test_what_the_turns_of_a_group_share_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load()
    turns, groups = make_conversations()
    forward = model.module.forward
    sizes: list[int] = []

    def count(*arguments: Any, **keywords: Any) -> Any:
        sizes.append(n_bytes(keywords))
        return forward(*arguments, **keywords)

    monkeypatch.setattr(model.module, "forward", count)
    project_turns(model, turns, units=make_units(TOP), batch_tokens=10_000, groups=groups)
    prefixes = {
        (group, tuple(turn.ids[:n]))
        for turn, group in zip(turns, groups, strict=True)
        for n in range(1, len(turn.ids) + 1)
    }
    # Filled up to a multiple of 64, so that there are few shapes to compile.
    assert sizes == [-(-len(prefixes) // 64) * 64]


def test_bfloat16_states_are_summed_in_float32() -> None:
    single = project_turns(load(), TURNS, units=make_units(TOP), batch_tokens=10_000)
    half = project_turns(load(dtype="bfloat16"), TURNS, units=make_units(TOP), batch_tokens=10_000)
    error = np.abs(half.projection_nk - single.projection_nk).max() / single.projection_nk.std()
    assert 0 < error < 0.1


def test_a_block_that_returns_no_states_is_refused() -> None:
    with pytest.raises(ModelError, match="no \\[rows, tokens, width\\] tensor"):
        block_states((torch.zeros(2, 3),))
