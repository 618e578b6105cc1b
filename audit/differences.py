"""The difference vectors of a run, one per sample, read part by part: those of a large run do not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.ahead import iterate_ahead
from audit.scatter import Scatter, measure_scatter
from audit.schema import SCORED_SIDES
from audit.store import Part, RunStore

_BLOCK_ROWS = 16_384
"""Vectors that are given at a time: parts are small, and products of large matrices several times as fast."""


def read_difference_ids(store: RunStore) -> NDArray[np.int64]:
    """Return the samples that have a difference vector, rising."""
    ids = [np.unique(_read_answers(store, part, [])["sample_id"].to_numpy()) for part in store.parts()]
    return np.concatenate(ids) if ids else np.zeros(0, np.int64)


def read_differences(store: RunStore) -> Iterator[NDArray[np.float32]]:
    """Yield, some thousand samples at a time, the mean difference vector [n, r] over each one's scored answers.

    A thread reads the next ones meanwhile.
    """
    with closing(iterate_ahead(_join(_read_each(store)))) as blocks:
        yield from blocks


def _join(blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    waiting: list[NDArray[np.float32]] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= _BLOCK_ROWS:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _read_each(store: RunStore) -> Iterator[NDArray[np.float32]]:
    for part in store.parts():
        table = _read_answers(store, part, ["difference"])
        if table.num_rows == 0:
            continue
        vectors_nr = table["difference"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        vectors_nr = vectors_nr.astype(np.float32)
        ids = table["sample_id"].to_numpy()
        if (ids[1:] > ids[:-1]).all():
            # One answer each, as in most data: there is no mean to take.
            yield vectors_nr
            continue
        by_sample = np.argsort(ids, kind="stable")
        _, starts, counts = np.unique(ids[by_sample], return_index=True, return_counts=True)
        sums = np.add.reduceat(vectors_nr[by_sample], starts, axis=0, dtype=np.float64)
        yield (sums / counts[:, None]).astype(np.float32)


def measure_run(store: RunStore) -> Scatter | None:
    """Measure mean and covariance of a run's difference vectors; None where it has none."""
    return measure_scatter(read_differences(store))


def _read_answers(store: RunStore, part: Part, columns: list[str]) -> pa.Table:
    """Return the differences of the answers that are trained towards."""
    # Not `read_table`, which looks for a dataset first: a large run has thousands of parts, read several times.
    with pq.ParquetFile(store.table_path("differences", part)) as file:
        table = file.read(columns=["sample_id", "side", "part", *columns])
    if table.num_rows == 0:
        return table
    is_scored = pc.is_in(table["side"], pa.array(SCORED_SIDES))
    return table.filter(pc.and_(is_scored, pc.equal(table["part"], "answer")))
