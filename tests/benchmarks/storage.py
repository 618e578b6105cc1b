"""Measure what a large run costs on disk and in queries: the wide table of 10 M records with 8 traits, on two cores.

Run as `python -m tests.benchmarks.storage`. Off by default: timings are no tests. Random rows are drawn beforehand, and
the work runs in a process of its own, so that neither counts.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
N_ROWS = 10_000_000
TRAITS = tuple(f"trait_{letter}" for letter in "abcdefgh")
PART_ROWS = 1_000
N_CLUSTERS = 64
SKIPPED_SHARE, FLAGGED_SHARE = 0.01, 0.05
QUERY_RUNS = 3
_BASES = 8
"""Different row groups of random rows, used in turn: what compresses well within one is not repeated there."""


def measure_storage(n_rows: int = N_ROWS) -> dict[str, float]:
    """Return id → value, measured in a process of its own.

    P9w: rows/s written. P9t: seconds for the 100 highest of a trait, P9g: for the means of every cluster, both of an
    opened run. P9x: rows/s, the slower of choosing what an export keeps and fetching rows by a condition. P9m: peak
    memory in GB.
    """
    command = [sys.executable, "-m", "tests.benchmarks.storage", "--inside", str(n_rows)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the measurement failed:\n{done.stderr}")
    values: dict[str, float] = json.loads(done.stdout)
    return values


def _measure_inside(n_rows: int) -> dict[str, float]:
    from audit.query import open_connection

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory(prefix="persona-audit-bench-") as folder:
        run = Path(folder) / "large.audit"
        _write_parts(run, n_rows)
        write_s = _write_wide(run, n_rows)
        with open_connection(run) as connection:
            return {
                "P9w": n_rows / write_s,
                "P9t": _median_s(lambda: _read_top(connection)),
                "P9g": _median_s(lambda: _read_groups(connection)),
                "P9x": min(n_rows / _median_s(lambda: _choose(connection, n_rows)), _fetch_rate(connection)),
                "P9m": peak_bytes() / 1e9,
            }


def _write_parts(run: Path, n_rows: int) -> None:
    """Write what the relations need beside the wide table: manifest, samples, and a turn of every record."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from audit.schema import FORMAT_VERSION, SAMPLES, SCORES, TURNS
    from audit.store import PART_TABLES, Part, RunStore

    store = RunStore(run)
    for table in PART_TABLES:
        (run / table).mkdir(parents=True)
    vectors = [{"trait": trait, "layer": 16, "sha256": "0" * 64} for trait in TRAITS]
    store.write_manifest(
        {"format_version": FORMAT_VERSION, "state": "finished", "vectors": vectors, "baseline": {"kind": "generate"}}
    )
    turn = {"side": "response", "turn": 1, "part": "answer", "status": "ok", "n_response_tokens": 180}
    turns = pa.Table.from_pylist([{"sample_id": i, **turn} for i in range(PART_ROWS)], schema=TURNS)
    nothing = {name: pa.nulls(PART_ROWS, SAMPLES.field(name).type) for name in SAMPLES.names}
    first: Path | None = None
    for start in range(0, n_rows, PART_ROWS):
        part = Part(start, min(start + PART_ROWS, n_rows))
        ids = pa.array(np.arange(part.start, part.start + PART_ROWS))
        samples = pa.table({**nothing, "sample_id": ids, "status": _status(part.start, PART_ROWS)}, schema=SAMPLES)
        pq.write_table(samples.slice(0, part.n_rows), store.table_path("samples", part))
        # Every part has the same turns: nothing that is measured depends on what is in them.
        if first is None:
            first = part_turns = store.table_path("turns", part)
            pq.write_table(turns, part_turns)
            pq.write_table(SCORES.empty_table(), store.table_path("scores", part))
        else:
            os.link(first, store.table_path("turns", part))
            os.link(run / "scores" / first.name, store.table_path("scores", part))


def _write_wide(run: Path, n_rows: int) -> float:
    """Write the wide table and return the seconds that it took."""
    import numpy as np

    from audit.store import RunStore
    from audit.wide import write_sample_scores

    draw = np.random.default_rng(0)
    flagged_nk = draw.random((n_rows, len(TRAITS)), dtype=np.float32) < FLAGGED_SHARE / len(TRAITS)
    cluster_n = draw.integers(0, N_CLUSTERS, n_rows, dtype=np.int32)
    batches = list(_draw_bases())
    began = time.perf_counter()
    write_sample_scores(
        RunStore(run).sample_scores_path,
        TRAITS,
        _repeat_bases(batches, n_rows),
        flagged_nk=flagged_nk,
        cluster_n=cluster_n,
        near_n=np.zeros(n_rows, dtype=bool),
    )
    return time.perf_counter() - began


