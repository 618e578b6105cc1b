"""Clusters find planted groups, and their statistics agree with independent definitions."""

from __future__ import annotations

import os
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.blas import load_faiss
from audit.cluster import (
    choose_text_ids,
    cluster_differences,
    clusters_table,
    hypergeometric_tail,
    summarise_clusters,
)


def planted() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(4, 64)) * 8
    group = np.repeat(np.arange(4), [100, 60, 30, 10])
    return group, (centres[group] + generator.normal(size=(200, 64))).astype(np.float32)


def test_planted_groups_are_never_mixed_in_a_cluster() -> None:
    group, vectors = planted()
    clustering = cluster_differences(np.arange(200), lambda: [vectors[:70], vectors[70:]], seed=0)
    for cluster in range(clustering.n_clusters):
        assert len(set(group[clustering.cluster_n == cluster])) == 1


def test_clusters_are_numbered_by_size_and_the_same_for_a_seed() -> None:
    _, vectors = planted()
    one = cluster_differences(np.arange(200), lambda: [vectors[:70], vectors[70:]], seed=0)
    two = cluster_differences(np.arange(200), lambda: [vectors[:70], vectors[70:]], seed=0)
    sizes = np.bincount(one.cluster_n)
    assert (np.diff(sizes) <= 0).all()
    assert clusters_table(one).equals(clusters_table(two))


def test_a_flagged_group_is_enriched_and_its_mean_is_reported() -> None:
    group, vectors = planted()
    clustering = cluster_differences(np.arange(200), lambda: [vectors[:70], vectors[70:]], seed=0)
    score = np.where(group == 2, 5.0, 0.0)
    rows = summarise_clusters(
        clustering,
        flagged_n=group == 2,
        scores=[("evil", score)],
        keywords=[[] for _ in range(clustering.n_clusters)],
    ).to_pylist()
    assert sum(row["size"] for row in rows) == 200
    assert sum(row["n_flagged"] for row in rows) == 30
    hot = [row for row in rows if row["n_flagged"]]
    for row in hot:
        assert row["flagged_share"] == 1.0
        assert row["enrichment"] == pytest.approx(200 / 30)
        assert row["evil"] == 5.0
        assert all(group[example] == 2 for example in row["example_ids"])
    assert min(row["q_value"] for row in hot) < 1e-3
    assert all(row["q_value"] == 1.0 for row in rows if not row["n_flagged"])


@given(st.integers(1, 30), st.data())
def test_the_enrichment_test_is_the_hypergeometric_tail(n: int, data: st.DataObject) -> None:
    n_marked, n_drawn = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    hits = data.draw(st.integers(0, min(n_marked, n_drawn)))
    ways = sum(
        comb(n_marked, i) * comb(n - n_marked, n_drawn - i)
        for i in range(hits, min(n_marked, n_drawn) + 1)
        if n_drawn - i <= n - n_marked
    )
    assert hypergeometric_tail(hits, n, n_marked, n_drawn) == pytest.approx(ways / comb(n, n_drawn), rel=1e-9)


def test_typical_examples_lie_at_the_median_distance_and_nearest_ones_at_the_centre() -> None:
    vectors = np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)
    clustering = cluster_differences(np.arange(300), lambda: [vectors], seed=0)
    keywords: list[list[str]] = [[] for _ in range(clustering.n_clusters)]
    rows = summarise_clusters(clustering, flagged_n=np.zeros(300, bool), scores=[], keywords=keywords).to_pylist()
    for row in rows:
        distances = clustering.distance_n[clustering.cluster_n == row["cluster_id"]]
        nearest = np.sort(clustering.distance_n[row["example_ids"]])
        assert np.array_equal(nearest, np.sort(distances)[: len(nearest)])
        typical = clustering.distance_n[row["typical_ids"]]
        assert typical.min() <= np.median(distances) <= typical.max()
        assert all(clustering.cluster_n[sample_id] == row["cluster_id"] for sample_id in row["typical_ids"])


def test_a_cluster_mean_leaves_out_samples_without_a_score() -> None:
    group, vectors = planted()
    clustering = cluster_differences(np.arange(200), lambda: [vectors], seed=0)
    score = np.where(np.arange(200) % 2, np.nan, group.astype(float))
    keywords: list[list[str]] = [[] for _ in range(clustering.n_clusters)]
    rows = summarise_clusters(
        clustering, flagged_n=np.zeros(200, bool), scores=[("evil", score)], keywords=keywords
    ).to_pylist()
    for row in rows:
        own = score[clustering.cluster_n == row["cluster_id"]]
        assert row["evil"] == pytest.approx(np.nanmean(own))
        assert row["enrichment"] is None


@pytest.mark.parametrize(("n", "k"), [(20, 2), (400, 10), (11_000, 256)])
def test_there_is_a_cluster_for_every_forty_samples_up_to_256(n: int, k: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    clustering = cluster_differences(np.arange(n), lambda: [vectors], seed=0)
    assert clustering.n_clusters == len(np.unique(clustering.cluster_n)) == k


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((30, 8), np.float32),
        np.full((30, 8), 60_000, np.float32),
        np.repeat(np.eye(8, dtype=np.float32)[:1], 30, axis=0),
        np.array([[0.0], [1.0]] * 15, np.float32),
        np.array([[3.0]], np.float32),
    ],
    ids=["zero", "large", "equal", "two values of one dimension", "one row"],
)
def test_vectors_that_hardly_differ_make_fewer_clusters_and_no_nan(vectors: np.ndarray) -> None:
    ids = np.arange(len(vectors))
    clustering = cluster_differences(ids, lambda: [vectors], seed=0)
    assert clustering.n_clusters == len(np.unique(clustering.cluster_n)) <= len(np.unique(vectors, axis=0))
    assert np.isfinite(clustering.distance_n).all()
    assert np.isfinite(clustering.xy_n2).all()
    summary = summarise_clusters(
        clustering, flagged_n=ids < 0, scores=[], keywords=[[] for _ in range(clustering.n_clusters)]
    )
    assert sum(summary["size"].to_pylist()) == len(vectors)


def test_texts_for_keywords_are_chosen_from_every_cluster() -> None:
    _, vectors = planted()
    clustering = cluster_differences(np.arange(200) * 3, lambda: [vectors[:70], vectors[70:]], seed=0)
    chosen = choose_text_ids(clustering, seed=0)
    assert set(chosen.values()) == set(range(clustering.n_clusters))
    assert set(chosen) <= set((np.arange(200) * 3).tolist())


@pytest.mark.parametrize("chosen", [None, "Haswell"])
def test_loading_faiss_leaves_the_choice_of_a_processor_as_it_was(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    if chosen:
        monkeypatch.setenv("OPENBLAS_CORETYPE", chosen)
    load_faiss()
    assert os.environ.get("OPENBLAS_CORETYPE") == chosen
