"""Moments gathered block by block are those of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from audit.scatter import find_whitening, measure_scatter


def test_moments_over_blocks_are_those_of_all_vectors() -> None:
    generator = np.random.default_rng(0)
    vectors = (generator.normal(size=(500, 6)) @ generator.normal(size=(6, 6)) + 1_000).astype(np.float32)
    numbers = generator.normal(size=(500, 2)).astype(np.float32)
    numbers[:, 1] += vectors[:, 2]
    scatter = measure_scatter([vectors[:1], vectors[1:1], vectors[1:300], vectors[300:]], numbers)
    assert scatter is not None
    exact = vectors.astype(np.float64)
    assert scatter.n == 500
    np.testing.assert_allclose(scatter.mean_r, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scatter.covariance_rr, np.cov(exact.T, ddof=0), rtol=1e-3, atol=1e-3)
    centred = numbers.astype(np.float64) - numbers.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(scatter.cross_rk, exact.T @ centred / 500, atol=1e-2)


def test_a_missing_number_counts_as_the_mean() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    numbers = vectors[:, :1].copy()
    numbers[7] = np.nan
    filled = np.where(np.isnan(numbers), np.nanmean(numbers), numbers)
    one, other = measure_scatter([vectors], numbers), measure_scatter([vectors], filled)
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.cross_rk, other.cross_rk, atol=1e-6)


def test_no_vectors_have_no_moments() -> None:
    assert measure_scatter([]) is None
    assert measure_scatter([np.zeros((0, 4), np.float32)]) is None


def test_whitened_vectors_spread_alike_in_all_directions() -> None:
    vectors = np.random.default_rng(0).normal(size=(2_000, 4)) * [100, 10, 1, 0.1]
    whitening = find_whitening(np.cov(vectors.T), 0.0)
    assert whitening is not None
    np.testing.assert_allclose(np.cov((vectors @ whitening).T), np.eye(4), atol=1e-3)


@pytest.mark.parametrize("covariance", [np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_what_does_not_vary_has_no_whitening(covariance: np.ndarray) -> None:
    assert find_whitening(covariance, 0.1) is None
