"""Evidence of answers that are bad by what they say alone, set by set; and of clean sets, as the control."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from audit.demo.evidence_bootstrap import resample_aucs
from audit.demo.evidence_scans import Pooled, ScannedTurns, pool_evidence, pool_random, scan_sets
from audit.demo.evidence_sets import SET_NAMES, draw_paired_set
from audit.demo.phrases import TRAITS
from audit.demo.world import clean_rows

PAIRS_SEED: Final = 9_504
N_PAIRS: Final = 240
CLEAN_SEEDS: Final = range(9_521, 9_541)
N_CLEAN: Final = 300

_BOOTSTRAP_SEED: Final = 9_511
_COLUMNS: Final = {
    "projection difference": "projection_difference",
    "orthogonal difference": "orthogonal_difference",
    "evidence z": "evidence_z",
    "evidence S": "evidence",
    "prompted evidence": "prompted_evidence",
    "prompted evidence z": "prompted_evidence_z",
}


def run_pairs(
    folder: Path, *, n: int = N_PAIRS, names: Sequence[str] = SET_NAMES, evidence: str = "full,prompt"
) -> dict[str, Any]:
    """Scan the paired sets as one dataset; compare bad with good rows by each score, and pool each side's evidence."""
    drawn = [draw_paired_set(name, n, PAIRS_SEED) for name in names]
    sets = {f"{own.name}, {side}": getattr(own, side) for own in drawn for side in ("bad", "good")}
    _, found = scan_sets(sets, folder, baseline="generate", evidence=evidence)
    tables = {}
    for place, own in enumerate(drawn):
        trait = own.along
        bad, good = found[f"{own.name}, bad"], found[f"{own.name}, good"]
        tables[own.name] = {
            "trait": own.trait,
            "read_along": trait,
            "n": n,
            "auc": compare_sides(bad, good, trait, _BOOTSTRAP_SEED + place),
            "bad": describe_pooled(pool_evidence(bad, trait)),
            "good": describe_pooled(pool_evidence(good, trait)),
            "excess_over_good": _pool_excess(bad, good, trait),
        }
    return {"seed": PAIRS_SEED, "sets": tables}


def compare_sides(bad: ScannedTurns, good: ScannedTurns, trait: str, seed: int) -> dict[str, dict[str, float]]:
    """Return the AUC of bad against good rows for each score that the scan has, with 95 % intervals."""
    scores = {
        label: np.concatenate([side.row_maximum(side.columns[column][trait]) for side in (bad, good)])
        for label, column in _COLUMNS.items()
        if bad.has(column) and good.has(column)
    }
    for label, values in (("loss", "nll_t"), ("length", "n_tokens_t")):
        scores[label] = np.concatenate([side.row_maximum(getattr(side, values)) for side in (bad, good)])
    is_bad = np.arange(bad.n_rows + good.n_rows) < bad.n_rows
    resampled = resample_aucs(scores, is_bad, seed=seed)
    estimates = {label: resampled.estimate(label) for label in scores}
    return {label: {"value": own.value, "low": own.low, "high": own.high} for label, own in estimates.items()}


def describe_pooled(pooled: Pooled) -> dict[str, Any]:
    """Return the pooled figures of a set, and in words how they stand to the band."""
    return {
        "pooled_z": pooled.z,
        "band": pooled.band,
        "largest_random": pooled.largest_random,
        "mean_z": pooled.mean_z,
        "finding": "above the band" if pooled.is_above else "below the band" if pooled.z < -pooled.band else "within",
    }


def _pool_excess(bad: ScannedTurns, good: ScannedTurns, trait: str) -> dict[str, float]:
    """Return how much further the bad side moves than the good one: along the trait, and the most at random."""
    random_r = pool_random(bad, trait) - pool_random(good, trait)
    return {
        "trait": pool_evidence(bad, trait).z - pool_evidence(good, trait).z,
        "largest_random": float(np.abs(random_r).max()),
    }


def run_clean(folder: Path, *, seeds: range = CLEAN_SEEDS, n: int = N_CLEAN) -> dict[str, Any]:
    """Pool the evidence of clean sets, which no band should let through, from one scan without baseline.

    Sums need no variance of single turns, so that the cheaper level will do.
    """
    sets = {str(seed): list(clean_rows(n, seed)) for seed in seeds}
    _, found = scan_sets(sets, folder, baseline="none", evidence="score")
    tables = {}
    for trait in TRAITS:
        pooled = [pool_evidence(turns, trait) for turns in found.values()]
        tables[trait] = {
            "n_above": sum(own.is_above for own in pooled),
            "largest_z": max(own.z for own in pooled),
            "smallest_z": min(own.z for own in pooled),
            "mean_pooled_z": float(np.mean([own.z for own in pooled])),
            "smallest_band": min(own.band for own in pooled),
            "largest_band": max(own.band for own in pooled),
            "sets": [describe_pooled(own) for own in pooled],
        }
    return {"seeds": list(seeds), "n_rows": n, "traits": tables}
