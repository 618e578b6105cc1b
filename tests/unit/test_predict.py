"""The prediction of a baseline: the textbook's ridge, and residuals of models that did not see their rows."""

from __future__ import annotations

import numpy as np
import pytest

from audit.predict import cross_fit, fit_ridge


def draw(n: int, f: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((n, f)) * np.linspace(0.1, 50, f) + 7
    weights = generator.standard_normal((f, 2)) / np.linspace(0.1, 50, f)[:, None]
    return features, features @ weights + 3 + noise * generator.standard_normal((n, 2))


def test_without_noise_the_line_is_found() -> None:
    features, outputs = draw(200, 5, 0.0)
    assert np.allclose(fit_ridge(features, outputs).predict(features), outputs, atol=1e-2)


def test_it_solves_the_normal_equations_of_one_of_its_penalties() -> None:
    features, outputs = draw(80, 6, 20.0)
    model = fit_ridge(features, outputs)
    centred = (features - features.mean(axis=0)) / features.std(axis=0)
    scaled = model.weights_fo * features.std(axis=0)[:, None]
    for o in range(2):
        gap = centred.T @ (outputs[:, o] - outputs[:, o].mean()) - centred.T @ centred @ scaled[:, o]
        # gap = penalty * weights, with one penalty for all weights.
        penalty = gap @ scaled[:, o] / (scaled[:, o] @ scaled[:, o])
        assert penalty > 0
        assert np.allclose(gap, penalty * scaled[:, o], rtol=1e-6, atol=1e-9 * np.abs(gap).max())


def test_a_feature_that_does_not_vary_and_fewer_rows_than_features_are_harmless() -> None:
    features, outputs = draw(12, 30, 1.0)
    features[:, 3] = 5.0
    assert np.isfinite(fit_ridge(features, outputs).predict(features)).all()


def test_r2_is_what_fresh_rows_show() -> None:
    features, outputs = draw(3000, 8, 30.0)
    fit = cross_fit(features[:1000], outputs[:1000], seed=1)
    off = outputs[1000:] - fit.model.predict(features[1000:])
    fresh = 1 - (off**2).sum(axis=0) / ((outputs[1000:] - outputs[1000:].mean(axis=0)) ** 2).sum(axis=0)
    assert fit.r2_o == pytest.approx(fresh, abs=0.08)


def test_of_pure_noise_nothing_is_said_to_be_predicted() -> None:
    generator = np.random.default_rng(3)
    fit = cross_fit(generator.standard_normal((300, 40)), generator.standard_normal((300, 2)), seed=0)
    assert (fit.r2_o < 0.05).all()


def test_a_row_does_not_bear_on_its_own_out_of_sample_prediction() -> None:
    features, outputs = draw(100, 4, 5.0)
    before = cross_fit(features, outputs, seed=0).out_of_sample_no[17]
    outputs[17] += 1e4
    assert cross_fit(features, outputs, seed=0).out_of_sample_no[17] == pytest.approx(before, rel=1e-9)
