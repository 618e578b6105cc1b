"""Unnamed directions: a planted minority is found, what is known is not, and equal rows give nothing."""

from __future__ import annotations

import numpy as np
import pytest

from audit.scatter import measure_scatter
from audit.score import rank_auc
from audit.unnamed import UnnamedDirection, find_unnamed

WIDTH = 24


def draw(n: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, WIDTH)) * np.geomspace(5, 1, WIDTH)).astype(np.float32)


def search(
    vectors: np.ndarray, known: np.ndarray | None = None, clean: np.ndarray | None = None, n_blocks: int = 3
) -> list[UnnamedDirection]:
    scatter = measure_scatter([vectors])
    assert scatter is not None
    moments = None if clean is None else measure_scatter([clean])
    return find_unnamed(
        lambda: np.array_split(vectors, n_blocks),
        np.zeros((0, vectors.shape[1])) if known is None else known,
        scatter,
        clean_mean_r=None if moments is None else moments.mean_r,
        clean_covariance_rr=None if moments is None else moments.covariance_rr,
    )


def plant(n: int = 2_000, axis: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of which 8 % lie far out along an axis of little spread."""
    vectors, is_planted = draw(n), np.arange(n) < 0.08 * n
    vectors[is_planted, axis] -= 14.0
    return vectors, is_planted


@pytest.mark.parametrize("has_clean", [True, False])
def test_a_minority_stands_at_the_high_end_of_the_first_direction(has_clean: bool) -> None:
    vectors, is_planted = plant()
    found = search(vectors, clean=draw(2_000, seed=1) if has_clean else None)
    assert len(found) == 5
    assert rank_auc(vectors @ found[0].unit_r, is_planted) > 0.95
    assert is_planted[found[0].high].all()
    assert not is_planted[found[0].low].any()
    assert (found[0].spread is not None) == has_clean


def test_spread_and_skew_are_what_they_are_called() -> None:
    vectors, clean = plant()[0], draw(3_000, seed=1)
    for own in search(vectors, clean=clean):
        along, clean_along = vectors @ own.unit_r, clean @ own.unit_r
        assert np.linalg.norm(own.unit_r) == pytest.approx(1.0)
        assert own.spread == pytest.approx(np.mean((along - clean_along.mean()) ** 2) / clean_along.var(), rel=1e-3)
        centred = along - along.mean()
        assert own.skew == pytest.approx(np.mean(centred**3) / along.std() ** 3, rel=1e-3, abs=1e-3)
        assert own.skew >= 0
        assert own.high.tolist() == np.argsort(-along, kind="stable")[:50].tolist()
        assert own.low.tolist() == np.argsort(along, kind="stable")[:50].tolist()


@pytest.mark.parametrize("has_clean", [True, False])
def test_what_is_known_is_not_named_again(has_clean: bool) -> None:
    vectors, _ = plant()
    known = np.eye(WIDTH)[[15, 15, 3]] * [[7.0], [-2.0], [1.0]]
    for own in search(vectors, known, draw(2_000, seed=1) if has_clean else None):
        np.testing.assert_allclose(known @ own.unit_r, 0.0, atol=1e-6)


def test_a_shift_of_all_rows_is_seen_against_clean_ones() -> None:
    vectors = draw(2_000)
    vectors[:, 10] += 20.0
    (first, *_) = search(vectors, clean=draw(2_000, seed=1))
    assert abs(first.unit_r[10]) > 0.9


@pytest.mark.parametrize("has_clean", [True, False])
@pytest.mark.parametrize("vectors", [np.zeros((30, 4)), np.full((30, 4), 60_000.0)], ids=["zero", "equal"])
def test_rows_that_are_all_equal_have_no_directions(vectors: np.ndarray, has_clean: bool) -> None:
    clean = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) if has_clean else None
    assert search(vectors.astype(np.float32), clean=clean) == []


def test_few_rows_or_dimensions_give_no_nan_and_no_row_at_both_ends() -> None:
    for vectors in (draw(5), draw(20)[:, :1], draw(40)[:, :2]):
        for own in search(vectors, n_blocks=1):
            assert np.isfinite(own.unit_r).all()
            assert np.isfinite(own.skew)
            assert not set(own.high.tolist()) & set(own.low.tolist())


def test_traits_that_span_everything_leave_nothing() -> None:
    assert search(draw(50), np.eye(WIDTH)) == []
