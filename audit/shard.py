"""The job for one block of records: samples → activations of responses and baselines → scores → tables.

A block is a fixed range of records, so which rows share a forward pass never depends on where a run was interrupted
or how fast the machine is. Baselines are looked up, never generated here. Knows nothing of run directories; the caller
joins blocks into parts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.answers import AnswerSheet, FailedAnswer
from audit.baseline import BaselineFile, number_turns
from audit.known import KnownTurn, KnownTurns, TurnKey
from audit.model.chat import RenderedTurn, TokenizedTurn, UnscoredTurn, render_turn, tokenize_turns
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel
from audit.model.loss import measure_nll
from audit.samples import Sample, SkippedSample, Turn, answer_turn, count_calls
from audit.samples.reasoning import split_parts
from audit.schema import DIFFERENCES, SAMPLES, SCORED_STATUSES, SCORES, TURN_KEY, TURNS
from audit.surface import describe_surface, is_refusal

BLOCK_ROWS = 64
"""Records per block: enough to fill batches, few enough that a part closes in time on slow models."""

RANDOM_DRAW = "random"
"""The draw of the prompts from whose answers the others are predicted."""

_NO_MATCH = {
    "prompt": "no response to this prompt in the baseline file",
    "position": "no response at this position in the baseline file",
}

KEY_COLUMNS = tuple(field.name for field in TURN_KEY)


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """What every block of a run is scored with.

    Attributes:
        units: trait → (layer, unit vector [d] float32).
        baseline: `generate`, `prompt`, `none`, or the ready responses of a file.
        reduction: [d, r] matrix that difference vectors are stored through.
        answers: the model's own answers, looked up by prompt; None where none are needed.
        known: what was read of the responses already, and the baselines that are predicted; None where all is read now.
        keep_columns: fields of the records that become text columns of `samples`.
        is_nll_for_all: measure the loss of every turn; otherwise only `probed_nll` is written.
        probed_nll: what the probe measured, nats per token.
    """

    model: LoadedModel
    units: dict[str, tuple[int, NDArray[np.float32]]]
    baseline: str | BaselineFile
    max_tokens: int
    batch_tokens: int
    seed: int
    reduction: NDArray[np.float32]
    is_nll_for_all: bool
    answers: AnswerSheet | None = None
    known: KnownTurns | None = None
    keep_columns: tuple[str, ...] = ()
    probed_nll: dict[TurnKey, float] = field(default_factory=dict)

    @property
    def difference_layer(self) -> int:
        """The layer of the stored difference vectors: the highest that any trait is scored at."""
        return max(layer for layer, _ in self.units.values())

    @property
    def baseline_kind(self) -> str | None:
        """What `turns.baseline_kind` says of a turn that has a baseline."""
        if isinstance(self.baseline, BaselineFile):
            return "file"
        return {"generate": "generated", "prompt": "prompt", "none": None}[self.baseline]


@dataclass(slots=True)
class TurnState:
    """A turn on its way through a block: filled in step by step, written once."""

    sample_id: int
    ordinal: int
    turn: Turn
    status: str = "ok"
    reason: str | None = None
    rendered: RenderedTurn | None = None
    tokens: TokenizedTurn | None = None
    baseline_text: str | None = None
    baseline: Turn | None = None
    baseline_reason: str | None = None
    baseline_tokens: TokenizedTurn | None = None
    baseline_draw: str | None = None
    is_predicted: bool = False
    known: KnownTurn | None = None
    response_nll: float | None = None
    projection_k: NDArray[np.float32] | None = None
    prompt_projection_k: NDArray[np.float32] | None = None
    baseline_projection_k: NDArray[np.float32] | None = None
    difference_r: NDArray[np.float32] | None = None
    is_widened: bool = False

    @property
    def key(self) -> TurnKey:
        """The key of the turn in every table."""
        return (self.sample_id, self.turn.side, self.turn.turn, self.turn.part)


@dataclass(frozen=True, slots=True)
class PreparedBlock:
    """The records of a block, and what of them goes into the model: tokens, with those of the baselines."""

    records: Sequence[Sample | SkippedSample]
    states: list[TurnState]


@dataclass(frozen=True, slots=True)
class ScoredBlock:
    """The tables of a block (samples, turns, scores, differences).

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
    tables = {
        "samples": _samples_table(block.records, states, job.keep_columns),
        "turns": _turns_table(states, job),
        "scores": _scores_table(states, job),
        "differences": _differences_table(states),
    }
    return ScoredBlock(tables, n_widened=sum(state.is_widened for state in states))


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
        measure_losses(scored, job)
    else:
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
    projections = project_turns(
        job.model,
        [*responses, *baselines.values()],
        units=job.units,
        batch_tokens=job.batch_tokens,
        keep_mean_layer=job.difference_layer if baselines else None,
        groups=[*(state.sample_id for state in states), *(sample_id for sample_id, _ in baselines)],
    )
    row_of = {key: len(responses) + position for position, key in enumerate(baselines)}
    for row, state in enumerate(states):
        state.is_widened = bool(projections.is_widened_n[row])
        if not np.isfinite(projections.projection_nk[row]).all():
            tried = f"{job.model.dtype}, nor in float32" if state.is_widened else job.model.dtype
            state.status, state.reason = "overflow", f"the hidden states are not finite in {tried}"
            continue
        state.projection_k = projections.projection_nk[row]
        state.prompt_projection_k = projections.prompt_projection_nk[row]
        baseline_k = baseline_row = None
        if state.baseline_tokens is not None:
            baseline_row = row_of[_baseline_key(state)]
            baseline_k = projections.projection_nk[baseline_row]
        elif job.baseline == "prompt":
            baseline_k = state.prompt_projection_k
        if baseline_k is None or not _accept_baseline(state, baseline_k):
            continue
        if baseline_row is not None and projections.mean_nd is not None:
            state.difference_r = (projections.mean_nd[row] - projections.mean_nd[baseline_row]) @ job.reduction


