"""What a scan would cost, before it is made: `scan --dry-run`.

Everything that a scan refuses is refused here, too. The data is counted, a seeded part of it is timed with the loaded
model, and the rest is extrapolated by tokens and prompts. Neither the run directory nor the cache is touched.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit.answers import Answer, cache_path, open_sheet, peek_cache
from audit.cascade import LEAST_PROMPTS
from audit.config import ScanConfig, is_dataset, plan_reference_scan
from audit.directions import choose_vectors
from audit.domain import PROBE_SAMPLES, choose_agreement_samples, choose_probe
from audit.errors import CacheError
from audit.events import Listener, Noted, StageFinished, StageStarted, Warned, ignore_events
from audit.findings import find_reference
from audit.generation import describe_generator, is_identified, make_answers
from audit.inputs import Inputs, read_chosen, survey_inputs
from audit.model.memory import count_weight_bytes, estimate_batch_bytes, estimate_evidence_bytes
from audit.plan import (
    Plan,
    choose_generation,
    collect_notices,
    collect_settings,
    find_server,
    load_scan_model,
    refuse_other_model,
    refuse_other_settings,
    refuse_own_reference,
    start_manifest,
    warn_of_cut_answers,
)
from audit.reference import Reference
from audit.run import open_job
from audit.samples import STDIN, Sample
from audit.schema import FLAGS, sample_scores_schema
from audit.shard import list_prompts, measure_turn_losses, prepare_block, score_block
from audit.specs import choose_specs, note_missing
from audit.states import ScoringJob
from audit.store import RunStore
from audit.workload import Count, Workload, measure_workload

TIMED_ROWS = (8, 64)
"""Records of the two rounds that are timed; the first warms up, and is the only one where it takes long."""

LONG_ROUND_S = 10.0

SCORING_RANGE = (0.7, 1.4)
GENERATING_RANGE = (0.4, 1.4)
"""Between which multiples of the estimate the real time should lie. A whole shard of prompts is answered up to twice as
fast as the few that are timed, as the longest answers of a batch hold up fewer others."""

FINDINGS_S, FINDINGS_ROW_S = 2.0, 60e-6
"""Flags, clusters and summary: measured on two cores."""

_FIXED_BYTES = 16_000
"""Manifest, verdicts and the summary of clusters."""

_ROW_BYTES = 32
"""Of a record in the wide table and among the clusters, beside its numbers by trait."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What the timed records took, and what became of them.

    Attributes:
        n_tokens: prompt and response tokens of their turns.
        scoring_s, n_answers, generating_s, loss_s: of the last round.
        row_bytes, part_bytes: on disk, for every record and beside that for every part.
    """

    n_rows: int
    n_tokens: int
    scoring_s: float
    n_answers: int
    generating_s: float
    loss_s: float
    row_bytes: float
    part_bytes: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a scan would do and take; times in seconds, and estimates throughout but for what was counted.

    Attributes:
        n_done: records that an unfinished scan of these settings has scored already.
        n_parts: parts of turns that would be scored.
        n_prompts: distinct prompts that need an answer of the model's own.
        n_answers_each: answers to each of them: 1, or as many as are drawn.
        n_cached: answers that the cache has.
        n_generated: answers that are neither cached nor predicted.
        seconds: by stage.
        disk_bytes: the finished run directory.
        weight_bytes: the model alone; `memory_bytes` is the peak of the process.
    """

    inputs: list[str]
    run: str
    n_samples: int
    n_readable: int
    n_done: int
    n_turns: int
    n_parts: Count
    prompt_tokens: Count
    response_tokens: Count
    n_prompts: Count
    n_answers_each: int
    n_cached: Count
    n_generated: Count
    seconds: dict[str, float]
    total_s: Count
    disk_bytes: int
    weight_bytes: int
    memory_bytes: int
    model: dict[str, str]
    notices: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        values: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            values[name] = value.to_json() if isinstance(value, Count) else value
        total = {name: round(getattr(self.total_s, name), 1) for name in ("value", "low", "high")}
        seconds = {stage: round(value, 1) for stage, value in self.seconds.items()}
        return {**values, "seconds": seconds, "total_s": total, "share_generated": round(self.share_generated, 4)}

    @property
    def share_generated(self) -> float:
        """The share of all answers that would be generated; 0 where none is needed."""
        n_answers = self.n_prompts.value * self.n_answers_each
        return self.n_generated.value / n_answers if n_answers else 0.0


