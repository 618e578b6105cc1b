"""Evidence on the demo model's own samples, where its null is exact: z has mean 0 and variance 1 for any direction.

Then the same with an error planted, which has to show. Random directions go the way of the traits' vectors, so that
their variance is exact, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from audit.assets import demo_model_dir, demo_vectors_dir
from audit.demo.evidence_samples import ERRORS, OwnSamples, draw_own_samples
from audit.model.evidence import EvidenceJob, measure_evidence
from audit.model.load import LoadedModel, load_model
from audit.model.turns import TokenizedTurn
from audit.vectors import PersonaVector, load_vectors

Floats = npt.NDArray[np.float64]

SAMPLES_SEED: Final = 9_505
N_SAMPLES: Final = 1_200
N_FAULTY: Final = 400
N_RANDOM: Final = 20
TAIL_Z: Final = 2.33
"""A standard normal variable is larger with probability .0099."""

_RANDOM_SEED: Final = 9_506
_BATCH_TOKENS: Final = 8_192


def make_job(vectors: Mapping[str, PersonaVector], n_random: int) -> EvidenceJob:
    """Ask for evidence along vectors and, under names of their own, along random unit directions of their layers."""
    directions = {trait: (vector.layer, vector.vector_ld[vector.layer]) for trait, vector in vectors.items()}
    generator = np.random.default_rng(_RANDOM_SEED)
    layers = sorted({layer for layer, _ in directions.values()})
    for number in range(n_random):
        layer = layers[number % len(layers)]
        drawn_d = generator.standard_normal(next(iter(directions.values()))[1].shape)
        directions[f"random_{number}"] = (layer, (drawn_d / np.linalg.norm(drawn_d)).astype(np.float32))
    return EvidenceJob(level="full", vectors=directions, random={})


def tabulate_null(model: LoadedModel, turns: Sequence[TokenizedTurn], job: EvidenceJob) -> dict[str, Any]:
    """Measure turns and describe the z of each direction, and how surprising the tokens were.

    Returns mean, SD and upper tail of z and the pooled Z by direction under `directions`, and under `surprise` the
    same of Σ(−log p(y_t) − H_t) / √ΣVar(log p), which needs no direction.
    """
    found = measure_evidence(model, turns, job=job, batch_tokens=_BATCH_TOKENS, seeds=range(len(turns)))
    directions = {name: describe_z(found.score_nk[:, k], found.variance_nk[:, k]) for k, name in enumerate(job.vectors)}
    return {
        "n": len(turns),
        "directions": directions,
        "surprise": describe_z(found.surprise_n, found.surprise_variance_n),
    }


def describe_z(score_n: Floats, variance_n: Floats) -> dict[str, float]:
    """Return mean, SD and tail share of z = S / √W and the pooled Z = ΣS / √ΣW; terms without variance are left out."""
    has_z = np.isfinite(score_n) & (variance_n > 0)
    score, variance = np.asarray(score_n)[has_z], np.asarray(variance_n)[has_z]
    z_n = score / np.sqrt(variance)
    return {
        "mean_z": float(z_n.mean()),
        "sd_z": float(z_n.std(ddof=1)),
        "tail": float((z_n > TAIL_Z).mean()),
        "pooled_z": float(score.sum() / np.sqrt(variance.sum())),
        "n": int(has_z.sum()),
    }


def summarise_random(directions: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the extremes over the random directions of a table."""
    rows = [row for name, row in directions.items() if name.startswith("random_")]
    return {
        "n_directions": len(rows),
        "largest_abs_mean": max(abs(row["mean_z"]) for row in rows),
        "smallest_sd": min(row["sd_z"] for row in rows),
        "largest_sd": max(row["sd_z"] for row in rows),
        "largest_tail": max(row["tail"] for row in rows),
        "largest_abs_pooled_z": max(abs(row["pooled_z"]) for row in rows),
    }


def run_null(n_samples: int = N_SAMPLES, n_faulty: int = N_FAULTY) -> dict[str, Any]:
    """Measure the null, and what planted errors make of it."""
    model = load_model(model=str(demo_model_dir()))
    vectors = load_vectors([str(demo_vectors_dir())])
    samples = draw_own_samples(model, n_samples, SAMPLES_SEED)
    own = tabulate_null(model, samples.turns, make_job(vectors, N_RANDOM))
    first = OwnSamples(samples.questions[:n_faulty], samples.turns[:n_faulty], 0, 0)
    job = make_job(vectors, 0)
    planted = {"none": tabulate_null(model, first.turns, job)} | {
        error: tabulate_null(model, plant(first, model), job) for error, plant in ERRORS.items()
    }
    return {
        "seed": SAMPLES_SEED,
        "n_empty": samples.n_empty,
        "n_unended": samples.n_unended,
        "own": own | {"random": summarise_random(own["directions"])},
        "planted": planted,
    }
