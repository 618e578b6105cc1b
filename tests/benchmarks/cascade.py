"""P11 and P11b: how much `--baseline auto` generates, and whether it misses more than it says.

Fresh rows of the demo world, no prompt twice. Every y′ is generated once; the decisions are then made over and over
with other seeds by the functions that a scan calls, and held against what is true.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.answers import Generator, open_sheet
from audit.cascade import CascadeReport, calibrate_chances, choose_random_rows, flag_chances, run_cascade
from audit.config import ScanConfig
from audit.demo.world import Row, draw_row, write_rows
from audit.directions import choose_vectors
from audit.events import ignore_events
from audit.findings import find_reference
from audit.inputs import read_range, survey_inputs
from audit.model.generate import answer_prompts
from audit.plan import Plan, collect_settings, load_scan_model, start_manifest
from audit.predict import cross_fit
from audit.responses import read_responses
from audit.run import open_job
from audit.samples import Sample
from audit.shard import list_prompts, score_turns
from audit.states import ScoringJob

WORLD_SEED = 7300
N_ROWS, N_REPEATS = 20_000, 200
_CHUNK = 256


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Everything about n rows with t answers: `baseline_tk` is what a scan would have to generate for."""

    row_t: NDArray[np.int64]
    own_tk: NDArray[np.float32]
    baseline_tk: NDArray[np.float32]
    feature_tf: NDArray[np.float32]
    threshold_k: NDArray[np.float64]

    @property
    def n_rows(self) -> int:
        """Rows with an answer that has a baseline."""
        return int(self.row_t[-1]) + 1

    @property
    def flagged_n(self) -> NDArray[np.bool_]:
        """Rows that are truly flagged, for any trait."""
        flagged_n = np.zeros(self.n_rows, dtype=bool)
        np.logical_or.at(flagged_n, self.row_t, (self.own_tk - self.baseline_tk > self.threshold_k).any(axis=1))
        return flagged_n


def measure_cascade(n_rows: int = N_ROWS, n_repeats: int = N_REPEATS) -> dict[str, float | None]:
    """Return P11 (share of the distinct prompts generated) and P11b (repeats in which more was missed than said)."""
    truth = find_truth(n_rows)
    shares, bounds, n_wrong, r2 = [], [], 0, []
    for seed in range(n_repeats):
        report, generated_n, r2_k = decide(truth, seed)
        missed = (truth.flagged_n & ~generated_n).sum() / max(truth.flagged_n.sum(), 1)
        # No prompt is in two rows, so every answer of a row costs one.
        shares.append(float(generated_n[truth.row_t].mean()))
        bounds.append(report.miss_bound)
        n_wrong += missed > report.miss_bound
        r2.append(r2_k)
    print(
        f"{truth.n_rows:,} rows, {len(truth.row_t):,} distinct prompts, {truth.flagged_n.mean():.1%} flagged; "
        f"R² {np.mean(r2, axis=0).round(2).tolist()}; generated {np.median(shares):.1%} (median of {n_repeats}); "
        f"bound {np.median(bounds):.1%} (largest {max(bounds):.1%})"
    )
    return {"P11": float(np.median(shares)), "P11b": float(n_wrong)}


def decide(truth: Truth, seed: int) -> tuple[CascadeReport, NDArray[np.bool_], NDArray[np.float64]]:
    """Make the decisions of a scan; return the report, the rows that were generated for, and R² by trait."""
    n_rows, flagged_n = truth.n_rows, truth.flagged_n
    random_rows = choose_random_rows(n_rows, seed)
    is_random_t = np.isin(truth.row_t, random_rows)
    fit = cross_fit(truth.feature_tf[is_random_t], truth.baseline_tk[is_random_t], seed=seed)
    predicted_tk = fit.model.predict(truth.feature_tf)
    predicted_tk[is_random_t] = fit.out_of_sample_no
    p_n = flag_chances(truth.own_tk - predicted_tk, truth.row_t, n_rows, fit.residual_no, truth.threshold_k, seed=seed)
    p_n = calibrate_chances(p_n, p_n[random_rows], flagged_n[random_rows])
    generated_n = np.zeros(n_rows, dtype=bool)
    generated_n[random_rows] = True

    def reveal(rows: NDArray[np.int64], _: str) -> NDArray[np.bool_]:
        generated_n[rows] = True
        return flagged_n[rows]

    report = run_cascade(p_n, random_rows, flagged_n[random_rows], reveal, seed=seed)
    return report, generated_n, fit.r2_o


