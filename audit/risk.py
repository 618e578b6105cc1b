"""The combined score that flags are made from where evidence was measured: orthogonal difference + evidence z.

Each is standardised by the turns of a clean reference, and they weigh the same: what a response looks like, without
what the trait shares with the others, and what it would teach. The weights were fixed in advance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.config import EVIDENCE_LEVELS


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and standard deviation over a clean reference's turns, of the orthogonal difference and of evidence z."""

    difference_mean: float
    difference_sd: float
    z_mean: float
    z_sd: float

    def combine(self, difference: NDArray[np.floating], z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the risk of turns; a turn without z (NaN) counts its null expectation, 0, in its place."""
        expected_z = np.where(np.isfinite(z), z, 0.0).astype(np.float64)
        standardised = (np.asarray(difference, dtype=np.float64) - self.difference_mean) / self.difference_sd
        return np.asarray(standardised + (expected_z - self.z_mean) / self.z_sd)


@dataclass(frozen=True, slots=True)
class FlagRule:
    """The score of a turn that flags will be made from, before all its parts are known.

    Axes: n turn, k direction (the traits', then those orthogonal to the other traits, if any), v evidence.

    Attributes:
        n_traits: how many traits there are.
        moments: of each trait, where flags are made from the combined score; None: from the plain one.
    """

    n_traits: int
    moments: tuple[Moments, ...] | None = None

    def score(self, difference_nk: NDArray[np.floating], evidence_nv: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores [n, trait] of turns, from true differences or predicted ones."""
        own_nk = self._own(difference_nk)
        if self.moments is None:
            return own_nk
        z_nk = self._z(evidence_nv)
        return np.stack([own.combine(own_nk[:, k], z_nk[:, k]) for k, own in enumerate(self.moments)], axis=1)

    def scale(self, residual_mk: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return residuals of baselines as they shift scores [m, trait]; evidence is known, hence has none."""
        own_mk = self._own(residual_mk)
        return own_mk if self.moments is None else own_mk / np.array([own.difference_sd for own in self.moments])

    def _own(self, values_nk: NDArray[np.floating]) -> NDArray[np.float64]:
        # Where traits are parted, the combined score takes the orthogonal direction, the plain one the trait's own.
        is_parted = self.moments is not None and values_nk.shape[1] > self.n_traits
        own_nk = values_nk[:, self.n_traits :] if is_parted else values_nk[:, : self.n_traits]
        return np.asarray(own_nk, dtype=np.float64)

    def _z(self, evidence_nv: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return evidence z; NaN where it was not measured or no step could have gone another way."""
        k = self.n_traits
        if not evidence_nv.shape[1]:
            return np.full((len(evidence_nv), k), np.nan)
        variance_nk = evidence_nv[:, k : 2 * k].astype(np.float64)
        return np.asarray(evidence_nv[:, :k] / np.sqrt(np.where(variance_nk > 0, variance_nk, np.nan)))


def evidence_level(manifest: Mapping[str, Any]) -> str:
    """Return how far a run measured evidence along vectors: off, score or full."""
    parts = str(manifest["config"].get("evidence", "off")).split(",")
    return next((part for part in parts if part in EVIDENCE_LEVELS), "off")


def measures_both(manifest: Mapping[str, Any]) -> bool:
    """Tell whether the turns of a run have differences and evidence z, so that their scores can be combined.

    Where a run parts no traits (there is one alone, or it scores along orthogonal directions anyway), its projection
    difference takes the place of the orthogonal one.
    """
    return evidence_level(manifest) == "full" and manifest["baseline"]["kind"] != "none"
