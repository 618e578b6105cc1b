"""The clusters of a run: difference vectors read part by part, clustered, described by words, and written.

The vectors of a large run do not fit into memory, so they are read twice instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.cluster import (
    MIN_SAMPLES,
    Clustering,
    choose_text_ids,
    cluster_differences,
    clusters_table,
    find_keywords,
    summarise_clusters,
)
from audit.inputs import Inputs, read_chosen
from audit.schema import SCORED_SIDES
from audit.store import Part, RunStore, write_table
from audit.wide import RunScores


def write_clusters(
    store: RunStore,
    manifest: dict[str, Any],
    inputs: Inputs,
    scores: RunScores,
    sample_ids: NDArray[np.int64],
    any_flag_n: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Write the clusters; return each sample's, -1 where it has none."""
    cluster_n = np.full(len(sample_ids), -1, dtype=np.int32)
    seed = int(manifest["config"]["seed"])
    clustered_ids = _read_clustered_ids(store)
    if len(clustered_ids) < MIN_SAMPLES:
        for name in ("clusters", "cluster_summary"):
            (store.path / f"{name}.parquet").unlink(missing_ok=True)
        return cluster_n
    clustering = cluster_differences(clustered_ids, partial(read_differences, store), seed=seed)
    positions = np.searchsorted(sample_ids, clustered_ids)
    write_table(store.path / "clusters.parquet", clusters_table(clustering))
    summary = summarise_clusters(
        clustering,
        flagged_n=any_flag_n[positions],
        scores=((trait, own.mean_n[positions]) for trait, own in scores.items()),
        keywords=_read_keywords(inputs, clustering, seed, manifest["config"]["turns"]),
    )
    write_table(store.path / "cluster_summary.parquet", summary)
    cluster_n[positions] = clustering.cluster_n
    return cluster_n


def _read_clustered_ids(store: RunStore) -> NDArray[np.int64]:
    ids = [np.unique(_read_answers(store, part, [])["sample_id"].to_numpy()) for part in store.parts()]
    return np.concatenate(ids) if ids else np.zeros(0, np.int64)


def read_differences(store: RunStore) -> Iterator[NDArray[np.float32]]:
    """Yield, part by part, the mean difference vector [n, r] over each sample's scored answers."""
    for part in store.parts():
        table = _read_answers(store, part, ["difference"])
        if table.num_rows == 0:
            continue
        vectors_nr = table["difference"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        vectors_nr = vectors_nr.astype(np.float32)
        ids = table["sample_id"].to_numpy()
        by_sample = np.argsort(ids, kind="stable")
        _, starts, counts = np.unique(ids[by_sample], return_index=True, return_counts=True)
        sums = np.add.reduceat(vectors_nr[by_sample], starts, axis=0, dtype=np.float64)
        yield (sums / counts[:, None]).astype(np.float32)


def _read_answers(store: RunStore, part: Part, columns: list[str]) -> pa.Table:
    """Return the differences of the answers that are trained towards."""
    path = store.table_path("differences", part)
    table = pq.read_table(path, columns=["sample_id", "side", "part", *columns])
    is_scored = pc.is_in(table["side"], pa.array(SCORED_SIDES))
    return table.filter(pc.and_(is_scored, pc.equal(table["part"], "answer")))


def _read_keywords(inputs: Inputs, clustering: Clustering, seed: int, turns: str) -> list[list[str]]:
    cluster_of = choose_text_ids(clustering, seed=seed)
    texts = (
        (cluster_of[sample.sample_id], turn.response)
        for sample in read_chosen(inputs, cluster_of.keys(), turns=turns)
        for turn in sample.turns
        if turn.side in SCORED_SIDES and turn.part == "answer"
    )
    return find_keywords(texts, clustering.n_clusters)
