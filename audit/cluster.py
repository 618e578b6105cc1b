"""Groups of samples that push the model the same way: k-means over difference vectors, risk and words per group.

Knows difference vectors, flags and texts as arrays; the caller reads them from the run and the dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import lgamma

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.blas import load_faiss
from audit.scatter import find_whitening, measure_scatter
from audit.schema import CLUSTERS, cluster_summary_schema
from audit.score import benjamini_hochberg

MIN_SAMPLES = 20
"""Fewer samples than this are no material for clusters."""

SAMPLES_PER_CLUSTER = 40
MAX_CLUSTERS = 256
"""One cluster for every 40 samples, up to 256: coarser ones drown a hundred bad samples of a kind among others."""

TRAIN_PER_CLUSTER = 256
"""k-means learns its centres from a seeded part of this many samples per cluster."""

_SHRINKAGE = 0.3
_ITERATIONS = 25
_MOST_STARTS = 3
_OPERATIONS = 2e11
"""About a second's work on two cores: k-means starts anew, up to three times, as long as it stays below."""

EXAMPLES_PER_CLUSTER = 5
TEXTS_PER_CLUSTER = 100
_MOST_TEXTS = 10_000
"""Texts that the keywords of all clusters together are taken from."""


@dataclass(frozen=True, slots=True)
class Clustering:
    """Clusters of n samples, numbered by falling size.

    `distance_n` is the distance to the own centre, `xy_n2` the first two principal coordinates.
    """

    sample_ids: NDArray[np.int64]
    cluster_n: NDArray[np.int32]
    distance_n: NDArray[np.float32]
    xy_n2: NDArray[np.float32]
    n_clusters: int


