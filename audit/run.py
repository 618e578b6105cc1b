"""The whole job: inputs → model → probe → parts → findings, and the `Run` that a user holds afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from audit import __version__
from audit.assets import DEMO_MODEL_ID, demo_model_dir, demo_vectors_dir
from audit.baseline import BaselineFile, open_baseline
from audit.config import BASELINE_KINDS, ScanConfig
from audit.confound import measure_run_agreement
from audit.domain import DEMO_DOMAIN_NLL, choose_probe, describe_domain, measure_agreement
from audit.errors import DataError, RunError, VectorError
from audit.events import Listener, Noted, PartWritten, StageAdvanced, StageFinished, StageStarted, Warned, ignore_events
from audit.export import ExportReceipt, export_run
from audit.findings import find_reference, write_findings
from audit.inputs import Inputs, read_chosen, read_range, survey_inputs
from audit.model.chat import TEMPLATE_DATE, render_prompt_or_none
from audit.model.generate import GENERATION_PARAMETERS
from audit.model.load import LoadedModel, load_model
from audit.query import open_connection, run_query
from audit.samples import Sample, SkippedSample
from audit.schema import FORMAT_VERSION
from audit.score import reduction_matrix
from audit.shard import BLOCK_ROWS, ScoringJob, measure_turn_losses, score_block
from audit.store import Part, RunStore, hash_file
from audit.summary import count_rows, summarise_run
from audit.vectors import PersonaVector, check_fit, load_vectors

if TYPE_CHECKING:
    import duckdb
    import polars as pl

PART_SECONDS = 60.0
"""A part is closed at the next block after this much work: what a kill can cost."""


class Run:
    """A run directory, opened. `n_scored` and `n_reused` count the records that the last `scan` call worked on."""

    def __init__(self, path: Path, manifest: dict[str, Any], *, n_scored: int = 0, n_reused: int = 0) -> None:
        self.path = path
        self.manifest = manifest
        self.n_scored = n_scored
        self.n_reused = n_reused
        self._connection: duckdb.DuckDBPyConnection | None = None

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """Run one read-only statement over the run's relations.

        Raises:
            QueryError: the statement is not a single read-only one, or DuckDB refuses it.
        """
        if self._connection is None:
            self._connection = open_connection(self.path)
        return run_query(self._connection, query)

    def scores(self) -> pl.LazyFrame:
        """Return the `scores` relation, one row per turn and trait, lazily."""
        import polars

        store = RunStore(self.path)
        files = [store.table_path("scores", part) for part in store.parts()]
        if not files:
            raise RunError(str(self.path), "no part has been finished yet", "run the scan again to continue it")
        return polars.scan_parquet(files)

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """The verdict rows, one per trait; empty while the scan has not finished."""
        return list(self.manifest["verdicts"])

    def summary(self) -> dict[str, Any]:
        """Return what `persona-audit summary` prints, as JSON values."""
        return summarise_run(self.path, self.manifest)

    def export(self, output: str | Path, **options: Any) -> ExportReceipt:
        """Write the filtered dataset; see `audit.export.export_run` for the options."""
        return export_run(self.path, output=Path(output), **options)


def open_run(path: str | Path) -> Run:
    """Open a run directory, finished or not.

    Raises:
        RunError: there is no run, or it was written by another format version.
    """
    return Run(Path(path), RunStore(Path(path)).read_manifest())


def scan(config: ScanConfig, *, listener: Listener = ignore_events) -> Run:
    """Score a dataset: read, make baselines, project, store, flag.

    A killed scan continues where it stopped; a finished one is returned as it is.

    Raises:
        AuditError: the user can mend it; nothing that was finished is lost.
    """
    inputs = survey_inputs(config, listener)
    vectors = choose_vectors(config)
    store = RunStore(config.run_path)
    store.refuse_foreign()
    settings = _settings(config, inputs, vectors)
    if store.exists() and not config.fresh:
        manifest = store.read_manifest()
        refuse_other_settings(store, manifest, settings)
        if manifest["state"] == "finished":
            listener(Noted(f"{store.path} holds this scan already, finished; --fresh starts over"))
            return Run(store.path, manifest, n_reused=inputs.n_records)
    listener(StageStarted("loading the model", None, ""))
    model = load_scan_model(config)
    listener(StageFinished("loading the model"))
    plan = _Plan(config, inputs, vectors, model, settings, _collect_notices(config, vectors, model))
    for notice in plan.notices:
        listener(Noted(notice))
    with store.opened_for_writing(fresh=config.fresh):
        return _scan_into(store, plan, listener)


def choose_vectors(config: ScanConfig) -> dict[str, PersonaVector]:
    """Return the persona vectors of a scan by trait, in the order of `--traits` where it is given.

    Raises:
        VectorError: no vector for a trait that was asked for, or a vector file that cannot be used.
    """
    paths = config.vectors or (str(demo_vectors_dir()),)
    vectors = load_vectors(paths)
    missing = [trait for trait in config.traits if trait not in vectors]
    if missing:
        raise VectorError("--traits", f"no vector for {missing[0]}", f"there are vectors for {', '.join(vectors)}")
    return {trait: vectors[trait] for trait in (config.traits or vectors)}


def load_scan_model(config: ScanConfig) -> LoadedModel:
    """Load the model of a scan: the one named, or the bundled demo model."""
    model = load_model(
        model=config.model or str(demo_model_dir()),
        revision=config.revision,
        dtype=config.dtype,
        device=config.device,
        device_map=config.device_map,
        adapter=config.adapter,
    )
    return model if config.model else replace(model, id=DEMO_MODEL_ID)


def refuse_other_settings(store: RunStore, manifest: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse to continue a run with other settings; both values are named.

    Raises:
        RunError: with every setting that differs.
    """
    stored = manifest["config"]
    found = []
    for name in sorted(settings.keys() | stored.keys()):
        theirs, ours = stored.get(name), settings.get(name)
        if theirs == ours:
            continue
        if isinstance(theirs, dict) and isinstance(ours, dict):
            keys = [key for key in sorted(theirs.keys() | ours.keys()) if theirs.get(key) != ours.get(key)]
            found += [f"{name} {key}: the run has {theirs.get(key)}, this scan {ours.get(key)}" for key in keys]
        else:
            found.append(f"{name}: the run has {theirs}, this scan {ours}")
    if found:
        raise RunError(
            str(store.path),
            "was made with other settings: " + "; ".join(found),
            "choose another --out, or discard the run with --fresh",
        )


