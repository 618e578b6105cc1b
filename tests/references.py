"""A clean reference of made-up scores, for what is held against one."""

from __future__ import annotations

import numpy as np

from audit.flag import Records
from audit.reference import Reference, TraitReference, TraitRisks, TraitScores, describe_turns

SHA = "a" * 64


def trait_scores(values: np.ndarray, layer: int = 2) -> TraitScores:
    """Return scores of samples of one turn each."""
    return TraitScores(layer, SHA, values, values)


def trait_reference(values: np.ndarray, layer: int = 2) -> TraitReference:
    """Return the reference of clean samples of one turn each."""
    sd = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return TraitReference(layer, SHA, describe_turns(values), float(values.mean()), sd, values.size)


def clean_reference(seed: int = 0, n: int = 2000, traits: tuple[str, ...] = ("evil", "kind")) -> Reference:
    """Return a reference of n standard normal scores a trait."""
    generator = np.random.default_rng(seed)
    return Reference(
        "clean",
        "f",
        "difference",
        {"baseline": "generate", "turns": "all"},
        n,
        {trait: trait_reference(generator.normal(size=n)) for trait in traits},
    )


def records(
    n: int,
    *,
    sample_ids: np.ndarray | None = None,
    judged: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
    n_turns: np.ndarray | None = None,
) -> Records:
    """Return n records of one turn each, all judged, none with a predicted baseline."""
    return Records(
        np.arange(n) if sample_ids is None else sample_ids,
        np.ones(n, dtype=bool) if judged is None else judged,
        np.zeros(n, dtype=bool) if predicted is None else predicted,
        np.ones(n, dtype=np.int64) if n_turns is None else n_turns,
    )


def no_risks(n: int) -> TraitRisks:
    """Return what is known beside plain scores in a run that measured nothing else."""
    nothing = np.full(n, np.nan)
    return TraitRisks(nothing, nothing, nothing, nothing, None, None)
