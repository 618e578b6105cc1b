"""The scored turns of a block of records as the tables that are written: samples, turns, scores, differences,
and evidence along random directions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.language import detect_language
from audit.model.chat import TokenizedTurn
from audit.role_play import asks_for_role, plays_role
from audit.samples import Sample, SkippedSample, Turn, count_calls, hash_conversation
from audit.schema import RANDOM_EVIDENCE, SAMPLES, SCORED_STATUSES, SCORES, TURN_KEY, TURNS, differences_schema
from audit.states import ScoringJob, TurnState
from audit.surface import describe_surface

KEY_COLUMNS = tuple(field.name for field in TURN_KEY)


def make_tables(
    records: Sequence[Sample | SkippedSample], states: Sequence[TurnState], job: ScoringJob
) -> dict[str, pa.Table]:
    """Return the tables of a block by name."""
    return {
        "samples": _samples_table(records, states, job.keep_columns),
        "turns": _turns_table(states, job),
        "scores": _scores_table(states, job),
        "differences": _differences_table(states, job),
        "random_evidence": _random_evidence_table(states),
    }


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
                "content_id": hash_conversation(record.turns) if isinstance(record, Sample) else None,
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
        baseline = describe_surface(state.baseline.response) if state.baseline else None
        has_baseline = bool(state.baseline_tokens) or (state.tokens is not None and job.baseline == "prompt")
        rows.append(
            {
                **_key_columns(state),
                "status": state.status,
                "reason": state.reason,
                "n_prompt_tokens": state.tokens.n_prompt_tokens if state.tokens else None,
                "n_response_tokens": state.tokens.n_response_tokens if state.tokens else None,
                "n_baseline_tokens": _mean_tokens(state.baseline_tokens),
                "response_nll": state.response_nll,
                "is_refusal": surface.is_refusal if surface else None,
                "baseline_is_refusal": baseline.is_refusal if baseline else None,
                "n_tool_calls": count_calls(state.turn.message.tool_calls),
                "list_share": surface.list_share if surface else None,
                "code_share": surface.code_share if surface else None,
                "baseline_kind": "predicted" if state.is_predicted else job.baseline_kind if has_baseline else None,
                "baseline_draw": state.baseline_draw,
                "baseline_response": state.baseline_text,
                "evidence_reason": state.evidence.reason if state.evidence else None,
                "language": detect_language(state.turn.response) if surface else None,
                "is_role_play": _is_role_play(state.turn) if surface else None,
                "baseline_list_share": baseline.list_share if baseline else None,
                "baseline_code_share": baseline.code_share if baseline else None,
            }
        )
    return pa.Table.from_pylist(rows, schema=TURNS)


def _mean_tokens(baselines: Sequence[TokenizedTurn]) -> int | None:
    return round(sum(tokens.n_response_tokens for tokens in baselines) / len(baselines)) if baselines else None


def _is_role_play(turn: Turn) -> bool:
    asked = (message.content for message in turn.prompt if message.role != "assistant")
    return asks_for_role(asked) or plays_role(turn.response)


def _scores_table(states: Sequence[TurnState], job: ScoringJob) -> pa.Table:
    """Return a row per turn and trait; whole columns at once, since there are many traits to a turn."""
    scored = [(state, state.projection_k, state.prompt_projection_k) for state in states]
    rows = [(state, own, prompt) for state, own, prompt in scored if own is not None and prompt is not None]
    if not rows:
        return SCORES.empty_table()
    states, n, k = [state for state, _, _ in rows], len(rows), len(job.units)
    projection_nk = np.stack([own for _, own, _ in rows])
    prompt_nk = np.stack([prompt for _, _, prompt in rows])
    nothing_k = np.full(projection_nk.shape[1], np.nan, dtype=np.float32)
    baselines = [state.baseline_projection_k for state in states]
    baseline_nk = np.stack([nothing_k if baseline_k is None else baseline_k for baseline_k in baselines])
    difference_nk = projection_nk - baseline_nk
    columns: dict[str, object] = {
        name: np.repeat([state.key[place] for state in states], k) for place, name in enumerate(KEY_COLUMNS)
    }
    columns["trait"] = list(job.units) * n
    columns["layer"] = [layer for layer, _ in job.units.values()] * n
    columns |= {
        "projection": _floats(projection_nk[:, :k]),
        "baseline_projection": _floats(baseline_nk[:, :k]),
        "projection_difference": _floats(difference_nk[:, :k]),
        "prompt_projection": _floats(prompt_nk[:, :k]),
    }
    columns |= _baseline_columns(states, job)
    alone_nk = difference_nk[:, k : 2 * k] if job.orthogonal else np.full((n, k), np.nan, dtype=np.float32)
    columns["orthogonal_difference"] = _floats(alone_nk)
    columns["window_difference"] = _floats(_subtract_windows(states, k))
    columns["layer_difference"] = _floats(_average_layers(difference_nk, job))
    columns |= _evidence_columns(states, job)
    columns |= _prompted_columns(states, k)
    return pa.table(columns).cast(SCORES)


def _floats(values_nk: NDArray[np.floating]) -> pa.Array:
    """Return a column: NaN marks what is missing, infinity what overflowed; in the table both are null."""
    finite_nk = np.where(np.isfinite(values_nk), values_nk, np.nan)
    return pa.array(finite_nk.ravel(), pa.float32(), from_pandas=True)


def _subtract_windows(states: Sequence[TurnState], k: int) -> NDArray[np.float32]:
    """Return window maxima [n, k] of responses minus those of their baselines; NaN without a baseline in tokens."""
    difference_nk = np.full((len(states), k), np.nan, dtype=np.float32)
    for row, state in enumerate(states):
        if state.window_k is not None and state.baseline_window_k is not None:
            difference_nk[row] = state.window_k - state.baseline_window_k
    return difference_nk


def _average_layers(difference_nk: NDArray[np.float32], job: ScoringJob) -> NDArray[np.float64]:
    """Return the ensembles over layers [n, trait]: the mean over a trait's rows, each in lengths of the row."""
    mean_nk = np.full((len(difference_nk), len(job.units)), np.nan)
    for place, trait in enumerate(job.units):
        if rows := job.ensemble_columns(trait):
            columns, lengths = zip(*rows, strict=True)
            mean_nk[:, place] = (difference_nk[:, columns] / np.array(lengths)).mean(axis=1)
    return mean_nk


