"""Measure clustering of difference vectors as a run does it: P10.

Run as `python -m tests.benchmarks.kmeans`. Learning the centres, assigning every row and drawing the map all count; the
peak is that of the process, vectors included.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from audit import cluster
from tests.benchmarks.part import Findings
from tests.benchmarks.workload import SEED

N_ROWS, WIDTH, N_CLUSTERS = 1_000_000, 256, 256
PART_ROWS = 1_000
"""Rows of a run's part: vectors are read part by part."""


def main() -> None:
    """Measure on as many threads as OpenMP was given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=N_ROWS)
    n_rows = parser.parse_args().rows
    generator = np.random.default_rng(SEED)
    # Groups of unequal size around random centres, so that there is something to find.
    centres_kr = generator.standard_normal((N_CLUSTERS, WIDTH), dtype=np.float32)
    difference_nr = generator.standard_normal((n_rows, WIDTH), dtype=np.float32)
    for start in range(0, n_rows, 100_000):
        part_nr = difference_nr[start : start + 100_000]
        part_nr += centres_kr[np.minimum(generator.geometric(0.01, len(part_nr)) - 1, N_CLUSTERS - 1)]
    ids = np.arange(n_rows, dtype=np.int64)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    found = cluster.cluster_differences(ids, lambda: np.split(difference_nr, n_rows // PART_ROWS), seed=SEED)
    taken_s = time.perf_counter() - began
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    note = (
        f"P10: {found.n_clusters} clusters, {n_rows:,} rows, wall clock; "
        f"{difference_nr.nbytes / 1e9:.2f} GB are the vectors, {before_kib * 1024 / 1e9:.2f} GB the peak before"
    )
    Findings({"P10": taken_s, "P10m": peak_kib * 1024 / 1e9}, [note]).send()


if __name__ == "__main__":
    main()
