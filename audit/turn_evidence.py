"""Evidence of turns on their way through a scan: what is asked for, measured with the projections, kept and given back.

Knows turns and arrays; what evidence is, `model.evidence` says.

Axes: k trait, r random direction, v value that is kept of a turn.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audit.model.chat import TokenizedTurn
from audit.model.evidence import Evidence, EvidenceJob, EvidenceMeter, draw_random_directions
from audit.schema import RANDOM_DIRECTIONS
from audit.states import ScoringJob, TurnEvidence, TurnState

_CERTAIN = "no step of the response could have gone another way: its null variance is 0"
_NOT_FINITE = "its derivatives are not finite, or do not fit into memory (lower --max-tokens)"
_NO_STEP = "no token of the response has anything before it"


def make_evidence_job(level: str, vectors: dict[str, tuple[int, NDArray[np.float32]]]) -> EvidenceJob | None:
    """Return along what evidence is measured at a level; None where it is off.

    Args:
        vectors: trait → (layer, vector as stored [d]).
    """
    if level == "off":
        return None
    widths = {layer: len(vector_d) for layer, vector_d in vectors.values()}
    random = {layer: draw_random_directions(d, layer, RANDOM_DIRECTIONS) for layer, d in widths.items()}
    return EvidenceJob(level, vectors, random)


def open_meter(
    states: Sequence[TurnState], tokenized: Sequence[TokenizedTurn], groups: Sequence[int], job: ScoringJob
) -> EvidenceMeter | None:
    """Return what measures the responses of `states`, which come first among the tokenized turns; None if nothing is.

    Args:
        groups: the sample of every tokenized turn.
    """
    if job.evidence is None:
        return None
    return EvidenceMeter(
        job.model,
        tokenized,
        job.evidence,
        wanted=range(len(states)),
        # A turn's own, so that what is drawn for it does not depend on others.
        seeds={row: zlib.crc32(f"{job.seed} {state.key}".encode()) for row, state in enumerate(states)},
        groups=groups,
    )


def pack_evidence(evidence: Evidence, n_turns: int) -> NDArray[np.float32]:
    """Return what is kept of the first turns [n, v]: slopes, variances, loss, then random directions by layer."""
    parts = [evidence.score_nk, evidence.variance_nk, evidence.nll_n[:, None]]
    for layer in sorted(evidence.random_nr):
        parts += [evidence.random_nr[layer], evidence.random_null_nr[layer]]
    return np.concatenate(parts, axis=1)[:n_turns].astype(np.float32)


def take_evidence(state: TurnState, kept_v: NDArray[np.float32], job: ScoringJob) -> None:
    """Fill in `evidence` and `response_nll` of a turn from what was kept of it."""
    if job.evidence is None:
        return
    k = len(job.evidence.vectors)
    score_k, variance_k, nll, rest = kept_v[:k], kept_v[k : 2 * k], float(kept_v[2 * k]), kept_v[2 * k + 1 :]
    random_r, random_null_r = {}, {}
    for place, layer in enumerate(sorted(job.evidence.random)):
        r = len(job.evidence.random[layer])
        own = rest[2 * r * place : 2 * r * (place + 1)]
        random_r[layer], random_null_r[layer] = own[:r], own[r:]
    state.evidence = TurnEvidence(score_k, variance_k, random_r, random_null_r, _explain(state, score_k, variance_k))
    if np.isfinite(nll):
        state.response_nll = nll


def _explain(state: TurnState, score_k: NDArray[np.float32], variance_k: NDArray[np.float32]) -> str | None:
    if state.tokens is not None and state.tokens.stop <= max(state.tokens.start, 1) and state.tokens.end_id is None:
        return _NO_STEP
    if not np.isfinite(score_k).all():
        return _NOT_FINITE
    return _CERTAIN if bool((variance_k == 0).any()) else None
