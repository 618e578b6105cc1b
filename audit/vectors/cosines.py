"""How alike the vectors of several traits are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from audit.vectors.fit import is_same_model
from audit.vectors.vector import PersonaVector


def cosine_matrix(vectors: Sequence[PersonaVector]) -> npt.NDArray[np.float64]:
    """Return cosines [k, k]: entry (i, j) compares vectors i and j at the scoring layer of i.

    NaN where they are of different models, or j is zero at that layer. Not symmetric where layers differ.
    """
    cosines_kk = np.full((len(vectors), len(vectors)), np.nan)
    for i, own in enumerate(vectors):
        own_d = own.vector_ld[own.layer].astype(np.float64)
        for j, other in enumerate(vectors):
            if not _are_comparable(own, other):
                continue
            other_d = other.vector_ld[own.layer].astype(np.float64)
            norms = float(np.linalg.norm(own_d) * np.linalg.norm(other_d))
            if norms > 0:
                cosines_kk[i, j] = float(np.clip(own_d @ other_d / norms, -1.0, 1.0))
    return cosines_kk


def _are_comparable(one: PersonaVector, other: PersonaVector) -> bool:
    if one.vector_ld.shape != other.vector_ld.shape:
        return False
    if one.fingerprint is None or other.fingerprint is None:
        return one.model_id == other.model_id
    return is_same_model(one.fingerprint, other.fingerprint)