def _settings(config: ScanConfig, inputs: Inputs, vectors: Mapping[str, PersonaVector]) -> dict[str, Any]:
    """Return everything that decides the scores and is known before the model is loaded."""
    is_file = config.baseline not in BASELINE_KINDS
    return {
        **config.compared(),
        "baseline_sha256": hash_file(config.baseline) if is_file else None,
        "inputs": {source.path: {"sha256": source.sha256, "format": source.format} for source in inputs.sources},
        "vectors": {
            trait: {"layer": config.layer or vector.layer, "sha256": vector.sha256} for trait, vector in vectors.items()
        },
    }


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that is settled before the run directory is touched."""

    config: ScanConfig
    inputs: Inputs
    vectors: Mapping[str, PersonaVector]
    model: LoadedModel
    settings: dict[str, Any]
    notices: list[str]

    def layer(self, trait: str) -> int:
        """The layer that a trait is scored at."""
        return self.config.layer or self.vectors[trait].layer


def _collect_notices(config: ScanConfig, vectors: Mapping[str, PersonaVector], model: LoadedModel) -> list[str]:
    """Check that the vectors fit the model, and return what a user should know before the scan.

    Raises:
        VectorError: a vector of another model, or a layer that cannot be scored.
    """
    notices = []
    if config.model is None:
        notices.append("the bundled demo model scores; it knows its own demo world only (name yours with --model)")
    if model.template.name == "plain":
        notices.append("the model has no chat template: the plain template (User: / Assistant:) is used")
    for trait, vector in vectors.items():
        place = vector.path or trait
        misfits = check_fit(vector, model.fingerprint, config.layer or vector.layer, model_id=model.id)
        notices += [f"{place}: {finding} than the one it was measured with" for finding in misfits]
    unreported = [trait for trait, vector in vectors.items() if not vector.has_report]
    if unreported:
        notices.append(
            f"imported vectors without a report ({', '.join(unreported)}): nothing says how well they separate"
        )
    return notices


def _scan_into(store: RunStore, plan: _Plan, listener: Listener) -> Run:
    config, inputs = plan.config, plan.inputs
    manifest = _start_manifest(plan)
    if store.exists():
        earlier = store.read_manifest()
        refuse_other_settings(store, earlier, plan.settings)
        _refuse_other_model(store, earlier, manifest)
        manifest = {**manifest, "created_at": earlier["created_at"], "timing": earlier["timing"]}
    reference = find_reference(manifest, config.reference, config.seed)
    with _open_job(plan) as job:
        store.write_manifest(manifest)
        job = _probe(manifest, config, inputs, job, listener)
        store.write_manifest(manifest)
        n_reused = sum(part.n_rows for part in store.parts())
        n_scored = _score_parts(store, manifest, config, inputs, job, listener, n_reused=n_reused)
    with _timed(manifest, "findings"):
        findings = write_findings(store, manifest, inputs, reference)
    if manifest["baseline"]["agreement"] is None and config.baseline not in ("prompt", "none"):
        manifest["baseline"]["agreement"] = measure_run_agreement(store.path)
    manifest["verdicts"] = findings.verdicts
    manifest["reference"] = findings.reference
    manifest["counts"] = {
        **count_rows(store.path),
        "n_flagged": findings.n_flagged,
        "expected_false_flags": findings.expected_false_flags,
        "n_clusters": findings.n_clusters,
    }
    manifest["state"] = "finished"
    manifest["finished_at"] = _now()
    store.write_manifest(manifest)
    return Run(store.path, manifest, n_scored=n_scored, n_reused=n_reused)


def _start_manifest(plan: _Plan) -> dict[str, Any]:
    config, model = plan.config, plan.model
    kind = config.baseline if config.baseline in BASELINE_KINDS else "file"
    generator = {"generate": model.id, "file": config.baseline}.get(kind)
    parameters = {**GENERATION_PARAMETERS, "max_new_tokens": config.max_new_tokens} if kind == "generate" else {}
    return {
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "state": "running",
        "created_at": _now(),
        "finished_at": None,
        "config": plan.settings,
        "inputs": plan.inputs.to_json(),
        "model": {
            "id": model.id,
            "revision": model.revision,
            "fingerprint": model.fingerprint.digest,
            "dtype": model.dtype,
            "device": str(model.device),
            "template": model.template.name,
            "template_sha256": model.template_sha256,
            "template_date": TEMPLATE_DATE.isoformat(),
            "adapter": asdict(model.adapter) if model.adapter else None,
            "context_tokens": model.context_tokens,
            "n_layers": model.n_layers,
        },
        "vectors": [
            {
                "trait": trait,
                "layer": plan.layer(trait),
                "sha256": vector.sha256,
                "purpose": vector.purpose,
                "source": vector.path,
            }
            for trait, vector in plan.vectors.items()
        ],
        "baseline": {
            "kind": kind,
            "generator": generator,
            "parameters": parameters,
            "seed": config.seed,
            "agreement": None,
        },
        "counts": {"n_samples": plan.inputs.n_records},
        "domain": None,
        "verdicts": [],
        "reference": None,
        "notices": list(plan.notices),
        "timing": {},
    }


def _refuse_other_model(store: RunStore, earlier: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    for field in ("fingerprint", "dtype", "template_sha256", "adapter"):
        theirs, ours = earlier["model"][field], manifest["model"][field]
        if theirs != ours:
            raise RunError(
                str(store.path),
                f"was made with another model: its {field} is {theirs}, now {ours}",
                "choose another --out, or discard the run with --fresh",
            )
    if earlier["tool_version"] != manifest["tool_version"]:
        raise RunError(
            str(store.path),
            f"was begun by version {earlier['tool_version']}, this is {manifest['tool_version']}",
            "finish it with that version, or discard it with --fresh",
        )


@contextmanager
def _open_job(plan: _Plan) -> Iterator[ScoringJob]:
    config, model = plan.config, plan.model
    units = {trait: (plan.layer(trait), vector.unit(plan.layer(trait))) for trait, vector in plan.vectors.items()}
    job = ScoringJob(
        model=model,
        units=units,
        baseline=config.baseline,
        max_new_tokens=config.max_new_tokens,
        max_tokens=min(config.max_tokens or model.context_tokens, model.context_tokens),
        batch_tokens=config.batch_tokens,
        seed=config.seed,
        reduction=reduction_matrix(model.d_hidden, config.seed),
        is_nll_for_all=config.model is None or config.nll,
        keep_columns=config.keep_columns,
    )
    if config.baseline in BASELINE_KINDS:
        yield job
        return
    with open_baseline(
        config.baseline, by=config.baseline_by, render_prompt=lambda prompt: render_prompt_or_none(model, prompt)
    ) as baseline:
        _refuse_no_match(baseline, config, plan.inputs)
        yield replace(job, baseline=baseline)


def _refuse_no_match(baseline: BaselineFile, config: ScanConfig, inputs: Inputs) -> None:
    records = read_range(inputs, 0, inputs.n_records, turns=config.turns)
    turns = ((record.sample_id, turn) for record in records if isinstance(record, Sample) for turn in record.turns)
    if not any(baseline.find(sample_id, turn) is not None for sample_id, turn in turns):
        raise DataError(
            baseline.path,
            "no response in this baseline file belongs to a prompt of the dataset",
            "check that the prompts are the same, or match by --baseline-by position",
        )


def _probe(
    manifest: dict[str, Any], config: ScanConfig, inputs: Inputs, job: ScoringJob, listener: Listener
) -> ScoringJob:
    """Measure the probe's loss, settle the domain, and return the job with what was measured."""
    with _timed(manifest, "probe"):
        listener(StageStarted("probing", None, "samples"))
        probe_ids = choose_probe(inputs.n_records, config.seed)
        samples = list(read_chosen(inputs, probe_ids, turns=config.turns))
        losses = measure_turn_losses(samples, job)
        domain = describe_domain(losses, DEMO_DOMAIN_NLL if config.model is None else None)
        manifest["domain"] = domain.to_json()
        if domain.notice:
            manifest["notices"].append(domain.notice)
            listener(Warned(domain.notice))
        if config.baseline == "prompt":
            manifest["baseline"]["agreement"] = measure_agreement(samples, job)
        listener(StageFinished("probing"))
    return replace(job, probed_nll={} if job.is_nll_for_all else losses)