def _project_known(
    states: Sequence[TurnState], baselines: dict[tuple[int, int], TokenizedTurn], job: ScoringJob
) -> None:
    """Take what was read of the responses from there, and run the model over the baselines alone."""
    assert job.known is not None
    projections = project_turns(
        job.model,
        list(baselines.values()),
        units=job.units,
        batch_tokens=job.batch_tokens,
        keep_mean_layer=job.difference_layer,
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
        if state.is_predicted:
            if _accept_baseline(state, state.known.predicted_k):
                state.difference_r = state.known.own_r - state.known.predicted_r
        elif state.baseline_tokens is not None:
            row = row_of[_baseline_key(state)]
            if _accept_baseline(state, projections.projection_nk[row]):
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


def _samples_table(
    records: Sequence[Sample | SkippedSample], states: Sequence[TurnState], keep_columns: Sequence[str]
) -> pa.Table:
    states_of: dict[int, list[TurnState]] = {record.sample_id: [] for record in records}
    for state in states:
        states_of[state.sample_id].append(state)
    rows = []
    for record in records:
        status, reason = _sample_status(record, states_of[record.sample_id])
        rows.append(
            {
                "sample_id": record.sample_id,
                "source": record.place.source,
                "line": record.place.line,
                "byte_offset": record.place.byte_offset,
                "byte_length": record.place.byte_length,
                "format": record.format,
                "n_turns": _count_turns(record),
                "status": status,
                "reason": reason,
                **{column: _kept_text(record.kept.get(column)) for column in keep_columns},
            }
        )
    schema = SAMPLES
    for column in keep_columns:
        schema = schema.append(pa.field(column, pa.string()))
    return pa.Table.from_pylist(rows, schema=schema)


def _count_turns(record: Sample | SkippedSample) -> int:
    """Count assistant turns; one in two parts is one."""
    return len({(turn.side, turn.turn) for turn in record.turns}) if isinstance(record, Sample) else 0


def _sample_status(record: Sample | SkippedSample, states: Sequence[TurnState]) -> tuple[str, str | None]:
    if isinstance(record, SkippedSample):
        return "skipped", record.reason
    if any(state.status in SCORED_STATUSES for state in states):
        return "ok", None
    return "skipped", _summarise_reasons(states)


def _summarise_reasons(states: Sequence[TurnState]) -> str:
    """Return why no turn of a record is scored: the reason that they share, or how many have which status."""
    if not states:
        return "no_assistant_turn: nothing to score"
    counts = Counter(state.status for state in states).most_common()
    if len(counts) == 1:
        return f"{states[0].status}: {states[0].reason}"
    return f"{counts[0][0]}: " + ", ".join(f"{count} {status}" for status, count in counts)


def _turns_table(states: Sequence[TurnState], job: ScoringJob) -> pa.Table:
    rows = []
    for state in states:
        surface = describe_surface(state.turn.response) if state.tokens is not None else None
        has_baseline = state.baseline_tokens is not None or (state.tokens is not None and job.baseline == "prompt")
        rows.append(
            {
                **_key_columns(state),
                "status": state.status,
                "reason": state.reason,
                "n_prompt_tokens": state.tokens.n_prompt_tokens if state.tokens else None,
                "n_response_tokens": state.tokens.n_response_tokens if state.tokens else None,
                "n_baseline_tokens": state.baseline_tokens.n_response_tokens if state.baseline_tokens else None,
                "response_nll": state.response_nll,
                "is_refusal": surface.is_refusal if surface else None,
                "baseline_is_refusal": is_refusal(state.baseline.response) if state.baseline else None,
                "n_tool_calls": count_calls(state.turn.message.tool_calls),
                "list_share": surface.list_share if surface else None,
                "code_share": surface.code_share if surface else None,
                "baseline_kind": "predicted" if state.is_predicted else job.baseline_kind if has_baseline else None,
                "baseline_draw": state.baseline_draw,
                "baseline_response": state.baseline_text,
            }
        )
    return pa.Table.from_pylist(rows, schema=TURNS)


def _scores_table(states: Sequence[TurnState], job: ScoringJob) -> pa.Table:
    """Return a row per turn and trait; whole columns at once, since there are many traits to a turn."""
    scored = [(state, state.projection_k, state.prompt_projection_k) for state in states]
    rows = [(state, own, prompt) for state, own, prompt in scored if own is not None and prompt is not None]
    if not rows:
        return SCORES.empty_table()
    n, k = len(rows), len(job.units)
    nothing_k = np.full(k, np.nan, dtype=np.float32)
    projection_nk = np.stack([own for _, own, _ in rows])
    prompt_nk = np.stack([prompt for _, _, prompt in rows])
    baselines = [state.baseline_projection_k for state, _, _ in rows]
    baseline_nk = np.stack([nothing_k if baseline_k is None else baseline_k for baseline_k in baselines])
    columns: dict[str, object] = {
        name: np.repeat([state.key[place] for state, _, _ in rows], k) for place, name in enumerate(KEY_COLUMNS)
    }
    columns["trait"] = list(job.units) * n
    columns["layer"] = [layer for layer, _ in job.units.values()] * n
    # NaN marks what is missing, infinity what overflowed; in the table both are null.
    for name, values_nk in {
        "projection": projection_nk,
        "baseline_projection": baseline_nk,
        "projection_difference": projection_nk - baseline_nk,
        "prompt_projection": prompt_nk,
    }.items():
        finite_nk = np.where(np.isfinite(values_nk), values_nk, np.nan)
        columns[name] = pa.array(finite_nk.ravel(), pa.float32(), from_pandas=True)
    columns |= _prediction_columns([state for state, _, _ in rows], job)
    return pa.table(columns).cast(SCORES)


def _prediction_columns(states: Sequence[TurnState], job: ScoringJob) -> dict[str, pa.Array]:
    n, k = len(states), len(job.units)
    predicted_nk = np.full((n, k), np.nan, dtype=np.float32)
    error_nk = np.full((n, k), np.nan, dtype=np.float32)
    for row, state in enumerate(states):
        if state.known is not None:
            predicted_nk[row] = state.known.predicted_k
            if state.is_predicted and job.known is not None and job.known.error_k is not None:
                error_nk[row] = job.known.error_k
    return {
        "predicted_baseline_projection": pa.array(predicted_nk.ravel(), pa.float32(), from_pandas=True),
        "standard_error": pa.array(error_nk.ravel(), pa.float32(), from_pandas=True),
    }


def _differences_table(states: Sequence[TurnState]) -> pa.Table:
    rows = [
        {**_key_columns(state), "difference": state.difference_r} for state in states if state.difference_r is not None
    ]
    return pa.Table.from_pylist(rows, schema=DIFFERENCES)


def _key_columns(state: TurnState) -> dict[str, int | str]:
    return dict(zip(KEY_COLUMNS, state.key, strict=True))


def _kept_text(value: str | int | float | bool | None) -> str | None:
    # One type for the column whatever the records hold: text as it is, other scalars as JSON.
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _finite(value: np.floating | float) -> float | None:
    # A model that overflows gives no score, never a NaN in its place.
    return float(value) if np.isfinite(value) else None