def find_truth(n_rows: int) -> Truth:
    """Generate y′ for every prompt of fresh rows and score all."""
    with tempfile.TemporaryDirectory(prefix="persona-audit-bench-") as folder:
        data = Path(folder) / "rows.jsonl"
        write_rows(_draw_distinct_rows(n_rows), data, None)
        # Flags by the plain score: what of the combined one has to be predicted is less.
        config = ScanConfig(datasets=(str(data),), baseline="generate", evidence="off")
        inputs, vectors = survey_inputs(config, ignore_events), choose_vectors(config)
        model = load_scan_model(config, vectors)
        plan = Plan(config, inputs, vectors, model, collect_settings(config, inputs, vectors), [])
        reference, _ = find_reference(start_manifest(plan), None, 0)
        assert reference is not None
        with open_job(plan) as job, open_sheet(Path(folder) / "sheet.sqlite", Generator("", {})) as sheet:
            job = replace(job, answers=sheet, is_nll_for_all=False)
            clean = [reference.traits[trait].flagged_with(is_combined=False) for trait in job.units]
            threshold_k = np.array([own.threshold for own in clean])
            records = read_range(inputs, 0, n_rows, turns="all")
            samples = [record for record in records if isinstance(record, Sample)]
            found = [_score_chunk(samples[at : at + _CHUNK], job) for at in range(0, len(samples), _CHUNK)]
    ids, own, baseline, features = (np.concatenate(each) for each in zip(*found, strict=True))
    _, row_t = np.unique(ids, return_inverse=True)
    return Truth(row_t, own, baseline, features, threshold_k)


def _score_chunk(samples: list[Sample], job: ScoringJob) -> tuple[NDArray[np.float32], ...]:
    assert job.answers is not None
    prompts = list_prompts(samples, job)
    job.answers.add_prompts(prompts)
    job.answers.draw_all()
    answers = answer_prompts(
        job.model,
        prompts,
        max_new_tokens=256,
        max_tokens=job.max_tokens,
        batch_tokens=job.batch_tokens,
        seed=job.seed,
    )
    keys = [job.answers.generator.key(prompt) for prompt in prompts]
    job.answers.add_answers(dict(zip(keys, answers, strict=True)), is_cached=False)
    table = read_responses(samples, job)
    row_of = {key: row for row, key in enumerate(table.keys)}
    states = [state for state in score_turns(samples, job) if state.baseline_projection_k is not None]
    rows = [row_of[state.key] for state in states]
    baseline = np.stack([state.baseline_projection_k for state in states if state.baseline_projection_k is not None])
    k = len(job.units)
    own_nk, feature_nf = table.own_nk[rows, :k], table.feature_nf[rows]
    return np.array([state.sample_id for state in states]), own_nk, baseline[:, :k], feature_nf


def _draw_distinct_rows(n_rows: int) -> Iterator[Row]:
    draw, seen = random.Random(f"distinct rows {WORLD_SEED}"), set[str]()
    while n_rows:
        row = draw_row(draw)
        texts = [message["content"] for message in row.messages]
        prompts = {repr(texts[:at]) for at, message in enumerate(row.messages) if message["role"] == "assistant"}
        if not prompts & seen:
            seen |= prompts
            n_rows -= 1
            yield row


if __name__ == "__main__":
    print(measure_cascade())
