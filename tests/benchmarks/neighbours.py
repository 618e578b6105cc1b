"""Measure the search for near-duplicates of flagged rows as a run does it: N1.

Run as `python -m tests.benchmarks.neighbours`. Moments of all vectors, sorting of the flagged ones and the search all
count; the peak is that of the process, vectors included, which are kept as a run stores them, in half precision, and
read part by part. Planted rows say nearly the same as a flagged one, and lie not far above the bound.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from audit.near import SIMILARITY, find_near
from audit.scatter import measure_scatter
from tests.benchmarks.part import Findings
from tests.benchmarks.workload import SEED

N_ROWS, WIDTH, N_GROUPS = 1_000_000, 256, 256
FLAGGED_SHARE = 0.05
N_PLANTED = 2_000
PART_ROWS = 1_000
NOISE = 0.85
"""Of a planted row against the row that it is made from, per dimension: cosines of about .7 to .8."""


def main() -> None:
    """Measure on as many threads as OpenMP was given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=N_ROWS)
    n_rows = parser.parse_args().rows
    generator = np.random.default_rng(SEED)
    centres_kr = generator.standard_normal((N_GROUPS, WIDTH), dtype=np.float32)
    flagged_n = np.zeros(n_rows, dtype=bool)
    flagged_n[generator.choice(n_rows, round(n_rows * FLAGGED_SHARE), replace=False)] = True
    copies = np.sort(generator.choice(np.flatnonzero(~flagged_n), min(N_PLANTED, n_rows // 10), replace=False))
    originals = generator.choice(np.flatnonzero(flagged_n), copies.size)
    stored_nr = np.empty((n_rows, WIDTH), dtype=np.float16)
    for start in range(0, n_rows, 100_000):
        part_nr = generator.standard_normal((min(100_000, n_rows - start), WIDTH), dtype=np.float32)
        part_nr += centres_kr[np.minimum(generator.geometric(0.01, len(part_nr)) - 1, N_GROUPS - 1)]
        stored_nr[start : start + len(part_nr)] = part_nr
    noise_nr = NOISE * generator.standard_normal((copies.size, WIDTH), dtype=np.float32)
    stored_nr[copies] = stored_nr[originals] + noise_nr

    def read_blocks() -> Iterator[NDArray[np.float32]]:
        for start in range(0, n_rows, PART_ROWS):
            yield stored_nr[start : start + PART_ROWS].astype(np.float32)

    began, processor_began = time.perf_counter(), time.process_time()
    scatter = measure_scatter(read_blocks())
    assert scatter is not None
    near = find_near(read_blocks, flagged_n, scatter, seed=SEED)
    taken_s, processor_s = time.perf_counter() - began, time.process_time() - processor_began
    place = np.minimum(np.searchsorted(near.position_m, copies), len(near.position_m) - 1)
    is_found = (near.position_m[place] == copies) & (near.flagged_m[place] == originals)
    cosines = near.similarity_m[place[is_found]]
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    note = (
        f"N1: {n_rows:,} rows, {int(flagged_n.sum()):,} flagged; {copies.size:,} planted pairs, found at cosines of "
        f"{cosines.min():.2f} to {cosines.max():.2f} (bound {SIMILARITY}); wall clock, {processor_s:.1f} s of processor"
    )
    recall = float(is_found.mean())
    Findings({"N1": taken_s, "N1r": recall, "N1m": peak_kib * 1024 / 1e9}, [note]).send()


if __name__ == "__main__":
    main()