AUTO_SHARES = (0.5, 0.1, 1.0)
"""Share of the prompts that `auto` answers, and its range: it depends on how well y′ is predicted and how many rows
are flagged, which no look at the prompts tells. Measured: .37 with one row in eight flagged, .74 with three."""


def count_to_generate(baseline: str, n_prompts: Count, n_cached: Count, n_answers_each: int = 1) -> Count:
    """Return how many answers the model would generate for a baseline, of so many distinct prompts.

    Args:
        n_cached: answers that the cache has.
        n_answers_each: answers to each prompt.
    """
    if baseline not in ("auto", "generate", "prompt"):
        return Count(0.0, 0.0, 0.0)
    is_predicted = baseline == "auto" and n_prompts.value >= LEAST_PROMPTS
    share, low, high = AUTO_SHARES if is_predicted else (1.0, 1.0, 1.0)
    return Count(
        share * max(n_prompts.value * n_answers_each - n_cached.value, 0.0),
        low * max(n_prompts.low * n_answers_each - n_cached.high, 0.0),
        high * max(n_prompts.high * n_answers_each - n_cached.low, 0.0),
    )


def estimate_scan(config: ScanConfig, *, listener: Listener = ignore_events) -> Estimate:
    """Return what `scan` would do with these settings, and about how long it would take.

    Raises:
        AuditError: whatever would keep the scan from beginning.
    """
    with _surveyed(config, listener) as inputs:
        vectors = choose_vectors(config)
        store = RunStore(config.run_path)
        specs = choose_specs(config, vectors)
        settings = collect_settings(config, inputs, vectors, specs)
        earlier = store.read_manifest() if store.exists() and not config.fresh else None
        # Standard input would lie in the run directory, and here it lies elsewhere.
        if earlier is not None and STDIN not in config.datasets:
            refuse_other_settings(store, earlier, settings)
        store.refuse_foreign()
        began = time.monotonic()
        listener(StageStarted("loading the model", None, ""))
        model = load_scan_model(config, vectors)
        listener(StageFinished("loading the model"))
        loading_s = time.monotonic() - began
        notices = [*collect_notices(config, vectors, model), *note_missing(specs, vectors)]
        generation, server = choose_generation(config, model), find_server(config)
        plan = Plan(config, inputs, vectors, model, settings, notices, generation, server, specs)
        for note in plan.notices:
            listener(Noted(note))
        manifest = start_manifest(plan)
        reference, notice = _find_reference(manifest, config, listener)
        warnings = [words for words in (notice, warn_of_cut_answers(server)) if words is not None]
        for words in warnings:
            listener(Warned(words))
        if earlier is not None:
            refuse_other_model(store, earlier, manifest)
        with open_job(plan) as job:
            work = measure_workload(config, inputs, job, listener, n_kept=TIMED_ROWS[-1])
            timing = _time_rows(plan, job, work.samples, listener)
            n_done = sum(part.n_rows for part in store.parts()) if earlier is not None else 0
            estimate = _combine(plan, job, work, timing, n_done=n_done, loading_s=loading_s, listener=listener)
    kept_bytes = _FIXED_BYTES + (len(reference.to_json()) if reference is not None else 0)
    return replace(
        estimate,
        model={**estimate.model, **manifest["model"]["forward"]},
        notices=[*estimate.notices, *warnings],
        disk_bytes=estimate.disk_bytes + kept_bytes,
    )


def _find_reference(
    manifest: dict[str, Any], config: ScanConfig, listener: Listener
) -> tuple[Reference | None, str | None]:
    """Return the reference and a notice as a scan would; of data that is yet to be scanned the notice alone."""
    refuse_own_reference(config)
    if config.reference is None or not is_dataset(config.reference):
        return find_reference(manifest, config.reference, config.seed)
    clean = plan_reference_scan(config)
    store = RunStore(clean.run_path)
    if store.exists() and store.read_manifest()["state"] == "finished":
        return find_reference(manifest, str(store.path), config.seed)
    survey_inputs(clean, listener)
    return None, f"the clean reference {config.reference} is scanned first, which is not in these figures"


@contextmanager
def _surveyed(config: ScanConfig, listener: Listener) -> Iterator[Inputs]:
    """Give the inputs; what comes through standard input is kept elsewhere than in the run directory."""
    with tempfile.TemporaryDirectory(prefix="persona-audit-") as folder:
        yield survey_inputs(replace(config, out=folder) if STDIN in config.datasets else config, listener)