def _score_parts(
    store: RunStore,
    manifest: dict[str, Any],
    config: ScanConfig,
    inputs: Inputs,
    job: ScoringJob,
    listener: Listener,
    *,
    n_reused: int,
) -> int:
    """Score every record that no finished part covers and return how many there were."""
    listener(StageStarted("scoring", inputs.n_records, "rows", done=n_reused))
    n_scored = 0
    for start, stop in find_gaps(store.parts(), inputs.n_records):
        records = read_range(
            inputs, start, stop, turns=config.turns, keep_columns=config.keep_columns, strict=config.strict
        )
        pending: list[dict[str, pa.Table]] = []
        part_start, began = start, time.monotonic()
        for block_start, block_stop in split_blocks(start, stop, config.shard_rows):
            block = _take(records, block_stop - block_start)
            pending.append(score_block(block, job))
            listener(StageAdvanced("scoring", len(block)))
            elapsed = time.monotonic() - began
            if block_stop == stop or block_stop % config.shard_rows == 0 or elapsed > PART_SECONDS:
                part = Part(part_start, block_stop)
                store.write_part(
                    part, {name: pa.concat_tables([tables[name] for tables in pending]) for name in pending[0]}
                )
                manifest["timing"]["scoring"] = manifest["timing"].get("scoring", 0.0) + elapsed
                store.write_manifest(manifest)
                listener(PartWritten(part.name, part.n_rows))
                n_scored += part.n_rows
                pending, part_start, began = [], block_stop, time.monotonic()
    listener(StageFinished("scoring"))
    return n_scored