def cluster_differences(
    sample_ids: NDArray[np.int64], read_blocks: Callable[[], Iterable[NDArray[np.float32]]], *, seed: int
) -> Clustering:
    """Cluster samples by their difference vectors, one cluster for every 40 samples, from 2 up to 256.

    Distances are taken in the space in which the vectors spread alike in all directions. Of samples that are all alike
    there are fewer clusters, down to one.

    Args:
        read_blocks: gives the vectors in blocks [*, r], in the order of `sample_ids`; called twice, so that they never
            stand in memory together.
    """
    n = len(sample_ids)
    k = min(n, int(np.clip(round(n / SAMPLES_PER_CLUSTER), 2, MAX_CLUSTERS)))
    chosen = np.sort(np.random.default_rng(seed).choice(n, min(n, k * TRAIN_PER_CLUSTER), replace=False))
    training = _pick_rows(read_blocks(), chosen)
    axes, centre = _principal_axes(training), training.mean(axis=0)
    whitening = _find_whitening(training)
    training = training @ whitening
    n_starts = int(np.clip(_OPERATIONS // (2 * training.size * k * _ITERATIONS), 1, _MOST_STARTS))
    kmeans = load_faiss().Kmeans(
        training.shape[1],
        k,
        niter=_ITERATIONS,
        nredo=n_starts,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=1 << 30,
    )
    kmeans.train(training)
    nearest_n = np.empty(n, dtype=np.int32)
    distance_n = np.empty(n, dtype=np.float32)
    xy_n2 = np.empty((n, 2), dtype=np.float32)
    start = 0
    for block in read_blocks():
        stop = start + len(block)
        squared, nearest = kmeans.index.search(block @ whitening, 1)
        nearest_n[start:stop] = nearest[:, 0]
        distance_n[start:stop] = np.sqrt(np.maximum(squared[:, 0], 0.0))
        xy_n2[start:stop] = (block - centre) @ axes.T
        start = stop
    sizes = np.bincount(nearest_n, minlength=k)
    by_size = np.argsort(-sizes, kind="stable")
    number_of = np.empty(k, dtype=np.int32)
    number_of[by_size] = np.arange(k, dtype=np.int32)
    return Clustering(
        sample_ids=sample_ids,
        cluster_n=number_of[nearest_n],
        distance_n=distance_n,
        xy_n2=xy_n2,
        n_clusters=int((sizes > 0).sum()),
    )


def _find_whitening(training: NDArray[np.float32]) -> NDArray[np.float32]:
    scatter = measure_scatter([training])
    whitening = find_whitening(scatter.covariance_rr, _SHRINKAGE) if scatter else None
    return np.eye(training.shape[1], dtype=np.float32) if whitening is None else whitening


def _pick_rows(blocks: Iterable[NDArray[np.float32]], chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the rows of these positions, counted over all blocks; `chosen` is sorted."""
    picked, start = [], 0
    for block in blocks:
        low, high = np.searchsorted(chosen, [start, start + len(block)])
        picked.append(block[chosen[low:high] - start])
        start += len(block)
    return np.ascontiguousarray(np.concatenate(picked), dtype=np.float32)


def clusters_table(clustering: Clustering) -> pa.Table:
    """Return the rows of `clusters`."""
    columns = {
        "sample_id": clustering.sample_ids,
        "cluster_id": clustering.cluster_n,
        "x": clustering.xy_n2[:, 0],
        "y": clustering.xy_n2[:, 1],
    }
    return pa.table(columns).cast(CLUSTERS)


def choose_text_ids(clustering: Clustering, *, seed: int) -> dict[int, int]:
    """Return sample id → cluster for the seeded samples whose texts the keywords are taken from."""
    generator = np.random.default_rng(seed)
    per_cluster = int(np.clip(_MOST_TEXTS // max(clustering.n_clusters, 1), 1, TEXTS_PER_CLUSTER))
    chosen: dict[int, int] = {}
    for cluster, members in enumerate(_list_members(clustering)):
        picked = generator.choice(clustering.sample_ids[members], min(members.size, per_cluster), replace=False)
        chosen.update((int(sample_id), cluster) for sample_id in picked)
    return chosen


def summarise_clusters(
    clustering: Clustering,
    *,
    flagged_n: NDArray[np.bool_],
    scores: Iterable[tuple[str, NDArray[np.float64]]],
    keywords: Sequence[Sequence[str]],
) -> pa.Table:
    """Return the rows of `cluster_summary`.

    Args:
        flagged_n: in the order of the clustering's samples.
        scores: trait and its scores in that order; taken one after the other, so that they need not exist together.
    """
    n, n_flagged = len(clustering.sample_ids), int(flagged_n.sum())
    rows: list[dict[str, object]] = []
    p_values = []
    for cluster, members in enumerate(_list_members(clustering)):
        hits = int(flagged_n[members].sum())
        share = hits / members.size
        p_values.append(hypergeometric_tail(hits, n, n_flagged, members.size))
        rows.append(
            {
                "cluster_id": cluster,
                "size": members.size,
                "n_flagged": hits,
                "flagged_share": share,
                "enrichment": share * n / n_flagged if n_flagged else None,
                "keywords": list(keywords[cluster]),
                **_choose_examples(clustering, members),
            }
        )
    traits = []
    for trait, values in scores:
        traits.append(trait)
        for row, mean in zip(rows, _average(values, clustering), strict=True):
            row[trait] = mean
    for row, q in zip(rows, benjamini_hochberg(np.asarray(p_values)).tolist(), strict=True):
        row["q_value"] = q
    return pa.Table.from_pylist(rows, schema=cluster_summary_schema(tuple(traits)))


def _list_members(clustering: Clustering) -> list[NDArray[np.int64]]:
    """Return the positions of each cluster's samples, rising; sorted once, as there may be ten million."""
    by_cluster = np.argsort(clustering.cluster_n, kind="stable")
    sizes = np.bincount(clustering.cluster_n, minlength=clustering.n_clusters)
    return np.split(by_cluster, np.cumsum(sizes)[:-1])


def _choose_examples(clustering: Clustering, members: NDArray[np.int64]) -> dict[str, list[int]]:
    by_distance = members[np.argsort(clustering.distance_n[members], kind="stable")]
    middle = max((members.size - EXAMPLES_PER_CLUSTER) // 2, 0)
    return {
        "example_ids": clustering.sample_ids[by_distance[:EXAMPLES_PER_CLUSTER]].tolist(),
        "typical_ids": clustering.sample_ids[by_distance[middle : middle + EXAMPLES_PER_CLUSTER]].tolist(),
    }


def _average(values: NDArray[np.float64], clustering: Clustering) -> list[float | None]:
    finite = np.isfinite(values)
    clusters = clustering.cluster_n[finite]
    counts = np.bincount(clusters, minlength=clustering.n_clusters)
    sums = np.bincount(clusters, weights=values[finite], minlength=clustering.n_clusters)
    return [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]


def hypergeometric_tail(hits: int, n: int, n_marked: int, n_drawn: int) -> float:
    """Return P(at least `hits` marked among `n_drawn` of n samples, `n_marked` of them marked)."""
    if hits <= 0:
        return 1.0

    def log_choose(a: int, b: int) -> float:
        return lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1)

    lowest, highest = max(hits, n_drawn - (n - n_marked)), min(n_marked, n_drawn)
    if lowest > highest:
        return 0.0
    first = log_choose(n_marked, lowest) + log_choose(n - n_marked, n_drawn - lowest) - log_choose(n, n_drawn)
    # Each from the one before it: a cluster of millions of samples has tens of thousands of terms.
    i = np.arange(lowest, highest, dtype=np.float64)
    ratios = (n_marked - i) / (i + 1) * ((n_drawn - i) / (n - n_marked - n_drawn + i + 1))
    logs = first + np.append(0.0, np.cumsum(np.log(ratios)))
    return float(min(1.0, np.exp(logs).sum()))


def _principal_axes(training: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the first two principal axes [2, r]."""
    centred = training - training.mean(axis=0, dtype=np.float64)
    # Eigenvectors of the covariance are the singular vectors of the data, and many times faster where rows are many.
    axes = np.linalg.eigh(centred.T @ centred)[1][:, :-3:-1].T
    # The sign of a principal axis is arbitrary; fixed here so that a map does not flip between runs.
    signs = np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)] < 0, -1.0, 1.0)
    signed = np.asarray(axes * signs[:, None], dtype=np.float32)
    # Vectors of one dimension have no second axis: all lies at 0 along it.
    return np.pad(signed, ((0, 2 - len(signed)), (0, 0)))
