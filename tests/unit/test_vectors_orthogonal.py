"""Traits made orthogonal to each other, against Gram-Schmidt by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audit.errors import VectorError
from audit.vectors import PersonaVector, orthogonalise
from tests.unit.test_vectors import make_vector

LAYERS = {"evil": 2, "kind": 2, "sly": 3}


def draw(**rows: Any) -> dict[str, PersonaVector]:
    """Return random vectors of three traits; `rows` replaces a trait's vector."""
    generator = np.random.default_rng(5)
    drawn = {trait: generator.normal(size=(5, 8)) for trait in LAYERS} | rows
    return {
        trait: make_vector(trait=trait, vector_ld=vector_ld.astype(np.float32)) for trait, vector_ld in drawn.items()
    }


def remove_by_gram_schmidt(own_d: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    basis: list[np.ndarray] = []
    for other_d in others:
        left_d = other_d.astype(np.float64)
        for base_d in basis:
            left_d = left_d - (left_d @ base_d) * base_d
        basis.append(left_d / np.sqrt(left_d @ left_d))
    left_d = own_d.astype(np.float64)
    for base_d in basis:
        left_d = left_d - (left_d @ base_d) * base_d
    return left_d


def test_every_trait_keeps_what_gram_schmidt_leaves_of_it_at_its_own_layer() -> None:
    vectors = draw()
    # Lengths must not matter, as they differ by orders of magnitude between traits.
    vectors["kind"] = make_vector(trait="kind", vector_ld=vectors["kind"].vector_ld * np.float32(1e4))
    for trait, own in orthogonalise(vectors, LAYERS).items():
        rows = {name: vector.vector_ld[LAYERS[trait]] for name, vector in vectors.items()}
        left_d = remove_by_gram_schmidt(rows[trait], [row_d for name, row_d in rows.items() if name != trait])
        length = np.sqrt(left_d @ left_d)
        assert own.unit_d.dtype == np.float32
        assert own.unit_d == pytest.approx(left_d / length, abs=1e-6)
        assert own.own_share == pytest.approx(length / np.linalg.norm(rows[trait].astype(np.float64)), rel=1e-6)
        for name, row_d in rows.items():
            if name != trait:
                assert abs(own.unit_d @ row_d) < 1e-6 * np.linalg.norm(row_d)


def test_traits_that_nearly_coincide_stay_orthogonal() -> None:
    base_ld = np.random.default_rng(1).normal(size=(5, 8))
    close_ld = base_ld + 0.01 * np.random.default_rng(2).normal(size=(5, 8))
    vectors = draw(kind=base_ld, evil=close_ld)
    parted = orthogonalise(vectors, LAYERS)
    kind_d = vectors["kind"].vector_ld[2].astype(np.float64)
    assert parted["evil"].own_share < 0.02
    assert abs(parted["evil"].unit_d @ kind_d) < 1e-6 * np.linalg.norm(kind_d)


def test_a_mixture_of_other_traits_is_refused_and_they_are_named() -> None:
    vectors = draw()
    mixture_ld = 2 * vectors["evil"].vector_ld - vectors["kind"].vector_ld
    generator = np.random.default_rng(7)
    vectors["rude"] = make_vector(trait="rude", vector_ld=generator.normal(size=(5, 8)).astype(np.float32))
    vectors["sly"] = make_vector(trait="sly", vector_ld=mixture_ld)
    with pytest.raises(VectorError) as caught:
        orthogonalise(vectors, {**LAYERS, "rude": 2})
    assert all(trait in str(caught.value) for trait in ("evil", "kind", "sly"))
    assert "rude" not in str(caught.value)


def test_a_vector_of_one_layer_cannot_be_parted_from_at_another() -> None:
    one_row_ld = np.zeros((5, 8))
    one_row_ld[2] = 1.0
    with pytest.raises(VectorError, match="kind vector is zero at layer 3, where sly is scored"):
        orthogonalise(draw(kind=one_row_ld), LAYERS)
