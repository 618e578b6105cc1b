"""A persona vector as a value, and what makes one unusable. Knows neither files nor models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.errors import VectorError
from audit.schema import is_trait_name
from audit.vectors.fingerprint import Fingerprint

LAYER_CONVENTION = "row l is the output of decoder block l, counted from 1; row 0 is the embedding"
PURPOSES = ("measure", "steer")


@dataclass(frozen=True, slots=True, eq=False)
class PersonaVector:
    """The direction of one trait at every layer of one model.

    Attributes:
        vector_ld: float32 [L + 1, d], as measured (not normalised), in units of the residual stream.
        layer: the scoring layer, 1 to L - 1.
        fingerprint: of the model it was measured on; None for an import that did not say.
        purpose: `measure`, or `steer` for vectors that a deployed model must never carry.
        details: what else is known, as JSON values, see `audit.vectors.details`.
        sha256: of the file; empty before it is saved.
    """

    trait: str
    vector_ld: npt.NDArray[np.float32]
    layer: int
    model_id: str
    fingerprint: Fingerprint | None
    purpose: str = "measure"
    recipe: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    path: str = ""
    has_report: bool = False

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks of the model, L."""
        return int(self.vector_ld.shape[0]) - 1

    def unit(self, layer: int) -> npt.NDArray[np.float32]:
        """Return row `layer` at length 1, float32 [d]; the norm is taken in float64.

        Raises:
            VectorError: the layer cannot be scored, or its row is zero.
        """
        check_layer(self.path or self.trait, layer, self.n_layers)
        row_d = self.vector_ld[layer].astype(np.float64)
        norm = float(np.linalg.norm(row_d))
        if norm == 0.0:
            raise VectorError(
                self.path or self.trait,
                f"the {self.trait} vector is zero at layer {layer}",
                "choose another --layer or extract the vector again",
            )
        unit_d: npt.NDArray[np.float32] = (row_d / norm).astype(np.float32)
        return unit_d


def check_vector(vector: PersonaVector) -> None:
    """Refuse a vector that cannot score anything.

    Raises:
        VectorError: an impossible trait, purpose, shape, dtype or layer; NaN or infinity; zero at its layer.
    """
    place = vector.path or vector.trait
    if not is_trait_name(vector.trait):
        raise VectorError(place, f"{vector.trait!r} is no trait name", "use lower-case letters, digits and _")
    if vector.purpose not in PURPOSES:
        raise VectorError(place, f"purpose {vector.purpose!r} is not known", f"choose one of {', '.join(PURPOSES)}")
    if vector.vector_ld.ndim != 2 or vector.vector_ld.dtype != np.float32:
        kind = f"{vector.vector_ld.dtype} {list(vector.vector_ld.shape)}"
        raise VectorError(place, f"the tensor is {kind}", "a vector is float32 [layers + 1, hidden size]")
    finite_ld = np.isfinite(vector.vector_ld)
    if not finite_ld.all():
        row = int(np.argmin(finite_ld.all(axis=1)))
        raise VectorError(place, f"NaN or infinity in row {row}", "extract the vector again")
    vector.unit(vector.layer)


def check_layer(place: str, layer: int, n_layers: int) -> None:
    """Refuse a layer that is no scoring layer.

    Raises:
        VectorError: it is not one of 1 to L - 1.
    """
    if not 1 <= layer <= n_layers - 1:
        why = {
            0: " (the embeddings)",
            n_layers: " (taken after the final norm, so of another kind)",
        }.get(layer, "")
        span = f"choose 1 to {n_layers - 1}" if n_layers > 1 else "a model of one block cannot be scored"
        raise VectorError(place, f"layer {layer} cannot be scored{why}", span)
