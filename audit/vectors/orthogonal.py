"""Vectors of several traits made orthogonal to each other, so that what traits share is scored for none of them.

At its scoring layer a trait's row loses its projection on the span of the other traits' rows there; what is left is the
direction that this trait has for itself. Layers are those of each trait, so the same two traits may be parted at two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audit.errors import VectorError
from audit.vectors.vector import PersonaVector

LEAST_OWN_SHARE = 1e-3
"""A trait that has less of its own than this is a mixture of the others: what is left is their rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Orthogonal:
    """What a trait has for itself.

    Attributes:
        unit_d: float32 [d], of length 1, orthogonal to the other traits' rows.
        own_share: its length before it was scaled, by the length of the trait's own row: 0 to 1.
    """

    unit_d: npt.NDArray[np.float32]
    own_share: float


def orthogonalise(vectors: Mapping[str, PersonaVector], layers: Mapping[str, int]) -> dict[str, Orthogonal]:
    """Return every trait's direction at its layer without its projection on the span of the others there.

    Args:
        vectors: by trait, all of one model.
        layers: the scoring layer of every trait.

    Raises:
        VectorError: traits that depend on each other linearly (they are named); a row that is zero.
    """
    return {trait: _part(trait, vectors, layers[trait]) for trait in vectors}


def _part(trait: str, vectors: Mapping[str, PersonaVector], layer: int) -> Orthogonal:
    own_d = _row(trait, vectors[trait], trait, layer)
    others = [name for name in vectors if name != trait]
    if not others:
        return Orthogonal(own_d.astype(np.float32), 1.0)
    others_dk = np.stack([_row(name, vectors[name], trait, layer) for name in others], axis=1)
    # Least squares, not QR: the others may depend on each other, which is then said of them.
    weights_k, *_ = np.linalg.lstsq(others_dk, own_d, rcond=None)
    left_d = own_d - others_dk @ weights_k
    # Once more: what rounding left of the others is as large as what is left of the trait where that is little.
    left_d -= others_dk @ np.linalg.lstsq(others_dk, left_d, rcond=None)[0]
    own_share = float(np.linalg.norm(left_d))
    if own_share < LEAST_OWN_SHARE:
        shared = [name for name, weight in zip(others, weights_k, strict=True) if abs(weight) > LEAST_OWN_SHARE]
        raise VectorError(
            "--orthogonal",
            f"at layer {layer} the {trait} vector has nothing of its own beside {', '.join(shared)}",
            "leave one of these traits out with --traits",
        )
    return Orthogonal((left_d / own_share).astype(np.float32), own_share)


def _row(name: str, vector: PersonaVector, trait: str, layer: int) -> npt.NDArray[np.float64]:
    """Return a row at length 1: only directions count, and lengths differ by orders of magnitude between layers."""
    row_d = vector.vector_ld[layer].astype(np.float64)
    norm = float(np.linalg.norm(row_d))
    if norm == 0.0:
        finding = f"the {name} vector is zero at layer {layer}, where {trait} is scored"
        raise VectorError(vector.path or name, finding, "score at a --layer that all vectors have, or choose --traits")
    unit_d: npt.NDArray[np.float64] = row_d / norm
    return unit_d
