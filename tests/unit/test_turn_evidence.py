"""What is kept of a turn's evidence comes back as it was, and blocks without a turn fit beside others."""

from __future__ import annotations

import numpy as np

from audit.model.evidence import EvidenceMeter
from audit.model.load import load_model
from audit.samples import Message, Turn
from audit.schema import RANDOM_DIRECTIONS
from audit.states import ScoringJob, TurnState
from audit.turn_evidence import make_evidence_job, open_meter, pack_evidence, take_evidence
from tests.models import D_HIDDEN, model_path


def make_job() -> ScoringJob:
    vectors = {trait: (layer, np.ones(D_HIDDEN, dtype=np.float32)) for trait, layer in (("evil", 3), ("calm", 2))}
    return ScoringJob(
        model=load_model(model=str(model_path("llama"))),
        units=vectors,
        baseline="none",
        max_tokens=64,
        batch_tokens=64,
        seed=0,
        reduction=np.zeros((D_HIDDEN, 2), dtype=np.float32),
        is_nll_for_all=False,
        evidence=make_evidence_job("full", vectors),
    )


def test_a_block_without_turns_has_the_columns_of_others() -> None:
    job = make_job()
    meter = open_meter([], [], [], job)
    assert isinstance(meter, EvidenceMeter)
    # Two slopes, two variances, the loss, and both kinds of random directions at two layers.
    assert pack_evidence(meter.evidence, 0).shape == (0, 2 + 2 + 1 + 4 * RANDOM_DIRECTIONS)


def test_what_is_kept_comes_back() -> None:
    job = make_job()
    state = TurnState(7, 0, Turn("response", 1, "answer", (), "a", Message("assistant", "a")))
    kept_v = np.arange(5 + 4 * RANDOM_DIRECTIONS, dtype=np.float32)
    take_evidence(state, kept_v, job)
    assert state.evidence is not None
    assert state.evidence.score_k.tolist() == [0, 1]
    assert state.evidence.variance_k.tolist() == [2, 3]
    assert state.response_nll == 4
    r = RANDOM_DIRECTIONS
    assert {layer: own[0] for layer, own in state.evidence.random_r.items()} == {2: 5, 3: 5 + 2 * r}
    assert {layer: own[0] for layer, own in state.evidence.random_null_r.items()} == {2: 5 + r, 3: 5 + 3 * r}
    kept_v[4] = np.nan
    take_evidence(state, kept_v, job)
    assert state.response_nll == 4, "a loss that is no number is left out"
