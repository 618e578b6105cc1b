"""Read responses and prompts before any y′ is there: one forward pass over what the dataset holds.

Knows the forward pass of a block; what the numbers are for is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audit.known import Floats, ResponseTable
from audit.model.hidden import project_turns
from audit.samples import Sample
from audit.shard import tokenize_samples
from audit.states import ScoringJob, TurnState
from audit.turn_evidence import open_meter, pack_evidence


def read_responses(samples: Sequence[Sample], job: ScoringJob) -> ResponseTable:
    """Run the model over prompts and responses; turns whose hidden states are not finite are left out."""
    assert job.answers is not None
    states = [state for state in tokenize_samples(samples, job) if state.tokens is not None]
    # A column of the reduction is one more direction: its projections are the reduced states.
    reduced = {f"-{r}": (job.difference_layer, column) for r, column in enumerate(job.reduction.T)}
    tokenized = [state.tokens for state in states if state.tokens is not None]
    groups = [state.sample_id for state in states]
    meter = open_meter(states, tokenized, groups, job)
    found = project_turns(
        job.model,
        tokenized,
        units={**job.directions, **reduced},
        batch_tokens=job.batch_tokens,
        windowed=job.units,
        groups=groups,
        meter=meter,
    )
    nothing_nv = np.zeros((len(states), 0), dtype=np.float32)
    evidence_nv = pack_evidence(meter.evidence, len(states)) if meter is not None else nothing_nv
    finite_n = np.asarray(np.isfinite(found.projection_nk).all(axis=1))
    kept = [state for state, is_finite in zip(states, finite_n, strict=True) if is_finite]
    k = len(job.directions)
    return ResponseTable(
        keys=[state.key for state in kept],
        prompt_n=np.array(
            job.answers.find_positions([state.rendered.prompt_text for state in kept if state.rendered is not None]),
            dtype=np.int64,
        ),
        own_nk=found.projection_nk[finite_n, :k],
        prompt_nk=found.prompt_projection_nk[finite_n, :k],
        own_nr=found.projection_nk[finite_n, k:],
        feature_nf=_describe_prompts(kept, found.prompt_projection_nk[finite_n]),
        window_nw=found.window_nw[finite_n],
        evidence_nv=evidence_nv[finite_n],
    )


def _describe_prompts(states: Sequence[TurnState], last_nv: Floats) -> Floats:
    """Return the features of prompts: the last state along every vector and reduced, and the log of the length."""
    lengths_n = np.array([state.tokens.n_prompt_tokens if state.tokens else 0 for state in states], dtype=np.float32)
    return np.concatenate([last_nv, np.log1p(lengths_n)[:, None]], axis=1)