def _draw_bases() -> Iterator[Any]:
    import numpy as np
    import pyarrow as pa

    from audit.schema import sample_scores_schema
    from audit.store import ROW_GROUP_ROWS as N

    schema = sample_scores_schema(TRAITS)
    draw = np.random.default_rng(1)
    for _ in range(_BASES):
        is_skipped = _is_skipped(np.arange(N))
        columns = {name: pa.nulls(N, schema.field(name).type) for name in schema.names}
        columns["source"] = pa.repeat(pa.scalar("train.jsonl"), N)
        columns["status"] = _status(0, N)
        columns["n_response_tokens"] = pa.array(draw.lognormal(5.2, 0.6, N).astype(np.int32), mask=is_skipped)
        columns["score_kind"] = pa.array(np.repeat("difference", N), mask=is_skipped)
        for trait in TRAITS:
            mean_n = draw.standard_normal(N, dtype=np.float32)
            surplus_n = np.abs(draw.standard_normal(N, dtype=np.float32)) * (draw.random(N) < 0.3)
            columns[trait] = pa.array((mean_n + surplus_n).astype(np.float32), mask=is_skipped)
            columns[f"{trait}_mean"] = pa.array(mean_n, mask=is_skipped)
        yield pa.RecordBatch.from_pydict(columns, schema=schema)


def _repeat_bases(bases: list[Any], n_rows: int) -> Iterator[Any]:
    import numpy as np
    import pyarrow as pa

    start = 0
    while start < n_rows:
        base = bases[start % len(bases)]
        n = min(base.num_rows, n_rows - start)
        ids = pa.array(np.arange(start, start + n))
        columns = [ids if name in ("sample_id", "line") else base.column(name)[:n] for name in base.schema.names]
        yield pa.RecordBatch.from_arrays(columns, schema=base.schema)
        start += n


def _status(start: int, n: int) -> Any:
    import numpy as np
    import pyarrow as pa

    return pa.array(np.where(_is_skipped(np.arange(start, start + n)), "skipped", "ok"))


def _is_skipped(ids: Any) -> Any:
    return ids % int(1 / SKIPPED_SHARE) == 0


def _read_top(connection: Any) -> int:
    from audit.query import read_batches, run_named

    relation = run_named(connection, "top_by_trait", {"trait": TRAITS[3], "n": 100})
    return sum(batch.num_rows for batch in read_batches(relation))


def _read_groups(connection: Any) -> int:
    from audit.query import read_batches, run_query

    means = ", ".join(f"avg({trait})" for trait in TRAITS)
    sql = f"SELECT cluster_id, count(*), count(*) FILTER (flagged), {means} FROM sample_scores GROUP BY cluster_id"
    return sum(batch.num_rows for batch in read_batches(run_query(connection, sql)))


def _choose(connection: Any, n_rows: int) -> int:
    from audit.export.choice import choose_records

    return choose_records(connection, None, n_records=n_rows).n_flagged


def _fetch_rate(connection: Any) -> float:
    """Return the rows a second that come back, all columns, of a condition that most rows fulfil."""
    from audit.query import read_batches, run_query

    sql = f"SELECT * FROM sample_scores WHERE NOT flagged AND {TRAITS[0]} < 1"
    began = time.perf_counter()
    n_rows = sum(batch.num_rows for batch in read_batches(run_query(connection, sql), batch_rows=100_000))
    return n_rows / (time.perf_counter() - began)


def _median_s(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(QUERY_RUNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def peak_bytes() -> int:
    """Return the peak memory of this process in bytes."""
    # Unlike getrusage, this leaves out what the process was before it was this program.
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Print the figures; with `--inside N`, measure in this process and print JSON."""
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(_measure_inside(int(sys.argv[2]))))
        return
    for name, value in measure_storage(int(sys.argv[1]) if sys.argv[1:] else N_ROWS).items():
        print(f"{name}  {value:,.3f}")


if __name__ == "__main__":
    main()
