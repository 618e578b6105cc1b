"""What the differences of a run say together: clusters, near-duplicates of flagged samples, directions without a name.

Each is described by words and examples and written beside the scores; the vectors are read as often as it takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.cluster import (
    MIN_SAMPLES,
    choose_text_ids,
    cluster_differences,
    clusters_table,
    summarise_clusters,
)
from audit.differences import read_difference_ids, read_differences
from audit.inputs import Inputs, read_chosen
from audit.near import find_near
from audit.reference import Reference
from audit.scatter import Scatter, measure_scatter
from audit.schema import NEAR_DUPLICATES, SCORED_SIDES, UNNAMED_DIRECTIONS
from audit.store import RunStore, write_table
from audit.unnamed import UnnamedDirection, find_unnamed
from audit.wide import RunScores
from audit.words import find_keywords

TABLES = ("clusters", "cluster_summary", "near_duplicates", "unnamed_directions")
EXAMPLES_PER_END = 10
"""Samples that are named from either end of an unnamed direction."""

_BACKGROUND_TEXTS = 500
"""Random texts that those from the ends of the directions are set against."""


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """What the differences say of every sample.

    Attributes:
        cluster_n: -1 where a sample has none.
        near_n: not flagged, but near a flagged one.
        counts: for the manifest: `n_clusters`; `n_near_flagged`, None where nothing was compared;
            `n_flagged_compared`, the flagged samples that others were compared with.
    """

    cluster_n: NDArray[np.int32]
    near_n: NDArray[np.bool_]
    counts: dict[str, int | None]


def write_groups(
    store: RunStore,
    manifest: dict[str, Any],
    inputs: Inputs,
    scores: RunScores,
    sample_ids: NDArray[np.int64],
    any_flag_n: NDArray[np.bool_],
    reference: Reference | None,
) -> Groups:
    """Find and write clusters, near-duplicates and unnamed directions; no tables where too few samples have vectors."""
    run = _Vectors(store, manifest, inputs, read_difference_ids(store))
    cluster_n, near_n = np.full(len(sample_ids), -1, dtype=np.int32), np.zeros(len(sample_ids), dtype=bool)
    scatter = None
    if len(run.ids) >= MIN_SAMPLES:
        positions = np.searchsorted(sample_ids, run.ids)
        scatter = measure_scatter(read_differences(store), _read_means(scores, positions))
    if scatter is None:
        for name in TABLES:
            (store.path / f"{name}.parquet").unlink(missing_ok=True)
        return Groups(cluster_n, near_n, {"n_clusters": 0, "n_near_flagged": None, "n_flagged_compared": None})
    flagged_n = any_flag_n[positions]
    cluster_n[positions] = _write_clusters(run, scores, positions, flagged_n)
    near_ids, n_compared_with = _write_near(run, flagged_n, scatter)
    near_n[np.searchsorted(sample_ids, near_ids)] = True
    _write_unnamed(run, scatter, reference)
    counts: dict[str, int | None] = {
        "n_clusters": int(cluster_n.max(initial=-1)) + 1,
        "n_near_flagged": len(near_ids),
        "n_flagged_compared": n_compared_with,
    }
    return Groups(cluster_n, near_n, counts)


@dataclass(frozen=True, slots=True, eq=False)
class _Vectors:
    """A run whose difference vectors are asked; `ids` are the samples that have one."""

    store: RunStore
    manifest: dict[str, Any]
    inputs: Inputs
    ids: NDArray[np.int64]

    @property
    def seed(self) -> int:
        return int(self.manifest["config"]["seed"])

    def find_keywords(self, groups_of: Mapping[int, Sequence[int]], n_groups: int) -> list[list[str]]:
        """Return the keywords of groups of samples, from the responses that the scores are of."""
        texts = (
            (group, turn.response)
            for sample in read_chosen(self.inputs, groups_of.keys(), turns=self.manifest["config"]["turns"])
            for turn in sample.turns
            if turn.side in SCORED_SIDES and turn.part == "answer"
            for group in groups_of[sample.sample_id]
        )
        return find_keywords(texts, n_groups)


def _read_means(scores: RunScores, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean scores of the samples that have a vector, by trait [n, k]."""
    means_nk = np.empty((len(positions), len(scores)), dtype=np.float32)
    for k, own in enumerate(scores.values()):
        means_nk[:, k] = own.mean_n[positions]
    return means_nk


