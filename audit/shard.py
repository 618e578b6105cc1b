"""The job for one block of records: samples → activations of responses and baselines → scores → tables.

A block is a fixed range of records, so which rows share a forward pass never depends on where a run was interrupted
or how fast the machine is. Baselines are looked up, never generated here. Knows nothing of run directories; the caller
joins blocks into parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.baseline import number_turns
from audit.baseline_turns import find_baselines
from audit.known import TurnKey
from audit.model.chat import TokenizedTurn, UnscoredTurn, render_turn, tokenize_turns
from audit.model.hidden import project_turns
from audit.model.loss import measure_nll
from audit.prompting import measure_prompted
from audit.samples import Sample, SkippedSample
from audit.states import ScoringJob, TurnState
from audit.tables import make_tables
from audit.turn_evidence import open_meter, pack_evidence, take_evidence

BLOCK_ROWS = 64
"""Records per block: enough to fill batches, few enough that a part closes in time on slow models."""


@dataclass(frozen=True, slots=True)
class PreparedBlock:
    """The records of a block, and what of them goes into the model: tokens, with those of the baselines."""

    records: Sequence[Sample | SkippedSample]
    states: list[TurnState]


@dataclass(frozen=True, slots=True)
class ScoredBlock:
    """The tables of a block (samples, turns, scores, differences, random_evidence).

    `n_widened` turns were scored in float32, since the model's own type is too narrow for them.
    """

    tables: dict[str, pa.Table]
    n_widened: int


def prepare_block(records: Sequence[Sample | SkippedSample], job: ScoringJob) -> PreparedBlock:
    """Do what scoring a block takes before the model runs."""
    return PreparedBlock(records, _prepare([record for record in records if isinstance(record, Sample)], job))


def score_block(block: PreparedBlock, job: ScoringJob) -> ScoredBlock:
    """Score one block."""
    states = block.states
    _score(states, job)
    if job.specs:
        measure_prompted([state for state in states if state.projection_k is not None], job)
    return ScoredBlock(make_tables(block.records, states, job), n_widened=sum(state.is_widened for state in states))


def score_turns(samples: Sequence[Sample], job: ScoringJob) -> list[TurnState]:
    """Score every turn of the samples; turns that cannot be scored carry a status and a reason."""
    states = _prepare(samples, job)
    _score(states, job)
    return states


def _prepare(samples: Sequence[Sample], job: ScoringJob) -> list[TurnState]:
    states = tokenize_samples(samples, job)
    find_baselines([state for state in states if state.tokens is not None], job)
    return states


def _score(states: Sequence[TurnState], job: ScoringJob) -> None:
    scored = [state for state in states if state.tokens is not None]
    _project(scored, job)
    if job.is_nll_for_all:
        # Evidence has told the loss of most.
        measure_losses([state for state in scored if state.response_nll is None], job)
    elif job.evidence is None:
        for state in scored:
            state.response_nll = job.probed_nll.get(state.key)


def tokenize_samples(samples: Sequence[Sample], job: ScoringJob) -> list[TurnState]:
    """Return the turns of samples, rendered and tokenized as far as they can be scored."""
    states = _begin(samples)
    _tokenize(states, job)
    return states


def list_prompts(samples: Sequence[Sample], job: ScoringJob) -> list[str]:
    """Return the rendered prompt of every turn that can be scored, in order: what the model has to answer."""
    states = tokenize_samples(samples, job)
    scored = [state.rendered for state in states if state.tokens is not None]
    return [rendered.prompt_text for rendered in scored if rendered is not None]


def measure_turn_losses(samples: Sequence[Sample], job: ScoringJob) -> dict[TurnKey, float]:
    """Return the loss of every turn that can be tokenized, nats per token; nothing is generated or projected."""
    scored = [state for state in tokenize_samples(samples, job) if state.tokens is not None]
    measure_losses(scored, job)
    return {state.key: state.response_nll for state in scored if state.response_nll is not None}


def measure_losses(states: Sequence[TurnState], job: ScoringJob) -> None:
    """Fill in `response_nll` with one pass of the whole model."""
    tokens = [state.tokens for state in states if state.tokens is not None]
    for state, nll in zip(states, measure_nll(job.model, tokens, batch_tokens=job.batch_tokens), strict=True):
        state.response_nll = _finite(nll)


def _begin(samples: Sequence[Sample]) -> list[TurnState]:
    return [
        TurnState(sample.sample_id, ordinal, turn) for sample in samples for ordinal, turn in number_turns(sample.turns)
    ]


def _tokenize(states: Sequence[TurnState], job: ScoringJob) -> None:
    for state in states:
        if state.turn.unscored is not None:
            state.status, _, state.reason = state.turn.unscored.partition(": ")
            continue
        rendered = render_turn(job.model, state.turn)
        if isinstance(rendered, UnscoredTurn):
            state.status, state.reason = rendered.status, rendered.reason
        else:
            state.rendered = rendered
    rendered_states = [(state, state.rendered) for state in states if state.rendered is not None]
    tokenized = tokenize_turns(job.model, [rendered for _, rendered in rendered_states], job.max_tokens)
    for (state, _), tokens in zip(rendered_states, tokenized, strict=True):
        if isinstance(tokens, UnscoredTurn):
            state.status, state.reason = tokens.status, tokens.reason
        else:
            state.tokens = tokens
            if tokens.truncated:
                state.status = "truncated"
                state.reason = f"cut to {tokens.stop - tokens.start} response tokens by the limit of {job.max_tokens}"


def _project(states: Sequence[TurnState], job: ScoringJob) -> None:
    # A baseline that several samples share is read once in each, so that no sample's numbers depend on another.
    baselines: dict[tuple[int, int], TokenizedTurn] = {}
    for state in states:
        for tokens in state.baseline_tokens:
            baselines.setdefault(_baseline_key(state, tokens), tokens)
    if job.known is not None:
        _project_known(states, baselines, job)
        return
    responses = [state.tokens for state in states if state.tokens is not None]
    tokenized = [*responses, *baselines.values()]
    groups = [*(state.sample_id for state in states), *(sample_id for sample_id, _ in baselines)]
    meter = open_meter(states, tokenized, groups, job)
    projections = project_turns(
        job.model,
        tokenized,
        units=job.directions,
        batch_tokens=job.batch_tokens,
        keep_mean_layer=job.difference_layer if baselines else None,
        windowed=job.units,
        groups=groups,
        meter=meter,
    )
    evidence_nv = pack_evidence(meter.evidence, len(states)) if meter is not None else None
    row_of = {key: len(responses) + position for position, key in enumerate(baselines)}
    for row, state in enumerate(states):
        state.is_widened = bool(projections.is_widened_n[row])
        if not np.isfinite(projections.projection_nk[row]).all():
            tried = f"{job.model.dtype}, nor in float32" if state.is_widened else job.model.dtype
            state.status, state.reason = "overflow", f"the hidden states are not finite in {tried}"
            continue
        state.projection_k = projections.projection_nk[row]
        state.prompt_projection_k = projections.prompt_projection_nk[row]
        state.window_k = projections.window_nw[row]
        if evidence_nv is not None:
            take_evidence(state, evidence_nv[row], job)
        if job.baseline == "prompt":
            _accept_baselines(state, projections.prompt_projection_nk[[row]])
        elif state.baseline_tokens:
            rows = _rows_of(state, row_of)
            taken = rows[_accept_baselines(state, projections.projection_nk[rows])]
            if len(taken) and projections.mean_nd is not None:
                state.baseline_window_k = _mean(projections.window_nw[taken])
                state.difference_r = (projections.mean_nd[row] - _mean(projections.mean_nd[taken])) @ job.reduction


def _project_known(
    states: Sequence[TurnState], baselines: dict[tuple[int, int], TokenizedTurn], job: ScoringJob
) -> None:
    """Take what was read of the responses from there, and run the model over the baselines alone."""
    assert job.known is not None
    projections = project_turns(
        job.model,
        list(baselines.values()),
        units=job.directions,
        batch_tokens=job.batch_tokens,
        keep_mean_layer=job.difference_layer,
        windowed=job.units,
        groups=[sample_id for sample_id, _ in baselines],
    )
    assert projections.mean_nd is not None
    row_of = {key: row for row, key in enumerate(baselines)}
    for state in states:
        state.known = job.known.find(state.key)
        if state.known is None:
            state.status, state.reason = "overflow", f"the hidden states are not finite in {job.model.dtype}"
            continue
        state.projection_k, state.prompt_projection_k = state.known.own_k, state.known.prompt_k
        state.window_k = state.known.window_w
        take_evidence(state, state.known.evidence_v, job)
        if state.is_predicted:
            if _accept_baselines(state, state.known.predicted_k[None]).any():
                state.difference_r = state.known.own_r - state.known.predicted_r
        elif state.baseline_tokens:
            rows = _rows_of(state, row_of)
            taken = rows[_accept_baselines(state, projections.projection_nk[rows])]
            if len(taken):
                state.baseline_window_k = _mean(projections.window_nw[taken])
                state.difference_r = state.known.own_r - _mean(projections.mean_nd[taken]) @ job.reduction


def _accept_baselines(state: TurnState, baseline_jk: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Take the mean over baselines [j], and its standard error, of those that are finite, and tell which are."""
    is_finite_j = np.asarray(np.isfinite(baseline_jk).all(axis=1))
    taken_jk = baseline_jk[is_finite_j]
    if not len(taken_jk):
        state.status = "baseline_failed"
        state.reason = "no finite hidden state of the baseline: no token before the response, or an overflow"
        return is_finite_j
    state.baseline_projection_k = _mean(taken_jk)
    if len(taken_jk) > 1:
        # The response's own projection is the same in every difference.
        sd_k = taken_jk.std(axis=0, ddof=1, dtype=np.float64)
        state.baseline_error_k = (sd_k / np.sqrt(len(taken_jk))).astype(np.float32)
    return is_finite_j


def _mean(values_jv: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean over the first axis; of one row, that row to the bit."""
    mean_v: NDArray[np.float32] = values_jv.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean_v


def _rows_of(state: TurnState, row_of: dict[tuple[int, int], int]) -> NDArray[np.int64]:
    """Return the rows of a turn's baselines; one that was given twice counts twice."""
    return np.array([row_of[_baseline_key(state, tokens)] for tokens in state.baseline_tokens], dtype=np.int64)


def _baseline_key(state: TurnState, tokens: TokenizedTurn) -> tuple[int, int]:
    return state.sample_id, id(tokens)


def _finite(value: np.floating | float) -> float | None:
    # A model that overflows gives no score, never a NaN in its place.
    return float(value) if np.isfinite(value) else None
