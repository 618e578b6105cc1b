"""A clean reference of made-up scores, for what is held against one."""

from __future__ import annotations

import numpy as np

from audit.reference import Reference, TraitScores, make_reference

SHA = "a" * 64


def trait_scores(values: np.ndarray, layer: int = 2) -> TraitScores:
    """Return scores of samples of one turn each."""
    return TraitScores(layer, SHA, values, values)


def clean_reference(seed: int = 0, n: int = 2000, traits: tuple[str, ...] = ("evil", "kind")) -> Reference:
    """Return a reference of n standard normal scores a trait."""
    generator = np.random.default_rng(seed)
    return make_reference(
        "clean",
        model_fingerprint="f",
        score_kind="difference",
        scored_with={"baseline": "generate", "turns": "all"},
        scores={trait: trait_scores(generator.normal(size=n)) for trait in traits},
        seed=0,
    )