def _write_clusters(
    run: _Vectors, scores: RunScores, positions: NDArray[np.int64], flagged_n: NDArray[np.bool_]
) -> NDArray[np.int32]:
    clustering = cluster_differences(run.ids, partial(read_differences, run.store), seed=run.seed)
    write_table(run.store.path / "clusters.parquet", clusters_table(clustering))
    clusters_of = {sample_id: [own] for sample_id, own in choose_text_ids(clustering, seed=run.seed).items()}
    summary = summarise_clusters(
        clustering,
        flagged_n=flagged_n,
        scores=((trait, own.mean_n[positions]) for trait, own in scores.items()),
        keywords=run.find_keywords(clusters_of, clustering.n_clusters),
    )
    write_table(run.store.path / "cluster_summary.parquet", summary)
    return clustering.cluster_n


def _write_near(run: _Vectors, flagged_n: NDArray[np.bool_], scatter: Scatter) -> tuple[NDArray[np.int64], int]:
    """Write the near-duplicates of flagged samples; return their ids, and how many flagged ones were looked at."""
    near = find_near(partial(read_differences, run.store), flagged_n, scatter, seed=run.seed)
    ids = run.ids[near.position_m]
    columns = {"sample_id": ids, "flagged_id": run.ids[near.flagged_m], "similarity": near.similarity_m}
    write_table(run.store.path / "near_duplicates.parquet", pa.table(columns).cast(NEAR_DUPLICATES))
    return ids, near.n_compared_with


def _write_unnamed(run: _Vectors, scatter: Scatter, reference: Reference | None) -> None:
    clean_mean_r, clean_covariance_rr = _find_clean_moments(reference, len(scatter.mean_r))
    found = find_unnamed(
        partial(read_differences, run.store),
        find_known_directions(scatter),
        scatter,
        clean_mean_r=clean_mean_r,
        clean_covariance_rr=clean_covariance_rr,
    )
    keywords = _describe_ends(run, found)
    rows = [
        {
            "direction_id": j,
            "spread": own.spread,
            "skew": own.skew,
            "high_ids": run.ids[own.high[:EXAMPLES_PER_END]].tolist(),
            "low_ids": run.ids[own.low[:EXAMPLES_PER_END]].tolist(),
            "high_keywords": keywords[2 * j],
            "low_keywords": keywords[2 * j + 1],
            "direction": own.unit_r.tolist(),
        }
        for j, own in enumerate(found)
    ]
    write_table(run.store.path / "unnamed_directions.parquet", pa.Table.from_pylist(rows, schema=UNNAMED_DIRECTIONS))


def find_known_directions(scatter: Scatter) -> NDArray[np.float64]:
    """Return the directions [k, r] that predict the traits' scores best from the vectors (least squares).

    A score is a product with the difference itself, so that at the layer and in the full width of the vectors these are
    the traits' own directions; elsewhere they are what the vectors know of the scores.

    Args:
        scatter: of the vectors with the mean scores.
    """
    covariance_rr = scatter.covariance_rr
    ridge = 1e-8 * float(np.trace(covariance_rr)) / len(covariance_rr)
    if not ridge > 0:
        return np.zeros((0, len(covariance_rr)))
    return np.asarray(np.linalg.solve(covariance_rr + ridge * np.eye(len(covariance_rr)), scatter.cross_rk).T)


def _find_clean_moments(
    reference: Reference | None, width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | tuple[None, None]:
    # A reference made by an older version keeps scores only.
    differences = getattr(reference, "differences", None)
    if differences is None:
        return None, None
    mean_r = np.asarray(differences.mean_r, dtype=np.float64)
    covariance_rr = np.asarray(differences.covariance_rr, dtype=np.float64)
    # Differences may be stored in another width than those of this run.
    return (mean_r, covariance_rr) if len(mean_r) == width else (None, None)


def _describe_ends(run: _Vectors, found: list[UnnamedDirection]) -> list[list[str]]:
    """Return the keywords of both ends of each direction, high before low, set against random samples."""
    ends = [end for own in found for end in (own.high, own.low)]
    generator = np.random.default_rng(run.seed)
    background = generator.choice(len(run.ids), min(len(run.ids), _BACKGROUND_TEXTS), replace=False)
    # A sample may lie at the ends of several directions.
    groups_of: dict[int, list[int]] = {}
    for group, members in enumerate([*ends, background]):
        for sample_id in run.ids[members].tolist():
            groups_of.setdefault(sample_id, []).append(group)
    return run.find_keywords(groups_of, len(ends) + 1)[:-1]
