from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from audit.errors import ModelError
from audit.model.blocks import block_states
from audit.model.hidden import project_turns, read_hidden
from audit.model.load import LoadedModel, load_model
from audit.model.turns import TokenizedTurn
from tests import models

TOP = 3


@functools.cache
def load(family: str = "llama", dtype: str = "auto") -> LoadedModel:
    return load_model(model=str(models.model_path(family)), dtype=dtype)


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


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "phi", "gemma3"])
def test_projections_equal_hidden_states_times_units(family: str) -> None:
    model = load(family)
    units = make_units(TOP, 1, TOP, 2)
    found = project_turns(model, TURNS, units=units, batch_tokens=64, keep_mean_layer=2)
    for n, turn in enumerate(TURNS):
        with torch.no_grad():
            output = model.module(torch.from_numpy(turn.ids[None].astype(np.int64)), output_hidden_states=True)
        for k, (layer, unit_d) in enumerate(units.values()):
            dots_t = output.hidden_states[layer][0].numpy() @ unit_d
            assert found.projection_nk[n, k] == pytest.approx(dots_t[turn.start :].mean(), abs=2e-5)
            assert found.prompt_projection_nk[n, k] == pytest.approx(dots_t[turn.start - 1], abs=2e-5)
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


def test_hooks_are_gone_afterwards_also_when_reading_fails() -> None:
    model = load()
    before = n_hooks(model)
    project_turns(model, TURNS, units=make_units(TOP), batch_tokens=64)
    assert n_hooks(model) == before

    def fail(layer: int, hidden_ntd: torch.Tensor) -> None:
        raise RuntimeError("no")

    ids_nt = torch.ones((1, 4), dtype=torch.long)
    with pytest.raises(RuntimeError, match="no"):
        read_hidden(model, ids_nt, torch.ones_like(ids_nt), layers=[1, 2], read_layer=fail)
    assert n_hooks(model) == before
    with torch.no_grad():
        assert model.module(ids_nt).logits.shape[:2] == (1, 4)


def test_running_out_of_memory_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load()
    wanted = project_turns(model, TURNS, units=make_units(TOP), batch_tokens=10_000)
    forward = model.module.forward
    sizes: list[int] = []

    def narrow(*arguments: Any, **keywords: Any) -> Any:
        sizes.append(len(keywords["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError
        return forward(*arguments, **keywords)

    monkeypatch.setattr(model.module, "forward", narrow)
    found = project_turns(model, TURNS, units=make_units(TOP), batch_tokens=10_000)
    assert sizes == [6, 3, 1, 2, 3, 1, 2]
    assert np.allclose(found.projection_nk, wanted.projection_nk, atol=2e-5)


def test_bfloat16_states_are_summed_in_float32() -> None:
    single = project_turns(load(), TURNS, units=make_units(TOP), batch_tokens=10_000)
    half = project_turns(load(dtype="bfloat16"), TURNS, units=make_units(TOP), batch_tokens=10_000)
    error = np.abs(half.projection_nk - single.projection_nk).max() / single.projection_nk.std()
    assert 0 < error < 0.1


def test_a_block_that_returns_no_states_is_refused() -> None:
    with pytest.raises(ModelError, match="no \\[rows, tokens, width\\] tensor"):
        block_states((torch.zeros(2, 3),))
