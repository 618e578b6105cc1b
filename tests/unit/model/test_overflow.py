"""States that do not fit into a narrow type are computed again in float32, and nothing else changes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from audit.model.generate import answer_prompts
from audit.model.hidden import Projections, project_turns
from audit.model.load import LoadedModel, load_model
from audit.model.loss import measure_nll
from audit.model.turns import TokenizedTurn
from tests import models
from tests.unit.model.test_project_turns import make_conversations, make_units, padded

LOUD = 4
"""A token that no conversation of the tests contains."""
GROUPS_HIT = (2, 5)


@functools.cache
def load(dtype: str, family: str = "llama") -> LoadedModel:
    return load_model(model=str(models.model_path(family)), dtype=dtype)


@functools.cache
def rounded(family: str = "llama") -> LoadedModel:
    """The bfloat16 model with float32 arithmetic: what a repeated batch must equal."""
    module: Any = transformers.AutoModelForCausalLM.from_pretrained(models.model_path(family), dtype=torch.bfloat16)
    path = models.model_path(family).parent / f"rounded-{family}"
    module.save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(models.model_path(family)).save_pretrained(path)
    return load_model(model=str(path), dtype="float32")


def conversations() -> tuple[list[TokenizedTurn], list[int]]:
    """Conversations of which two groups hold the loud token in one of their responses."""
    turns, groups = make_conversations()
    for group in GROUPS_HIT:
        turn = turns[groups.index(group)]
        turn.ids[turn.start] = LOUD
    return turns, groups


@contextlib.contextmanager
def overflowing(model: LoadedModel, *, only_narrow: bool = True) -> Iterator[None]:
    """Let the loud token's embedding overflow, in types narrower than float32 or in all of them."""

    def shout(_: object, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        if only_narrow and output.dtype is torch.float32:
            return output
        return output.masked_fill((arguments[0] == LOUD)[..., None], float("inf"))

    hook = model.module.get_input_embeddings().register_forward_hook(shout)
    try:
        yield
    finally:
        hook.remove()


def project(model: LoadedModel, batch_tokens: int = 200) -> Projections:
    turns, groups = conversations()
    units = make_units(3, 2)
    return project_turns(
        model, turns, units=units, batch_tokens=batch_tokens, keep_mean_layer=3, windowed=units, groups=groups
    )


def columns(found: Projections) -> np.ndarray:
    assert found.mean_nd is not None
    return np.concatenate([found.projection_nk, found.prompt_projection_nk, found.mean_nd, found.window_nw], axis=1)


# Gemma keeps the factor of its embedding in the model's type.
@pytest.mark.parametrize(("family", "tolerance"), [("llama", 2e-5), ("gpt2", 2e-5), ("gemma2", 5e-4)])
@pytest.mark.parametrize("way", [lambda model: model, padded])
def test_only_the_groups_that_overflow_are_repeated_and_get_the_numbers_of_float32(
    way: Any, family: str, tolerance: float
) -> None:
    model = way(load("bfloat16", family))
    weights = {name: value.clone() for name, value in model.module.state_dict().items()}
    calm, exact = project(model), project(way(rounded(family)))
    with overflowing(model):
        found = project(model)
    is_hit = np.isin(conversations()[1], GROUPS_HIT)
    assert found.is_widened_n.tolist() == is_hit.tolist()
    assert not calm.is_widened_n.any()
    assert np.array_equal(columns(found)[~is_hit], columns(calm)[~is_hit])
    assert np.allclose(columns(found)[is_hit], columns(exact)[is_hit], atol=tolerance)
    assert np.abs(columns(calm)[is_hit] - columns(exact)[is_hit]).max() > 1e-3
    # The model is what it was, to the bit and to the type.
    after = model.module.state_dict()
    assert all(torch.equal(weights[name], after[name]) and weights[name].dtype is after[name].dtype for name in after)
    assert np.array_equal(columns(project(model)), columns(calm))


def test_a_repeated_group_gets_the_same_numbers_under_any_budget() -> None:
    model = load("bfloat16")
    with overflowing(model):
        small, large = project(model, 50), project(model, 10_000)
    assert np.array_equal(columns(small), columns(large))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_overflows_in_float32_too_stays_not_finite_and_harms_nobody(dtype: str) -> None:
    model = load(dtype)
    calm = project(model)
    with overflowing(model, only_narrow=False):
        found = project(model)
    turns, groups = conversations()
    has_loud = np.array([LOUD in turn.ids for turn in turns])
    assert not np.isfinite(found.projection_nk[has_loud]).any()
    assert np.isfinite(found.projection_nk[~has_loud]).all()
    untouched = ~np.isin(groups, GROUPS_HIT)
    assert np.array_equal(columns(found)[untouched], columns(calm)[untouched])
    assert found.is_widened_n.any() == (dtype == "bfloat16")


def test_states_too_large_for_float16_are_scored_in_float32(tmp_path: Path) -> None:
    module: Any = transformers.AutoModelForCausalLM.from_pretrained(models.model_path("gpt2"))
    with torch.no_grad():
        module.transformer.wte.weight[LOUD, 0] = 40_000.0
        module.transformer.wpe.weight[:, 0] = 40_000.0
    module.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(models.model_path("gpt2")).save_pretrained(tmp_path)
    narrow, exact = (load_model(model=str(tmp_path), dtype=dtype) for dtype in ("float16", "float32"))
    found, wanted = project(narrow), project(exact)
    is_hit = np.isin(conversations()[1], GROUPS_HIT)
    assert found.is_widened_n.tolist() == is_hit.tolist()
    assert np.isfinite(columns(found)).all()
    assert np.allclose(found.projection_nk[is_hit], wanted.projection_nk[is_hit], rtol=1e-2)


def test_an_error_while_widened_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("bfloat16")
    forward = model.blocks[1].forward

    def fail(states: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        if states.dtype is torch.float32:
            raise RuntimeError("no float32 here")
        return forward(states, *arguments, **options)

    monkeypatch.setattr(model.blocks[1], "forward", fail)
    with overflowing(model):
        found = project(model)
    assert {value.dtype for value in model.module.parameters()} == {torch.bfloat16}
    assert not np.isfinite(found.projection_nk[[LOUD in turn.ids for turn in conversations()[0]]]).any()
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.module.modules())


@pytest.mark.parametrize("only_narrow", [True, False])
def test_an_answer_is_never_made_of_logits_that_are_no_numbers(only_narrow: bool) -> None:
    model = load("bfloat16")
    loud = model.tokenizer.decode([LOUD])
    prompts = [f"{word} {loud if n % 2 else ''}" for n, word in enumerate(("bake", "bread", "water", "salt"))]
    options: dict[str, Any] = {"max_new_tokens": 40, "max_tokens": 200, "batch_tokens": 800, "seed": 0}
    calm = answer_prompts(model, prompts, **options)
    exact = answer_prompts(rounded(), prompts, **options)
    with overflowing(model, only_narrow=only_narrow):
        found = answer_prompts(model, prompts, **options)
    assert [found[0], found[2]] == [calm[0], calm[2]]
    assert [found[n].text for n in (1, 3)] == ([exact[n].text for n in (1, 3)] if only_narrow else ["", ""])
    assert all(answer.text for answer in calm)


def test_a_loss_that_is_not_finite_is_measured_again_in_float32() -> None:
    model = load("bfloat16")
    turns, _ = conversations()
    calm_n, exact_n = (measure_nll(each, turns, batch_tokens=300) for each in (model, rounded()))
    with overflowing(model):
        found_n = measure_nll(model, turns, batch_tokens=300)
    has_loud = np.array([LOUD in turn.ids for turn in turns])
    assert np.allclose(found_n[has_loud], exact_n[has_loud], atol=1e-4)
    assert np.allclose(found_n[~has_loud], calm_n[~has_loud], atol=1e-6)
