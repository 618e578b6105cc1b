"""The probe before a scan: does the model know this kind of text, and how good is the cheap baseline here?

The bundled demo model knows only its own small world: on real English its loss is 10 nats a token, in its world .65
(measured; any threshold from 3 to 6 separates). Its scores out there mean nothing, so they get no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from audit.known import TurnKey
from audit.samples import Sample
from audit.schema import SCORED_SIDES
from audit.score import correlation
from audit.shard import score_turns
from audit.states import ScoringJob

PROBE_SAMPLES = 256
AGREEMENT_SAMPLES = 64
DEMO_DOMAIN_NLL = 4.5
"""Nats per token; midway between the demo world's maximum and real English's minimum on a log scale."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What the probe found: losses in nats per token; `in_domain` is None where no threshold is known."""

    n_probed: int
    mean_nll: float | None
    out_share: float | None
    threshold: float | None
    in_domain: bool | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as the manifest keeps them."""
        return asdict(self)

    @property
    def notice(self) -> str | None:
        """A sentence for the user where the samples lie outside the model's domain, wholly or in part."""
        if self.mean_nll is None or self.out_share is None or self.threshold is None or self.out_share == 0:
            return None
        finding = (
            f"mean loss {self.mean_nll:.1f} nats a token; {self.out_share:.0%} of the probe above {self.threshold}"
        )
        if self.in_domain:
            return f"some samples lie outside the demo model's domain ({finding}): they are scored but never flagged"
        return (
            f"OUT OF DOMAIN: the demo model does not know this kind of text ({finding}). Its scores are stored but "
            "mean nothing here, and no verdict is given. Name a model of your own with --model and --vectors."
        )


def choose_probe(n_records: int, seed: int) -> frozenset[int]:
    """Return the seeded sample ids of the probe, at most 256."""
    chosen = np.random.default_rng([seed, n_records]).choice(n_records, min(n_records, PROBE_SAMPLES), replace=False)
    return frozenset(int(sample_id) for sample_id in chosen)


def describe_domain(nll_by_turn: Mapping[TurnKey, float], threshold: float | None) -> Domain:
    """Judge from the probe's losses whether the dataset lies in the model's domain (more than half of it must)."""
    # A rejected side is not trained towards, so it does not say what the data is like.
    counted = {key: nll for key, nll in nll_by_turn.items() if key[1] in SCORED_SIDES}
    if not counted:
        return Domain(0, None, None, threshold, None)
    losses = np.asarray(list(counted.values()))
    n_probed = len({sample_id for sample_id, *_ in counted})
    if threshold is None:
        return Domain(n_probed, float(losses.mean()), None, None, None)
    out_share = float((losses > threshold).mean())
    return Domain(n_probed, float(losses.mean()), out_share, threshold, out_share <= 0.5)


def choose_agreement_samples(probe: Sequence[Sample], seed: int) -> list[Sample]:
    """Return the seeded samples of the probe, at most 64, whose true baseline is compared with the cheap one."""
    generator = np.random.default_rng([seed, len(probe)])
    chosen = np.sort(generator.choice(len(probe), min(len(probe), AGREEMENT_SAMPLES), replace=False))
    return [probe[position] for position in chosen]


def measure_agreement(samples: Sequence[Sample], job: ScoringJob) -> dict[str, float | None]:
    """Return, per trait, the correlation of the prompt baseline's difference with the true one on some samples.

    The job holds the model's own answers to them. Source: arXiv 2507.21509, appendix I, where the cheap difference
    agrees well for some traits and badly for others.
    """
    states = score_turns(samples, replace(job, baseline="generate", is_nll_for_all=False))
    cheap, true = [], []
    for state in states:
        if state.baseline_projection_k is not None:
            assert state.projection_k is not None
            assert state.prompt_projection_k is not None
            cheap.append(state.projection_k - state.prompt_projection_k)
            true.append(state.projection_k - state.baseline_projection_k)
    if not cheap:
        return dict.fromkeys(job.units)
    cheap_nk, true_nk = np.stack(cheap), np.stack(true)
    return {trait: correlation(cheap_nk[:, k], true_nk[:, k]) for k, trait in enumerate(job.units)}
