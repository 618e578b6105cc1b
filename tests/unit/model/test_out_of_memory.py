"""A batch that does not fit is made smaller, down to one sequence, and the numbers stay what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from audit.errors import ModelError
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel
from audit.model.packing import Group, count_tokens
from audit.model.turns import TokenizedTurn
from tests.unit.model.test_project_turns import load, make_conversations, make_turn, make_units, padded

OUT_OF_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory"),
    "cpu": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
}


class Small:
    """A device on which block 2 of the model takes at most so many tokens at once."""

    def __init__(self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.most_tokens = 10**9
        self.error: RuntimeError = OUT_OF_MEMORY["cuda"]
        self._forward = model.blocks[1].forward
        monkeypatch.setattr(model.blocks[1], "forward", self._run)

    def _run(self, states: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        self.sizes.append(states.shape[0] * states.shape[1])
        if self.sizes[-1] > self.most_tokens:
            raise self.error
        return self._forward(states, *arguments, **options)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Small:
    # Sizes of packs are told apart to the token.
    monkeypatch.setattr("audit.model.passes._CPU_MULTIPLE", 1)
    return Small(load(), monkeypatch)


def project(model: LoadedModel, turns: list[TokenizedTurn], groups: list[int] | None, batch_tokens: int) -> np.ndarray:
    # Layer 1 has been read when block 2 fails.
    found = project_turns(
        model, turns, units=make_units(1, 3), batch_tokens=batch_tokens, keep_mean_layer=3, groups=groups
    )
    assert found.mean_nd is not None
    return np.concatenate([found.projection_nk, found.prompt_projection_nk, found.mean_nd], axis=1)


@pytest.mark.parametrize("where", list(OUT_OF_MEMORY))
def test_a_group_that_does_not_fit_is_run_sequence_by_sequence_to_the_same_bits(small: Small, where: str) -> None:
    turns, groups = make_conversations()
    wanted = project(load(), turns, groups, 10_000)
    longest = max(len(turn.ids) for turn in turns)
    members = [tuple(n for n, own in enumerate(groups) if own == group) for group in set(groups)]
    group_sizes = [count_tokens([turn.ids for turn in turns], Group(group, group)) for group in members]
    assert max(group_sizes) > longest
    small.most_tokens, small.error = longest, OUT_OF_MEMORY[where]
    assert np.array_equal(project(load(), turns, groups, 10_000), wanted)
    assert max(group_sizes) in small.sizes


def test_a_padded_batch_that_does_not_fit_loses_nothing(small: Small) -> None:
    turns, _ = make_conversations()
    wanted = project(padded(load()), turns, None, 10_000)
    small.most_tokens = max(len(turn.ids) for turn in turns)
    assert np.allclose(project(padded(load()), turns, None, 10_000), wanted, atol=2e-5)


def test_a_sequence_that_does_not_fit_alone_is_an_error_and_another_error_is_not_taken_for_it(small: Small) -> None:
    turns, groups = make_conversations()
    small.most_tokens = max(len(turn.ids) for turn in turns) - 1
    with pytest.raises(ModelError, match="lower --max-tokens"):
        project(load(), turns, groups, 10_000)
    small.error = RuntimeError("another one")
    with pytest.raises(RuntimeError, match="another one"):
        project(load(), turns, groups, 10_000)


@pytest.mark.parametrize("way", [lambda: load(), lambda: padded(load())])
def test_one_sample_longer_than_the_token_budget_is_scored_as_any_other(way: Any) -> None:
    turns = [make_turn(300, 100, 1), make_turn(12, 5, 2), make_turn(7, 3, 3)]
    assert np.allclose(project(way(), turns, None, 16), project(way(), turns, None, 10_000), atol=2e-5)


@pytest.mark.parametrize("start", [0, 1])
def test_a_thousand_samples_of_one_token_are_scored_each_as_if_alone(start: int) -> None:
    turns = [make_turn(start + 1, start, seed) for seed in range(1000)]
    together = project(load(), turns, None, 8_192)
    assert np.isfinite(together[:, :2]).all()
    assert np.isnan(together[:, 2:4]).all() == (start == 0)
    assert np.array_equal(together, project(load(), turns, None, 64), equal_nan=True)
    for position in (0, 1, 500, 999):
        assert np.array_equal(project(load(), [turns[position]], None, 64)[0], together[position], equal_nan=True)
    assert np.allclose(together, project(padded(load()), turns, None, 8_192), atol=2e-5, equal_nan=True)
