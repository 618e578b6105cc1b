"""What a vector's report says of every layer, found by the names that its arrays have.

Knows names and shapes only; how the numbers were measured is the business of whoever wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_AUCS = ("auc_l", "validation_auc_l")


@dataclass(frozen=True, slots=True, eq=False)
class LayerAuc:
    """How well a trait separates at every layer, [L + 1] each; NaN where it was not measured.

    Attributes:
        auc_l: area under the ROC curve on rows that the vector was not measured on.
        low_l, high_l: its interval, if there is one.
        null_l: upper end of the band that directions without a meaning reach, if there is one.
    """

    auc_l: npt.NDArray[np.float64]
    low_l: npt.NDArray[np.float64] | None
    high_l: npt.NDArray[np.float64] | None
    null_l: npt.NDArray[np.float64] | None


def find_layer_arrays(report: Mapping[str, npt.NDArray[Any]], n_layers: int) -> dict[str, npt.NDArray[np.float64]]:
    """Return the arrays of a report that have one number per layer, [L + 1]."""
    return {
        name: array.astype(np.float64)
        for name, array in sorted(report.items())
        if array.shape == (n_layers + 1,) and array.dtype.kind in "fiub"
    }


def find_auc(report: Mapping[str, npt.NDArray[Any]], n_layers: int) -> LayerAuc | None:
    """Return the AUC per layer of a report; None where it has none."""
    arrays = find_layer_arrays(report, n_layers)
    name = next((name for name in _AUCS if name in arrays), None)
    if name is None:
        return None
    low, high, null = (
        arrays.get(name.replace("auc_l", f"auc_{part}_l")) if part else arrays.get("null_auc_l")
        for part in ("low", "high", "")
    )
    return LayerAuc(arrays[name], low, high, null)