def _time_rows(plan: Plan, job: ScoringJob, samples: Sequence[Sample], listener: Listener) -> Timing:
    """Answer and score some records as a scan does."""
    timing = Timing(0, 0, 0.0, 0, 0.0, 0.0, 0.0, 0.0)
    listener(StageStarted("timing", None, ""))
    for n_rows in TIMED_ROWS:
        if timing.n_rows < len(samples) and timing.scoring_s + timing.generating_s < LONG_ROUND_S:
            timing = _time_round(plan, job, samples[:n_rows])
    listener(StageFinished("timing"))
    return timing


def _time_round(plan: Plan, job: ScoringJob, samples: Sequence[Sample]) -> Timing:
    prompts = list(dict.fromkeys(list_prompts(samples, job))) if _has_own_answers(job) else []
    with (
        tempfile.TemporaryDirectory(prefix="persona-audit-") as folder,
        open_sheet(Path(folder) / "answers.sqlite", describe_generator(plan, job.max_tokens)) as sheet,
    ):
        began = time.monotonic()
        # How fast a server answers shows when it is asked; here its answers are as good as empty.
        answers = [Answer("-", 1, True)] * len(prompts)
        if plan.generation is not None:
            answers = make_answers(plan, job, [(prompt, 0) for prompt in prompts])
        generating_s = time.monotonic() - began
        sheet.add_prompts(prompts)
        sheet.draw_all()
        # One answer a prompt is timed; in the place of its others stand those of other prompts, which are as long.
        sheet.add_answers(
            {
                key: answers[(place + sample) % len(answers)]
                for place, prompt in enumerate(prompts)
                for sample, key in enumerate(sheet.generator.keys(prompt))
            },
            is_cached=False,
        )
        began = time.monotonic()
        answered = replace(job, answers=sheet)
        tables = score_block(prepare_block(samples, answered), answered).tables
        scoring_s = time.monotonic() - began
    began = time.monotonic()
    if job.model.is_whole:
        measure_turn_losses(samples, job)
    loss_s = time.monotonic() - began
    turns = tables["turns"]
    n_tokens = sum(filter(None, [*turns["n_prompt_tokens"].to_pylist(), *turns["n_response_tokens"].to_pylist()]))
    half_bytes, whole_bytes = (_measure_bytes(tables, share) for share in (0.5, 1.0))
    row_bytes = max(whole_bytes - half_bytes, 0) / max(len(samples) / 2, 1)
    return Timing(
        n_rows=len(samples),
        n_tokens=n_tokens,
        scoring_s=scoring_s,
        n_answers=len(prompts),
        generating_s=generating_s,
        loss_s=loss_s,
        row_bytes=row_bytes,
        part_bytes=max(2 * half_bytes - whole_bytes, 0),
    )


def _measure_bytes(tables: dict[str, pa.Table], share: float) -> int:
    """Return what the first rows of a block's tables take as files."""
    n_bytes = 0
    for table in tables.values():
        sink = pa.BufferOutputStream()
        pq.write_table(table.slice(0, round(table.num_rows * share)), sink, compression="zstd", compression_level=3)
        n_bytes += sink.getvalue().size
    return n_bytes


def _has_own_answers(job: ScoringJob) -> bool:
    return job.baseline in ("generate", "prompt")