def _baseline_columns(states: Sequence[TurnState], job: ScoringJob) -> dict[str, pa.Array]:
    """Return what is predicted of baselines, and how far they are certain: where they are predicted, or drawn."""
    n, k = len(states), len(job.units)
    predicted_nk = np.full((n, k), np.nan, dtype=np.float32)
    error_nk = np.full((n, k), np.nan, dtype=np.float32)
    for row, state in enumerate(states):
        if state.baseline_error_k is not None:
            error_nk[row] = state.baseline_error_k[:k]
        if state.known is not None:
            predicted_nk[row] = state.known.predicted_k[:k]
            if state.is_predicted and job.known is not None and job.known.error_k is not None:
                error_nk[row] = job.known.error_k
    return {"predicted_baseline_projection": _floats(predicted_nk), "standard_error": _floats(error_nk)}


def _evidence_columns(states: Sequence[TurnState], job: ScoringJob) -> dict[str, pa.Array]:
    score_nk = np.full((len(states), len(job.units)), np.nan, dtype=np.float64)
    variance_nk, z_nk = score_nk.copy(), score_nk.copy()
    for row, state in enumerate(states):
        if state.evidence is not None:
            score_nk[row], variance_nk[row] = state.evidence.score_k, state.evidence.variance_k
    if job.evidence is not None and job.evidence.level == "full":
        # What one draw tells of the variance is right on average alone: it makes no z of a turn.
        z_nk = score_nk / np.sqrt(np.where(variance_nk > 0, variance_nk, np.nan))
    return {"evidence": _floats(score_nk), "evidence_z": _floats(z_nk), "evidence_variance": _floats(variance_nk)}


def _prompted_columns(states: Sequence[TurnState], k: int) -> dict[str, pa.Array]:
    columns = {}
    for name, kept in (("prompted_evidence", "ratio_k"), ("prompted_evidence_z", "z_k"), ("prompted_gain", "gain_k")):
        values_nk = np.full((len(states), k), np.nan, dtype=np.float32)
        for row, state in enumerate(states):
            if state.prompted is not None:
                values_nk[row] = getattr(state.prompted, kept)
        columns[name] = _floats(values_nk)
    return columns


def _differences_table(states: Sequence[TurnState], job: ScoringJob) -> pa.Table:
    width = job.reduction.shape[1]
    schema = differences_schema(width)
    rows = [(state, state.difference_r) for state in states if state.difference_r is not None]
    if not rows:
        return schema.empty_table()
    columns = {name: [state.key[place] for state, _ in rows] for place, name in enumerate(KEY_COLUMNS)}
    vectors_nr = _halve_precision(np.stack([vector_r for _, vector_r in rows]))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors_nr.ravel()), width)
    return pa.table({**columns, "difference": vectors}).cast(schema)


def _halve_precision(vectors_nr: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return vectors in half precision; one that it cannot hold is shortened as a whole, and keeps its direction."""
    longest_n = np.abs(vectors_nr).max(axis=1, keepdims=True, initial=0.0)
    shrink_n = np.minimum(float(np.finfo(np.float16).max) / np.maximum(longest_n, 1.0).astype(np.float64), 1.0)
    return np.asarray((vectors_nr * shrink_n).astype(np.float16))


def _random_evidence_table(states: Sequence[TurnState]) -> pa.Table:
    rows = [
        {
            **_key_columns(state),
            "layer": layer,
            "evidence": state.evidence.random_r[layer],
            "null_evidence": state.evidence.random_null_r[layer],
        }
        for state in states
        if state.evidence is not None
        for layer in state.evidence.random_r
        # A model without gradients has none of it.
        if np.isfinite(state.evidence.random_r[layer]).all() and np.isfinite(state.evidence.random_null_r[layer]).all()
    ]
    return pa.Table.from_pylist(rows, schema=RANDOM_EVIDENCE)


def _key_columns(state: TurnState) -> dict[str, int | str]:
    return dict(zip(KEY_COLUMNS, state.key, strict=True))


def _kept_text(value: str | int | float | bool | None) -> str | None:
    # One type for the column whatever the records hold: text as it is, other scalars as JSON.
    return value if value is None or isinstance(value, str) else json.dumps(value)
