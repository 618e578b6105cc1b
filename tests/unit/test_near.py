"""Near-duplicates of flagged samples are those that brute force finds, and none where nothing differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from audit.near import SIMILARITY, NearDuplicates, find_near
from audit.scatter import measure_scatter


def search(vectors: np.ndarray, flagged: np.ndarray, n_blocks: int = 3, **options: int) -> NearDuplicates:
    read: Callable[[], Iterable[np.ndarray]] = lambda: np.array_split(vectors, n_blocks)  # noqa: E731
    scatter = measure_scatter(read())
    assert scatter is not None
    return find_near(read, flagged, scatter, seed=0, **options)


def brute_force(vectors: np.ndarray, flagged: np.ndarray) -> dict[int, tuple[int, float]]:
    """Whitened cosines by their definition: the covariance plus .1 + r / n of its mean variance."""
    n, r = vectors.shape
    exact = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    covariance = exact.T @ exact / n
    precision = np.linalg.inv(covariance + (0.1 + r / n) * np.trace(covariance) / r * np.eye(r))
    products = exact @ precision @ exact.T
    lengths = np.sqrt(np.diag(products))
    cosines = products / lengths[:, None] / lengths
    found = {}
    for i in np.flatnonzero(~flagged):
        nearest = np.flatnonzero(flagged)[cosines[i, flagged].argmax()]
        if cosines[i, nearest] >= SIMILARITY:
            found[int(i)] = (int(nearest), float(cosines[i, nearest]))
    return found


def plant(n: int, n_flagged: int, n_near: int, noise: float) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """Return vectors of unequal spread, flags, and which samples were made from which flagged ones."""
    generator = np.random.default_rng(0)
    scale = np.geomspace(10, 0.1, 32)
    vectors = generator.normal(size=(n, 32))
    flagged = np.zeros(n, dtype=bool)
    flagged[generator.choice(n, n_flagged, replace=False)] = True
    copies = generator.choice(np.flatnonzero(~flagged), n_near, replace=False)
    originals = generator.choice(np.flatnonzero(flagged), n_near)
    vectors[copies] = vectors[originals] + noise * generator.normal(size=(n_near, 32))
    return (
        (vectors * scale + 3).astype(np.float32),
        flagged,
        dict(zip(copies.tolist(), originals.tolist(), strict=True)),
    )


def test_what_is_found_is_what_brute_force_finds() -> None:
    vectors, flagged, planted = plant(600, 40, 50, 0.3)
    near, expected = search(vectors, flagged), brute_force(vectors, flagged)
    assert set(planted) <= set(expected)
    assert near.position_m.tolist() == sorted(expected)
    assert near.flagged_m.tolist() == [expected[i][0] for i in sorted(expected)]
    np.testing.assert_allclose(near.similarity_m, [expected[i][1] for i in sorted(expected)], atol=1e-3)
    assert near.n_compared_with == 40


def test_among_many_flagged_samples_planted_pairs_are_still_found() -> None:
    # More than 16 cells of 64, so that the search is approximate.
    vectors, flagged, planted = plant(12_000, 4_000, 500, 0.3)
    near = search(vectors, flagged, n_blocks=12)
    found = dict(zip(near.position_m.tolist(), near.flagged_m.tolist(), strict=True))
    assert sum(found.get(copy) == original for copy, original in planted.items()) >= 475
    assert not flagged[near.position_m].any()
    assert flagged[near.flagged_m].all()


def test_of_too_many_flagged_samples_a_seeded_part_is_compared() -> None:
    vectors, flagged, _ = plant(600, 100, 50, 0.3)
    one, two = (search(vectors, flagged, most_flagged=30) for _ in range(2))
    assert one.n_compared_with == 30
    assert len(set(one.flagged_m.tolist())) <= 30
    assert one.position_m.tolist() == two.position_m.tolist()


@pytest.mark.parametrize("value", [0.0, 1.0, 60_000.0])
def test_rows_that_are_all_equal_are_near_to_nothing(value: float) -> None:
    near = search(np.full((30, 4), value, np.float32), np.arange(30) < 3)
    assert near.position_m.size == 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_both_kinds_of_rows_nothing_is_found(share: float) -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    assert search(vectors, np.full(30, bool(share))).position_m.size == 0


def test_a_response_that_does_not_differ_from_its_baseline_is_near_to_none() -> None:
    vectors, flagged, _ = plant(300, 20, 0, 0.0)
    same = np.flatnonzero(flagged)[:1].tolist() + np.flatnonzero(~flagged)[:5].tolist()
    vectors[same] = 0.0
    near = search(vectors, flagged)
    assert not set(same) & {*near.position_m.tolist(), *near.flagged_m.tolist()}
    assert np.isfinite(near.similarity_m).all()


def test_two_vectors_of_one_dimension_are_compared() -> None:
    near = search(np.array([[1.0], [2.0]], np.float32), np.array([True, False]), n_blocks=1)
    assert near.position_m.size == 0