def _combine(
    plan: Plan, job: ScoringJob, work: Workload, timing: Timing, *, n_done: int, loading_s: float, listener: Listener
) -> Estimate:
    config, model = plan.config, plan.model
    n_prompts, n_cached = _count_prompts(plan, job, work, listener)
    n_answers_each = describe_generator(plan, job.max_tokens).n_answers
    n_generated = count_to_generate(config.baseline, n_prompts, n_cached, n_answers_each)
    left = 1 - n_done / work.n_records
    n_tokens = work.prompt_tokens.value + work.response_tokens.value
    scoring_s = left * timing.scoring_s * n_tokens / timing.n_tokens if timing.n_tokens else 0.0
    generating_s = timing.generating_s * n_generated.value / timing.n_answers if timing.n_answers else 0.0
    # Prompts are listed before they are answered, so that the data is read and tokenised once more.
    n_passes = 2 if config.baseline_kind == "generate" else 1
    seconds = {
        "loading": loading_s,
        "reading": n_passes * work.reading_s + (n_passes - 1) * work.tokenising_s,
        "probing": timing.loss_s * min(PROBE_SAMPLES, work.n_records) / max(timing.n_rows, 1),
        "generating": generating_s,
        "scoring": scoring_s,
        "findings": FINDINGS_S + FINDINGS_ROW_S * work.n_records,
    }
    token_low = (work.prompt_tokens.low + work.response_tokens.low) / n_tokens if n_tokens else 1.0
    token_high = (work.prompt_tokens.high + work.response_tokens.high) / n_tokens if n_tokens else 1.0
    rest = sum(value for stage, value in seconds.items() if stage not in ("generating", "scoring"))
    generated_low, generated_high = (
        bound / n_generated.value if n_generated.value else 1.0 for bound in (n_generated.low, n_generated.high)
    )
    total_s = Count(
        sum(seconds.values()),
        SCORING_RANGE[0] * (rest + scoring_s * token_low) + GENERATING_RANGE[0] * generating_s * generated_low,
        SCORING_RANGE[1] * (rest + scoring_s * token_high) + GENERATING_RANGE[1] * generating_s * generated_high,
    )
    n_files = -(-work.n_records // config.shard_rows)
    evidence_bytes = 0
    if job.evidence is not None:
        evidence_bytes = estimate_evidence_bytes(model, job.evidence.layers[0], config.batch_tokens)
    return Estimate(
        inputs=[source.path for source in plan.inputs.sources],
        run=str(config.run_path),
        n_samples=work.n_records,
        n_readable=work.n_readable,
        n_done=n_done,
        n_turns=work.n_turns,
        n_parts=work.n_parts,
        prompt_tokens=work.prompt_tokens,
        response_tokens=work.response_tokens,
        n_prompts=n_prompts,
        n_answers_each=n_answers_each,
        n_cached=n_cached,
        n_generated=n_generated,
        seconds=seconds,
        total_s=total_s,
        disk_bytes=round(
            work.n_records * (timing.row_bytes + _count_found_bytes(len(plan.vectors))) + n_files * timing.part_bytes
        ),
        weight_bytes=count_weight_bytes(model),
        memory_bytes=_peak_bytes() + estimate_batch_bytes(model, config.batch_tokens) + evidence_bytes,
        model={"id": model.id, "dtype": model.dtype, "device": str(model.device)},
        notices=list(plan.notices),
    )


def _count_found_bytes(n_traits: int) -> int:
    """Return about what flags and the wide table take for a record: numbers hardly compress."""
    numbers = [field.name for field in (*FLAGS, *sample_scores_schema(("trait",))) if field.type == pa.float32()]
    return _ROW_BYTES + 4 * n_traits * len(numbers)


def _count_prompts(plan: Plan, job: ScoringJob, work: Workload, listener: Listener) -> tuple[Count, Count]:
    """Return the distinct prompts that need an answer, and how many answers to them the cache has."""
    config = plan.config
    nothing = Count(0.0, 0.0, 0.0)
    if not _has_own_answers(job):
        return nothing, nothing
    prompts, n_prompts = work.prompts, work.n_prompts
    if config.baseline == "prompt":
        # Only some of the probe are answered, to see how far the cheap baseline agrees.
        chosen = choose_probe(plan.inputs.n_records, config.seed)
        probe = list(read_chosen(plan.inputs, chosen, turns=config.turns))
        prompts = list(dict.fromkeys(list_prompts(choose_agreement_samples(probe, config.seed), job)))
        n_prompts = Count(*[float(len(prompts))] * 3)
    generator = describe_generator(plan, job.max_tokens)
    if config.no_cache or not is_identified(generator) or not prompts:
        return n_prompts, nothing
    try:
        keys = [key for prompt in prompts for key in generator.keys(prompt)]
        found = peek_cache(cache_path(), keys)
    except CacheError as error:
        listener(Warned(f"the cache of answers is not counted: {error}"))
        return n_prompts, nothing
    share = len(found) / len(keys)
    if n_prompts.value == len(prompts):
        return n_prompts, Count(*[float(len(found))] * 3)
    half = 1.959964 * (share * (1 - share) / len(prompts)) ** 0.5
    shares = (share, max(share - half, 0.0), min(share + half, 1.0))
    return n_prompts, Count(*(n_prompts.value * generator.n_answers * each for each in shares))


def _peak_bytes() -> int:
    """Return the peak of this process's resident memory; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
