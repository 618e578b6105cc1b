"""Predict what the model's own response would project to, from its prompt alone, and judge that out of sample.

A ridge regression. The fit is repeated without each fifth of its prompts in turn, so that every prompt it was made
from also has a prediction, and hence a residual, of a model that never saw it. Arrays only; knows neither prompts nor
models.

Axes: n prompt, f feature, o output. A residual is what was observed minus what was predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

N_FOLDS = 5
_PENALTIES = np.logspace(-3, 5, 25)
"""Ridge penalties tried, in units of the standardised features' variance; chosen for each output by generalised
cross-validation (Golub, Heath and Wahba 1979)."""


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """A linear prediction: features [f] → outputs [o]."""

    weights_fo: Array
    offset_o: Array

    def predict(self, features_nf: NDArray[np.floating]) -> Array:
        """Return the predictions [n, o]; NaN for a prompt with a feature that is not finite."""
        return np.asarray(features_nf, dtype=np.float64) @ self.weights_fo + self.offset_o


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A prediction and how far it can be trusted.

    Attributes:
        model: fitted to all prompts.
        out_of_sample_no: for each prompt of the fit, the prediction of a model that did not see it.
        residual_no: observed minus predicted, out of sample.
        r2_o: share of the outputs' variance that is predicted out of sample; below 0 where the mean does better.
    """

    model: Ridge
    out_of_sample_no: Array
    residual_no: Array
    r2_o: Array


def fit_ridge(features_nf: NDArray[np.floating], outputs_no: NDArray[np.floating]) -> Ridge:
    """Fit outputs [n, o] to features [n, f], each output with a penalty of its own; all values are finite."""
    features = np.asarray(features_nf, dtype=np.float64)
    outputs = np.asarray(outputs_no, dtype=np.float64)
    centre_f, scale_f = features.mean(axis=0), features.std(axis=0)
    # A feature that does not vary says nothing, and dividing by its spread would.
    scale_f[scale_f <= 1e-12 * np.maximum(np.abs(centre_f), 1.0)] = np.inf
    centre_o = outputs.mean(axis=0)
    n = len(features)
    left_ns, values_s, right_sf = np.linalg.svd((features - centre_f) / scale_f, full_matrices=False)
    projected_so = left_ns.T @ (outputs - centre_o)
    shrinkage_ps = values_s**2 / (values_s**2 + n * _PENALTIES[:, None])
    # What no penalty can reach: the outputs' part outside the features' span.
    outside_o = ((outputs - centre_o) ** 2).sum(axis=0) - (projected_so**2).sum(axis=0)
    errors_po = ((1 - shrinkage_ps) ** 2) @ projected_so**2 + outside_o
    freedom_p = np.maximum(n - 1 - shrinkage_ps.sum(axis=1), 1e-9)
    best_o = (errors_po / freedom_p[:, None] ** 2).argmin(axis=0)
    inverse_so = np.zeros((len(values_s), len(best_o)))
    np.divide(shrinkage_ps[best_o].T, values_s[:, None], out=inverse_so, where=values_s[:, None] > 0)
    weights_fo = (right_sf.T @ (inverse_so * projected_so)) / scale_f[:, None]
    return Ridge(weights_fo, centre_o - centre_f @ weights_fo)


def cross_fit(features_nf: NDArray[np.floating], outputs_no: NDArray[np.floating], *, seed: int) -> Fit:
    """Fit all prompts, and each fifth once without being seen; the fifths are drawn with the seed."""
    outputs = np.asarray(outputs_no, dtype=np.float64)
    fold_n = np.random.default_rng([seed, len(outputs)]).permutation(len(outputs)) % N_FOLDS
    predicted_no = np.empty_like(outputs)
    for fold in range(N_FOLDS):
        held = fold_n == fold
        if held.any():
            predicted_no[held] = fit_ridge(features_nf[~held], outputs[~held]).predict(features_nf[held])
    residual_no = outputs - predicted_no
    spread_o = ((outputs - outputs.mean(axis=0)) ** 2).sum(axis=0)
    r2_o = 1 - np.divide((residual_no**2).sum(axis=0), spread_o, out=np.ones_like(spread_o), where=spread_o > 0)
    return Fit(fit_ridge(features_nf, outputs), predicted_no, residual_no, r2_o)
