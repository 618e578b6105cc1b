"""Measure what is found in a large run once its scores are there: flags, verdicts, clusters of 10 M scores (F1 to F5).

Run as `python -m tests.benchmarks.findings`. Fabricates a run of 2.5 M records with four traits, in parts of 1,000 as a
scan writes them, with evidence, orthogonal and length-adjusted scores, and difference vectors of 1 M of the records;
then times `audit.findings.write_findings` step by step. The run is written by another process, so that the peak is that
of the findings alone. The dataset's texts are not there: keywords stay empty.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit import findings, groups
from audit.differences import read_differences
from audit.inputs import Inputs
from audit.reference import (
    CleanDifferences,
    CombinedTurns,
    Reference,
    TraitReference,
    describe_turns,
)
from audit.risk import Moments
from audit.schema import (
    FORMAT_VERSION,
    RANDOM_EVIDENCE,
    SAMPLES,
    SCORES,
    TURNS,
    differences_schema,
)
from audit.store import PART_TABLES, Part, RunStore
from tests.benchmarks.part import Findings
from tests.benchmarks.storage import peak_bytes
from tests.benchmarks.workload import SEED

N_ROWS, N_VECTORS, WIDTH = 2_500_000, 1_000_000, 64
TRAITS = ("evil", "sycophantic", "hallucinating", "impolite")
PART_ROWS = 1_000
N_CLEAN = 20_000
BAD_SHARE, BAD_SHIFT = 0.05, 6.0
"""Records that show one of the traits, and by how many standard deviations."""

SHA = "0" * 64
_BASES = 8
"""Different parts of random rows, used in turn; every score is moved by a little noise."""

_JITTER = np.float32(0.1)
_DIFFERENCES = ("projection_difference", "orthogonal_difference", "window_difference", "layer_difference")

_GATHERING = ("gather_scores", "write_marks", "gather_risks", "_read_records")
_FLAGGING = "_write_flags"
_JUDGING = ("pool_evidence", "judge_traits", "_find_random_band")
_CLUSTERING = "_write_clusters"
_OTHERS = ("write_sample_scores", "measure_run_confounds")
_COMPARING = ("measure_scatter", "_write_near", "_write_unnamed")


def main() -> None:
    """Measure on as many threads as OpenMP was given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=N_ROWS, help="records, of four scores each")
    parser.add_argument("--vectors", type=int, default=N_VECTORS, help="records with a difference vector")
    parser.add_argument("--run", type=Path, help="keep the run here, or use the one that lies here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="persona-audit-bench-") as folder:
        run = options.run or Path(folder) / "large.audit"
        if not run.exists():
            writer = multiprocessing.get_context("spawn").Process(
                target=write_run, args=(run, options.rows, min(options.vectors, options.rows))
            )
            writer.start()
            writer.join()
            if writer.exitcode:
                sys.exit(f"the run was not written: exit code {writer.exitcode}")
        measure(RunStore(run), options.rows).send()


def measure(store: RunStore, n_rows: int) -> Findings:
    """Time the steps of a run's findings. F1 to F3 are scores a second, four a record."""
    manifest, reference = json.loads(store.manifest_path.read_text()), make_reference()
    n_scores = n_rows * len(TRAITS)
    with _timed() as steps:
        began = time.perf_counter()
        found = findings.write_findings(store, manifest, Inputs((), 0), reference)
        whole_s = time.perf_counter() - began
    gathering_s, judging_s, comparing_s, others_s = (
        sum(steps[name].taken_s for name in names) for names in (_GATHERING, _JUDGING, _COMPARING, _OTHERS)
    )
    peak = max(step.peak for step in steps.values())
    words = "; ".join(f"{name.lstrip('_')} {step}" for name, step in steps.items())
    note = (
        f"F: {n_scores:,} scores, {found.counts['n_flagged']:,} records flagged, {found.counts['n_clusters']} "
        f"clusters, {found.counts['n_near_flagged']:,} near-duplicates; {whole_s:.0f} s in all, of which "
        f"{comparing_s:.0f} s for near-duplicates and directions, {others_s:.0f} s for the wide table and confounds. "
        f"{words}"
    )
    values: dict[str, float | None] = {
        "F1": n_scores / steps[_FLAGGING].taken_s,
        "F2": n_scores / gathering_s,
        "F3": n_scores / judging_s,
        "F4": steps[_CLUSTERING].taken_s - steps[_CLUSTERING].reading_s,
        "F5": peak / 1e9,
    }
    return Findings(values, [note])


@dataclass(slots=True)
class _Step:
    """What a step took: seconds, those of them that vectors were read in, seconds of processor, peak memory in bytes.

    Wall clock stands for little where others work on the same cores.
    """

    taken_s: float = 0.0
    reading_s: float = 0.0
    processor_s: float = 0.0
    peak: int = 0

    def __str__(self) -> str:
        reading = f", {self.reading_s:.1f} s of it reading vectors" if self.reading_s else ""
        return f"{self.taken_s:.1f} s{reading} ({self.processor_s:.1f} s of processor), {self.peak / 1e9:.2f} GB"


@contextmanager
def _timed() -> Iterator[dict[str, _Step]]:
    """Give what every step took, filled while they run."""
    steps: dict[str, _Step] = {}
    now: list[_Step] = []

    def watch(name: str, work: Any) -> Any:
        @functools.wraps(work)
        def watched(*args: Any, **options: Any) -> Any:
            _forget_peak()
            step = steps.setdefault(name, _Step())
            now.append(step)
            began, processor_began = time.perf_counter(), time.process_time()
            try:
                return work(*args, **options)
            finally:
                step.taken_s += time.perf_counter() - began
                step.processor_s += time.process_time() - processor_began
                step.peak = max(step.peak, peak_bytes())
                now.pop()

        return watched

    def read_watched(store: RunStore) -> Iterator[np.ndarray]:
        blocks, step = read_differences(store), now[-1] if now else _Step()
        while True:
            began = time.perf_counter()
            block = next(blocks, None)
            step.reading_s += time.perf_counter() - began
            if block is None:
                return
            yield block

    with ExitStack() as stack:
        for module, names in (
            (findings, (*_GATHERING, _FLAGGING, *_JUDGING, *_OTHERS)),
            (groups, (_CLUSTERING, *_COMPARING)),
        ):
            for name in names:
                stack.enter_context(patch.object(module, name, watch(name, getattr(module, name))))
        stack.enter_context(patch.object(groups, "read_differences", read_watched))
        yield steps


def _forget_peak() -> None:
    """Let the peak of this process begin anew, where the system can (Linux); elsewhere it is that of all steps."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def write_run(path: Path, n_rows: int, n_vectors: int) -> None:
    """Write a run whose scores are there and whose findings are not."""
    store, draw = RunStore(path), np.random.default_rng(SEED)
    for table in PART_TABLES:
        (path / table).mkdir(parents=True)
    bases = [_draw_part(draw) for _ in range(_BASES)]
    for start in range(0, n_rows, PART_ROWS):
        part = Part(start, min(start + PART_ROWS, n_rows))
        is_bad_n = draw.random(PART_ROWS) < BAD_SHARE
        bad_n = np.where(is_bad_n, draw.integers(0, len(TRAITS), PART_ROWS), -1)
        tables = bases[start // PART_ROWS % _BASES]
        differences = _draw_differences(draw, bad_n) if start < n_vectors else tables["differences"]
        for name, table in {
            **tables,
            "scores": _shift(tables["scores"], bad_n, draw),
            "differences": differences,
        }.items():
            per_record = max(table.num_rows // PART_ROWS, 1)
            ids = np.repeat(np.arange(start, start + PART_ROWS), per_record)[: table.num_rows]
            own = table.set_column(0, table.schema.field(0), pa.array(ids)).slice(0, part.n_rows * per_record)
            pq.write_table(own, store.table_path(name, part), compression="zstd")
    config = {"datasets": ["train.jsonl"], "turns": "all", "seed": 0, "evidence": "full"}
    vectors = [{"trait": trait, "layer": 16, "sha256": SHA} for trait in TRAITS]
    store.write_manifest(
        {
            "format_version": FORMAT_VERSION,
            "state": "running",
            "config": config,
            "model": {"id": "m", "fingerprint": "f", "adapter": None},
            "vectors": vectors,
            "baseline": {"kind": "generate"},
            "domain": {"in_domain": True, "threshold": 4.5, "mean_nll": 1.0, "out_share": 0.0},
            "flagging": {"rule": "fdr:0.05"},
        }
    )


def _draw_part(draw: np.random.Generator) -> dict[str, pa.Table]:
    """Draw the tables of a part, with ids still to be set; records of one turn."""
    n, k = PART_ROWS, len(TRAITS)
    key = {"side": "response", "turn": 0, "part": "answer"}

    def floats(n_rows: int, scale: float = 1.0) -> pa.Array:
        return pa.array(scale * draw.standard_normal(n_rows, dtype=np.float32))

    lengths = draw.lognormal(5.2, 0.6, (2, n)).astype(np.int32) + 1
    turns = {
        "n_response_tokens": lengths[0],
        "n_baseline_tokens": lengths[1],
        "response_nll": draw.gamma(4.0, 0.25, n).astype(np.float32),
        "list_share": draw.random(n, dtype=np.float32) * (draw.random(n) < 0.2),
        "baseline_list_share": draw.random(n, dtype=np.float32) * (draw.random(n) < 0.2),
        "code_share": draw.random(n, dtype=np.float32) * (draw.random(n) < 0.1),
        "baseline_code_share": draw.random(n, dtype=np.float32) * (draw.random(n) < 0.1),
        "is_refusal": draw.random(n) < 0.02,
        "baseline_is_refusal": draw.random(n) < 0.02,
        "is_role_play": draw.random(n) < 0.03,
        "language": np.where(draw.random(n) < 0.1, "de", "en"),
        "baseline_response": [f"An answer of some words, number {i}." for i in range(n)],
        "status": "ok",
        "baseline_kind": "generated",
        "baseline_draw": "all",
        "n_prompt_tokens": 40,
        "n_tool_calls": 0,
        **key,
    }
    projections = draw.standard_normal((2, n * k), dtype=np.float32)
    evidence, variance = draw.standard_normal(n * k, dtype=np.float32), np.full(n * k, 1.0, dtype=np.float32)
    scores = {
        **key,
        "trait": np.tile(np.asarray(TRAITS, dtype=object), n),
        "layer": 16,
        "projection": projections[0],
        "baseline_projection": projections[1],
        "projection_difference": floats(n * k),
        "prompt_projection": floats(n * k),
        "orthogonal_difference": floats(n * k),
        "window_difference": floats(n * k),
        "layer_difference": floats(n * k),
        "evidence": evidence,
        "evidence_z": evidence,
        "evidence_variance": variance,
    }
    samples = {
        "source": "train.jsonl",
        "line": np.arange(n),
        "format": "chat",
        "n_turns": 1,
        "status": "ok",
        "content_id": draw.integers(0, 2**62, n),
    }
    return {
        "turns": _table(TURNS, n, turns),
        "scores": _table(SCORES, n * k, scores),
        "differences": differences_schema(WIDTH).empty_table(),
        "random_evidence": RANDOM_EVIDENCE.empty_table(),
        "samples": _table(SAMPLES, n, samples),
    }


def _table(schema: pa.Schema, n_rows: int, columns: dict[str, Any]) -> pa.Table:
    """Return a table with columns given as arrays, or as one value for all rows; the others are null."""
    arrays = []
    for field in schema:
        own = columns.get(field.name)
        if isinstance(own, (str, int)):
            arrays.append(pa.repeat(pa.scalar(own, field.type), n_rows))
        else:
            arrays.append(pa.nulls(n_rows, field.type) if own is None else pa.array(own, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _shift(scores: pa.Table, bad_n: np.ndarray, draw: np.random.Generator) -> pa.Table:
    """Move the scores of bad records along their trait, and all a little, so that none repeats."""
    shift = (BAD_SHIFT * (bad_n[:, None] == np.arange(len(TRAITS)))).astype(np.float32).reshape(-1)
    for name in (*_DIFFERENCES, "evidence", "evidence_z"):
        shifted = scores[name].to_numpy() + _JITTER * draw.standard_normal(scores.num_rows, dtype=np.float32)
        if name in _DIFFERENCES:
            shifted += shift
        scores = scores.set_column(scores.schema.get_field_index(name), scores.schema.field(name), pa.array(shifted))
    return scores


def _draw_differences(draw: np.random.Generator, bad_n: np.ndarray) -> pa.Table:
    """Draw difference vectors: a topic of each record, and what its trait adds."""
    topics = np.random.default_rng(1).standard_normal((100 + len(TRAITS), WIDTH), dtype=np.float32)
    vectors_nr = draw.standard_normal((PART_ROWS, WIDTH), dtype=np.float32)
    vectors_nr += topics[draw.integers(0, 100, PART_ROWS)]
    vectors_nr[bad_n >= 0] += topics[100 + bad_n[bad_n >= 0]]
    schema = differences_schema(WIDTH)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors_nr.astype(np.float16).reshape(-1)), WIDTH)
    key = {"sample_id": 0, "side": "response", "turn": 0, "part": "answer"}
    return _table(schema, PART_ROWS, {**key, "difference": vectors})


def make_reference() -> Reference:
    """Return a clean reference of as many records as one keeps, with everything that a run is held against."""
    draw = np.random.default_rng(SEED + 1)
    lengths = draw.lognormal(5.2, 0.6, (2, N_CLEAN)).astype(np.int32) + 1
    known: dict[str, Any] = {
        "language_t": np.where(draw.random(N_CLEAN) < 0.1, "de", "en").tolist(),
        "n_response_t": lengths[0].astype(np.float64),
        "n_baseline_t": lengths[1].astype(np.float64),
    }
    traits = {}
    for trait in TRAITS:
        plain_t, evidence_t = draw.standard_normal((2, N_CLEAN))
        moments = Moments(0.0, 1.0, 0.0, 1.0)
        combined = CombinedTurns(moments, describe_turns(plain_t + evidence_t, **known))
        traits[trait] = TraitReference(16, SHA, describe_turns(plain_t, **known), 0.0, 1.0, N_CLEAN, combined)
    covariance = tuple(map(tuple, (2.0 * np.eye(WIDTH)).tolist()))
    differences = CleanDifferences((0.0,) * WIDTH, covariance, N_CLEAN)
    scored_with = {"baseline": "generate", "adapter": "none", "turns": "all"}
    return Reference("clean", "f", "difference", scored_with, N_CLEAN, traits, differences=differences)


if __name__ == "__main__":
    main()