def find_gaps(parts: list[Part], n_records: int) -> list[tuple[int, int]]:
    """Return the ranges of records that no part covers.

    Raises:
        RunError: a part lies beyond the inputs' end.
    """
    gaps, position = [], 0
    for part in parts:
        if part.start > position:
            gaps.append((position, part.start))
        position = part.stop
    if position > n_records:
        raise RunError(
            "samples", f"a part ends at row {position}, the inputs at {n_records}", "start over with --fresh"
        )
    if position < n_records:
        gaps.append((position, n_records))
    return gaps


def split_blocks(start: int, stop: int, shard_rows: int) -> Iterator[tuple[int, int]]:
    """Yield the blocks of [start, stop): cut at every multiple of `shard_rows`, and every 64 rows from there.

    The cuts depend on positions alone, so a continued run forms the batches that an undisturbed one forms.
    """
    position = start
    while position < stop:
        shard_start = position - position % shard_rows
        inside = position - shard_start
        next_cut = shard_start + min(inside - inside % BLOCK_ROWS + BLOCK_ROWS, shard_rows)
        yield position, min(next_cut, stop)
        position = min(next_cut, stop)


def _take(records: Iterator[Sample | SkippedSample], n: int) -> list[Sample | SkippedSample]:
    block = [record for _, record in zip(range(n), records, strict=False)]
    if len(block) != n:
        raise DataError("DATASET", "the file has fewer records than a moment ago", "scan again when it is complete")
    return block


@contextmanager
def _timed(manifest: dict[str, Any], stage: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    manifest["timing"][stage] = manifest["timing"].get(stage, 0.0) + time.monotonic() - began


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
