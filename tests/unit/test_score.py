"""The statistics against independent definitions (scipy-free: written out naively here)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from audit.score import (
    benjamini_hochberg,
    cohens_d,
    correlation,
    exceedance_p,
    ks_critical,
    ks_distance,
    ks_p,
    ks_spread,
    mean_interval,
    percentile_of,
    rank_auc,
    reduction_matrix,
    shift_interval,
)

finite = st.floats(-1e6, 1e6, allow_nan=False)


def test_an_interval_covers_the_true_mean_in_about_95_of_100_samples() -> None:
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(2000):
        interval = mean_interval(generator.normal(3.0, 2.0, 60))
        assert interval is not None
        covered += interval.low <= 3.0 <= interval.high
    assert 0.93 <= covered / 2000 <= 0.965


def test_one_value_has_no_interval() -> None:
    assert mean_interval(np.asarray([1.0])) is None


def test_the_shift_between_two_samples_is_covered_by_welchs_interval() -> None:
    generator = np.random.default_rng(8)
    covered = 0
    for _ in range(1000):
        sample = mean_interval(generator.normal(1.0, 1.0, 80))
        reference = mean_interval(generator.normal(0.4, 3.0, 200))
        assert sample is not None
        assert reference is not None
        shift = shift_interval(sample, reference)
        covered += shift.low <= 0.6 <= shift.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_cohens_d_is_the_shift_in_pooled_standard_deviations() -> None:
    one, other = np.asarray([1.0, 2.0, 3.0, 4.0]), np.asarray([0.0, 1.0, 5.0])
    sample, reference = mean_interval(one), mean_interval(other)
    assert sample is not None
    assert reference is not None
    pooled = np.sqrt((((one - one.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum()) / (4 + 3 - 2))
    assert cohens_d(sample, reference) == pytest.approx((one.mean() - other.mean()) / pooled)


def test_cohens_d_is_missing_where_nothing_varies() -> None:
    constant = mean_interval(np.ones(5))
    assert constant is not None
    assert cohens_d(constant, constant) is None


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=finite), hnp.arrays(np.float64, 7, elements=finite))
def test_exceedance_counts_the_clean_values_that_are_at_least_as_large(reference, values) -> None:  # type: ignore[no-untyped-def]
    p = exceedance_p(values, np.sort(reference))
    for value, got in zip(values, p, strict=True):
        assert got == pytest.approx((1 + sum(r >= value for r in reference)) / (len(reference) + 1))


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=finite), finite)
def test_a_percentile_is_the_share_at_or_below(reference, value) -> None:  # type: ignore[no-untyped-def]
    expected = 100 * sum(r <= value for r in reference) / len(reference)
    assert percentile_of(np.asarray([value]), np.sort(reference))[0] == pytest.approx(expected)


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(1e-6, 1.0)), st.floats(0.001, 0.5))
def test_keeping_q_at_most_alpha_is_the_step_up_procedure(p, alpha) -> None:  # type: ignore[no-untyped-def]
    ordered = np.sort(p)
    # A tie would be decided by the last bit of either side.
    assume(all(abs(value - alpha * (i + 1) / len(p)) > 1e-9 for i, value in enumerate(ordered)))
    ranks = [i + 1 for i in range(len(p)) if ordered[i] <= alpha * (i + 1) / len(p)]
    cut = ordered[max(ranks) - 1] if ranks else -1.0
    kept = benjamini_hochberg(p) <= alpha
    assert (kept == (p <= cut)).all()


def test_q_values_of_nothing_are_nothing() -> None:
    assert benjamini_hochberg(np.zeros(0)).size == 0


@given(hnp.arrays(np.float64, st.integers(2, 25), elements=st.sampled_from([0.0, 1.0, 2.0, 3.5])), st.data())
def test_auc_is_the_chance_that_a_positive_outranks_a_negative(scores, data) -> None:  # type: ignore[no-untyped-def]
    labels = np.asarray(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
    if pairs:
        assert rank_auc(scores, labels) == pytest.approx(np.mean(pairs))
    else:
        assert np.isnan(rank_auc(scores, labels))


def test_correlation_leaves_out_missing_pairs_and_refuses_constants() -> None:
    a = np.asarray([1.0, 2.0, np.nan, 4.0, 5.0])
    b = np.asarray([2.0, 4.0, 100.0, 8.0, 10.0])
    assert correlation(a, b) == pytest.approx(1.0)
    assert correlation(a, np.ones(5)) is None
    assert correlation(a[:2], b[:2]) is None


def test_reduced_vectors_keep_distances_and_are_the_same_in_every_run() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 512))
    matrix = reduction_matrix(512)
    assert matrix.shape == (512, 256)
    np.testing.assert_array_equal(matrix, reduction_matrix(512))
    before = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)[np.triu_indices(40, 1)]
    reduced = vectors @ matrix
    after = np.linalg.norm(reduced[:, None] - reduced[None], axis=-1)[np.triu_indices(40, 1)]
    assert np.abs(after / before - 1).mean() < 0.06


def test_narrow_models_lose_nothing_in_the_reduction() -> None:
    vectors = np.random.default_rng(0).normal(size=(10, 48))
    np.testing.assert_allclose(vectors @ reduction_matrix(48), vectors)


def naive_ks(a: np.ndarray, b: np.ndarray) -> float:
    return max(abs(sum(v <= x for v in a) / len(a) - sum(v <= x for v in b) / len(b)) for x in [*a, *b])


@given(
    st.lists(st.sampled_from([-1.5, 0.0, 0.1, 2.0, 2.5]) | finite, min_size=1, max_size=25),
    st.lists(st.sampled_from([-1.5, 0.0, 0.1, 2.0, 2.5]) | finite, min_size=1, max_size=25),
)
def test_the_kolmogorov_smirnov_distance_is_the_largest_gap_of_the_distribution_functions(
    a: list[float], b: list[float]
) -> None:
    assert ks_distance(np.array(a), np.array(b)) == pytest.approx(naive_ks(np.array(a), np.array(b)), abs=1e-12)


def test_the_distance_is_the_same_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=50), rng.normal(0.5, 1, size=33)
    whole = ks_distance(a, b)
    monkeypatch.setattr("audit.score._KS_PIECE", 7)
    assert ks_distance(a, b) == whole


@pytest.mark.parametrize(("x", "p"), [(1.2238, 0.10), (1.3581, 0.05), (1.6276, 0.01), (0.8276, 0.50)])
def test_the_chance_of_a_distance_is_the_tabulated_one(x: float, p: float) -> None:
    # Smirnov's table of the limiting distribution.
    assert ks_p(x * 1e-6, 1e-6) == pytest.approx(p, abs=2e-4)
    assert ks_p(0.0, 0.1) == ks_p(0.3, 0.0) == 1.0


def test_the_critical_distance_is_exceeded_in_5_of_100() -> None:
    for spread in (0.5, 0.1, 0.001):
        assert ks_p(ks_critical(spread), spread) == pytest.approx(0.05, abs=1e-5)
    assert ks_critical(0.0) == 0.0


@pytest.mark.parametrize("n_common", [0, 100, 180])
def test_sets_of_one_kind_are_told_apart_at_the_level_whatever_they_have_in_common(n_common: int) -> None:
    rng = np.random.default_rng(n_common)
    n_told = 0
    for _ in range(1000):
        common = rng.normal(size=n_common)
        a, b = (np.concatenate([common, rng.normal(size=n - n_common)]) for n in (200, 240))
        n_told += ks_p(ks_distance(a, b), ks_spread(200, 240, n_common)) < 0.05
    # Discrete distances of few values keep it below the level; it must not be far below.
    assert 0.02 <= n_told / 1000 <= 0.066
