"""The job for one block of records: samples → activations of responses and baselines → scores → tables.

A block is a fixed range of records, so which rows share a forward pass never depends on where a run was interrupted
or how fast the machine is. Baselines are looked up, never generated here. Knows nothing of run directories; the caller
joins blocks into parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.answers import FailedAnswer
from audit.baseline import BaselineFile, number_turns
from audit.known import TurnKey
from audit.model.chat import RenderedTurn, TokenizedTurn, UnscoredTurn, render_turn, tokenize_turns
from audit.model.hidden import project_turns
from audit.model.loss import measure_nll
from audit.prompting import measure_prompted
from audit.samples import Sample, SkippedSample, Turn, answer_turn
from audit.samples.reasoning import split_parts
from audit.states import ScoringJob, TurnState
from audit.tables import make_tables
from audit.turn_evidence import open_meter, pack_evidence, take_evidence

BLOCK_ROWS = 64
"""Records per block: enough to fill batches, few enough that a part closes in time on slow models."""

RANDOM_DRAW = "random"
"""The draw of the prompts from whose answers the others are predicted."""

_NO_MATCH = {
    "prompt": "no response to this prompt in the baseline file",
    "position": "no response at this position in the baseline file",
}


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
    _find_baselines([state for state in states if state.tokens is not None], job)
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


def _find_baselines(states: Sequence[TurnState], job: ScoringJob) -> None:
    if job.baseline in ("prompt", "none"):
        return
    if isinstance(job.baseline, BaselineFile):
        for state in states:
            state.baseline_text = job.baseline.find(state.sample_id, state.ordinal, state.turn)
            state.baseline_reason = _NO_MATCH[job.baseline.by]
    else:
        assert job.answers is not None
        answers = job.answers.find([state.rendered.prompt_text for state in states if state.rendered is not None])
        for state, found in zip(states, answers, strict=True):
            if found is None:
                state.is_predicted = True
                continue
            answer, draw = found
            is_shared = draw == RANDOM_DRAW and job.known is not None and not job.known.is_random(state.sample_id)
            state.baseline_draw = "shared" if is_shared else draw
            if isinstance(answer, FailedAnswer):
                state.baseline_reason = answer.reason
                continue
            state.baseline_text = answer.text if answer.text.strip() else None
            state.baseline_reason = (
                "the model's own response is empty" if answer.finished else "the prompt leaves no room for a response"
            )
    _tokenize_baselines(states, job)


def _tokenize_baselines(states: Sequence[TurnState], job: ScoringJob) -> None:
    # Both sides of a preference, and repeated prompts, share one baseline: it is rendered and scored once.
    rendered: dict[Turn, RenderedTurn | UnscoredTurn] = {}
    for state in states:
        if state.is_predicted:
            continue
        if state.baseline_text is None:
            state.status, state.reason = "baseline_failed", state.baseline_reason
            continue
        state.baseline = _answer_like(state.turn, state.baseline_text)
        if state.baseline is None:
            state.status, state.reason = "baseline_failed", f"the baseline has no {state.turn.part}"
        elif state.baseline not in rendered:
            rendered[state.baseline] = render_turn(job.model, state.baseline)
    good = {turn: value for turn, value in rendered.items() if not isinstance(value, UnscoredTurn)}
    tokenized = dict(zip(good, tokenize_turns(job.model, list(good.values()), job.max_tokens), strict=True))
    for state in states:
        if state.baseline is None:
            continue
        outcomes = (rendered[state.baseline], tokenized.get(state.baseline))
        failed = next((outcome for outcome in outcomes if isinstance(outcome, UnscoredTurn)), None)
        if failed is not None:
            state.status, state.reason = "baseline_failed", f"the baseline: {failed.reason}"
        elif isinstance(outcomes[1], TokenizedTurn):
            state.baseline_tokens = outcomes[1]


def _answer_like(turn: Turn, text: str) -> Turn | None:
    """Return the part of a baseline text that is compared with a turn; None where it has no such part.

    Templates treat reasoning in a field and in the content differently, so it is kept where the turn keeps its own.
    """
    answer = answer_turn(turn.prompt, text, part=turn.part, tools=turn.tools)
    if answer is None or not turn.message.reasoning.strip():
        return answer
    return replace(answer, message=split_parts(answer.message))


def _project(states: Sequence[TurnState], job: ScoringJob) -> None:
    # A baseline that several samples share is read once in each, so that no sample's numbers depend on another.
    baselines: dict[tuple[int, int], TokenizedTurn] = {}
    for state in states:
        if state.baseline_tokens is not None:
            baselines.setdefault(_baseline_key(state), state.baseline_tokens)
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
        baseline_k = baseline_row = None
        if state.baseline_tokens is not None:
            baseline_row = row_of[_baseline_key(state)]
            baseline_k = projections.projection_nk[baseline_row]
        elif job.baseline == "prompt":
            baseline_k = state.prompt_projection_k
        if baseline_k is None or not _accept_baseline(state, baseline_k):
            continue
        if baseline_row is not None and projections.mean_nd is not None:
            state.baseline_window_k = projections.window_nw[baseline_row]
            state.difference_r = (projections.mean_nd[row] - projections.mean_nd[baseline_row]) @ job.reduction


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
            if _accept_baseline(state, state.known.predicted_k):
                state.difference_r = state.known.own_r - state.known.predicted_r
        elif state.baseline_tokens is not None:
            row = row_of[_baseline_key(state)]
            if _accept_baseline(state, projections.projection_nk[row]):
                state.baseline_window_k = projections.window_nw[row]
                state.difference_r = state.known.own_r - projections.mean_nd[row] @ job.reduction


def _accept_baseline(state: TurnState, baseline_k: NDArray[np.float32]) -> bool:
    """Take a baseline's projections, unless they are not finite, and tell whether it was taken."""
    if np.isfinite(baseline_k).all():
        state.baseline_projection_k = baseline_k
        return True
    state.status = "baseline_failed"
    state.reason = "no finite hidden state of the baseline: no token before the response, or an overflow"
    return False


def _baseline_key(state: TurnState) -> tuple[int, int]:
    return state.sample_id, id(state.baseline_tokens)


def _finite(value: np.floating | float) -> float | None:
    # A model that overflows gives no score, never a NaN in its place.
    return float(value) if np.isfinite(value) else None
