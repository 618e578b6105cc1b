from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from audit.errors import ModelError
from audit.model import loss
from audit.model.load import LoadedModel, load_model
from audit.model.loss import measure_nll
from audit.model.turns import TokenizedTurn
from tests import models


@functools.cache
def load(family: str) -> LoadedModel:
    return load_model(model=str(models.model_path(family)))


def make_turn(length: int, start: int) -> TokenizedTurn:
    ids = np.random.default_rng(length).integers(5, 300, size=length).astype(np.int32)
    return TokenizedTurn(ids, start, length, start, truncated=False)


TURNS = [make_turn(length, start) for length, start in ((9, 4), (40, 1), (40, 39), (17, 8), (5, 0))]


def torch_loss(model: LoadedModel, turn: TokenizedTurn) -> float:
    ids = torch.from_numpy(turn.ids.astype(np.int64))
    with torch.no_grad():
        logits_tv = model.module(ids[None]).logits[0].float()
    first = max(turn.start, 1)
    return float(torch.nn.functional.cross_entropy(logits_tv[first - 1 : turn.stop - 1], ids[first : turn.stop]))


# Gemma 2 soft-caps its logits behind the head.
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "mistral"])
@pytest.mark.parametrize("logit_budget", [1 << 28, 4000])
def test_the_loss_equals_torchs_cross_entropy(family: str, logit_budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "LOGIT_BUDGET", logit_budget)
    model = load(family)
    found_n = measure_nll(model, TURNS, batch_tokens=80)
    assert found_n.dtype == np.float32
    assert found_n == pytest.approx([torch_loss(model, turn) for turn in TURNS], abs=1e-5)


def test_no_more_logits_than_the_budget_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("llama")
    monkeypatch.setattr(loss, "LOGIT_BUDGET", 7 * model.fingerprint.n_vocab)
    rows: list[int] = []
    head = model.module.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, arguments, output: rows.append(output.shape[1]))
    try:
        measure_nll(model, TURNS, batch_tokens=80)
    finally:
        hook.remove()
    assert max(rows) == 7
    assert sum(rows) == sum(turn.stop - max(turn.start, 1) for turn in TURNS)
    assert not head._forward_pre_hooks


def test_a_response_of_one_first_token_has_no_loss() -> None:
    assert np.isnan(measure_nll(load("llama"), [make_turn(1, 0)], batch_tokens=80)).tolist() == [True]
    assert measure_nll(load("llama"), [], batch_tokens=80).shape == (0,)


def test_a_model_without_a_head_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("llama")
    monkeypatch.setattr(model.module, "get_output_embeddings", lambda: None)
    with pytest.raises(ModelError, match="no output head"):
        measure_nll(model, TURNS, batch_tokens=80)
