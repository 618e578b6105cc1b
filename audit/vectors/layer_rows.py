"""The rows of a vector at its scoring layer and the layers below it, along which an ensemble over layers is read.

A row's length is kept beside its direction: projections at several layers go together only in lengths of the rows that
they are taken along, since rows differ in length by orders of magnitude from layer to layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audit.vectors.vector import PersonaVector

ENSEMBLE_LAYERS = 3
"""The scoring layer and the two below it. Layers above are left out: a scan does not run them."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerRow:
    """A row of a vector.

    Attributes:
        layer: decoder block, from 1.
        unit_d: float32 [d], of length 1.
        length: of the row as it is stored, in units of the residual stream; above 0.
    """

    layer: int
    unit_d: npt.NDArray[np.float32]
    length: float


def find_layer_rows(vector: PersonaVector, layer: int) -> tuple[LayerRow, ...]:
    """Return the rows at `layer` and at the two layers below it, highest first.

    Layer 0, the embedding, is none of them; a row that is zero, hence points nowhere, is left out.
    """
    rows = []
    for own in range(layer, max(layer - ENSEMBLE_LAYERS, 0), -1):
        row_d = vector.vector_ld[own].astype(np.float64)
        length = float(np.linalg.norm(row_d))
        if length > 0.0:
            rows.append(LayerRow(own, (row_d / length).astype(np.float32), length))
    return tuple(rows)
