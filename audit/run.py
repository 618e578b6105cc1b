"""The whole job: inputs → model → probe → answers → parts → findings, and the `Run` that a user holds afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.auto import choose_baselines
from audit.baseline import BaselineFile, number_turns, open_baseline
from audit.breakdown import break_down
from audit.cascade import LEAST_PROMPTS
from audit.compare import LISTED_ROWS, compare_runs
from audit.config import ScanConfig, is_dataset, plan_reference_scan
from audit.confound import measure_run_agreement
from audit.directions import choose_vectors
from audit.domain import DEMO_DOMAIN_NLL, choose_agreement_samples, choose_probe, describe_domain, measure_agreement
from audit.errors import DataError, RunError
from audit.events import Listener, Noted, StageAdvanced, StageFinished, StageStarted, Warned, ignore_events
from audit.export import ExportReceipt, export_run
from audit.findings import explain_predicted, find_reference, is_about_judging, is_judged_by, write_findings
from audit.generation import open_answering
from audit.inputs import Inputs, read_chosen, read_range, survey_inputs
from audit.judges import Rater
from audit.known import TurnKey
from audit.model.chat import render_prompt_or_none
from audit.opinions import N_RANDOM, THRESHOLD, Opinions, judge_planned, plan_judging
from audit.parts import score_parts
from audit.plan import (
    Plan,
    choose_generation,
    collect_notices,
    collect_settings,
    find_server,
    load_scan_model,
    now,
    refuse_other_model,
    refuse_other_settings,
    refuse_own_reference,
    start_manifest,
    warn_of_cut_answers,
    warn_of_server,
)
from audit.query import open_connection, run_query
from audit.reference import Reference
from audit.samples import Sample
from audit.score import reduction_matrix
from audit.shard import BLOCK_ROWS, measure_turn_losses
from audit.specs import choose_specs, note_missing
from audit.states import ScoringJob
from audit.store import RunStore
from audit.summary import count_rows, summarise_run
from audit.validation import K_DEFAULT, Validation, validate_run

if TYPE_CHECKING:
    import duckdb
    import polars as pl


NOTABLE_FAILED_SHARE = 0.05
"""A larger share of turns without a baseline than this is said aloud."""


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
        return polars.scan_parquet(files, glob=False)

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """The verdict rows, one per trait; empty while the scan has not finished."""
        return list(self.manifest["verdicts"])

    def summary(self) -> dict[str, Any]:
        """Return what `persona-audit summary` prints, as JSON values."""
        return summarise_run(self.path, self.manifest)

    def validate(
        self, labels: str | Path, *, traits: Sequence[str] = (), k: Sequence[int] = K_DEFAULT, by: str | None = None
    ) -> Validation:
        """Hold scores and flags against labels; see `audit.validation.validate_run` for arguments and errors."""
        return validate_run(self.path, labels, traits=traits, k=k, by=by)

    def compare(self, other: Run | str | Path, *, rows: int = LISTED_ROWS) -> dict[str, Any]:
        """Return what changed from this run to another, as JSON values; see `audit.compare.compare_runs`.

        Raises:
            RunError: a run is not finished or has no scores, or the two have no trait in common.
        """
        return compare_runs(self.path, other.path if isinstance(other, Run) else other, rows=rows)

    def by(self, column: str) -> dict[str, Any]:
        """Return the verdicts by the values of a column; see `audit.breakdown.break_down`.

        Raises:
            RunError: the scan has not finished.
            ConfigError: the run has no such column.
        """
        return break_down(self.path, column)

    def judge(
        self,
        judge: Rater,
        *,
        traits: Sequence[str] = (),
        n_random: int = N_RANDOM,
        limit: int | None = None,
        threshold: float = THRESHOLD,
        seed: int = 0,
        spec_paths: Sequence[str | Path] = (),
        listener: Listener = ignore_events,
    ) -> Opinions:
        """Ask a judge about flagged records and a random part; see `audit.opinions` for arguments and errors.

        Args:
            judge: such as `audit.judges.connect_judge("http://localhost:8000/v1")`.
        """
        plan = plan_judging(
            self.path,
            traits=traits,
            n_random=n_random,
            limit=limit,
            threshold=threshold,
            seed=seed,
            spec_paths=spec_paths,
        )
        return judge_planned(plan, judge, listener=listener)

    def export(
        self,
        output: str | Path,
        *,
        where: str | None = None,
        drop: str | None = None,
        rejected: str | Path | None = None,
        keep_skipped: bool = False,
        annotate: bool = False,
        formats: Sequence[str] = (),
        overwrite: bool = False,
        listener: Listener = ignore_events,
    ) -> ExportReceipt:
        """Write the filtered dataset; see `audit.export.export_run` for what the options mean and what is raised."""
        return export_run(
            self.path,
            output=output,
            where=where,
            drop=drop,
            rejected=rejected,
            keep_skipped=keep_skipped,
            annotate=annotate,
            formats=formats,
            overwrite=overwrite,
            listener=listener,
        )


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
    return _scan(_scan_reference(config, listener), listener)


def _scan(config: ScanConfig, listener: Listener, *, is_judged_anew: bool = True) -> Run:
    """Scan a dataset whose reference, if it names one, is a run.

    Args:
        is_judged_anew: a finished run that was judged by another reference or rule is judged by these.
    """
    inputs = survey_inputs(config, listener)
    vectors = choose_vectors(config)
    store = RunStore(config.run_path)
    specs = choose_specs(config, vectors)
    settings = collect_settings(config, inputs, vectors, specs)
    if store.exists() and not config.fresh:
        manifest = store.read_manifest()
        refuse_other_settings(store, manifest, settings)
        if manifest["state"] == "finished":
            if not is_judged_anew:
                return Run(store.path, manifest, n_reused=inputs.n_records)
            return _return_finished(store, manifest, config, inputs, listener)
    store.refuse_unwritable()
    server = find_server(config)
    listener(StageStarted("loading the model", None, ""))
    model = load_scan_model(config, vectors)
    listener(StageFinished("loading the model"))
    notices = [*collect_notices(config, vectors, model), *note_missing(specs, vectors)]
    plan = Plan(config, inputs, vectors, model, settings, notices, choose_generation(config, model), server, specs)
    for note in plan.notices:
        listener(Noted(note))
    # Whatever can be refused is refused before `--fresh` removes an earlier run.
    manifest = start_manifest(plan)
    reference, notice = find_reference(manifest, config.reference, config.seed)
    for warning in (notice, warn_of_server(server, model), warn_of_cut_answers(server)):
        if warning is not None:
            manifest["notices"].append(warning)
            listener(Warned(warning))
    with open_job(plan) as job, store.opened_for_writing(fresh=config.fresh):
        return _scan_into(store, plan, manifest, job, reference, listener)


def _scan_reference(config: ScanConfig, listener: Listener) -> ScanConfig:
    """Scan the clean data of `--reference`, unless it is a run, as the data is scanned; return what points to that run.

    Raises:
        ConfigError: the baselines come from a file, which has no responses to the clean data's prompts; or the
            reference is the run itself.
    """
    refuse_own_reference(config)
    if config.reference is None or not is_dataset(config.reference):
        return config
    clean = plan_reference_scan(config)
    listener(Noted(f"the clean reference {config.reference} is scanned first, into {clean.out}"))
    # A run of it that is there already may be somebody's own: only its scores are asked for.
    try:
        run = _scan(clean, listener, is_judged_anew=False)
    except RunError as error:
        if "--fresh" not in error.cure:
            raise
        # Those options are about the run of the data.
        cure = f"rename or remove {clean.out}, or pass a run that was scanned in the same way"
        raise RunError(error.place, error.finding, cure) from error
    return replace(config, reference=str(run.path))


def _scan_into(
    store: RunStore,
    plan: Plan,
    manifest: dict[str, Any],
    job: ScoringJob,
    reference: Reference | None,
    listener: Listener,
) -> Run:
    config, inputs = plan.config, plan.inputs
    if store.exists():
        earlier = store.read_manifest()
        refuse_other_settings(store, earlier, plan.settings)
        refuse_other_model(store, earlier, manifest)
        kept = {name: earlier[name] for name in ("created_at", "timing", "n_widened_turns")}
        manifest = {**manifest, **kept}
        manifest["baseline"]["auto"] = earlier["baseline"].get("auto")
    store.write_manifest(manifest)
    chosen = choose_probe(inputs.n_records, config.seed) if plan.model.is_whole else frozenset()
    probe = list(read_chosen(inputs, chosen, turns=config.turns))
    job = _measure_probe(manifest, config, probe, job, listener)
    store.write_manifest(manifest)
    n_reused = sum(part.n_rows for part in store.parts())
    with _answered(store, manifest, plan, probe, job, reference, listener) as job:
        if config.baseline == "prompt":
            manifest["baseline"]["agreement"] = measure_agreement(choose_agreement_samples(probe, config.seed), job)
        n_scored = score_parts(store, manifest, config, inputs, job, listener, n_reused=n_reused)
    if manifest["baseline"]["agreement"] is None and config.baseline not in ("prompt", "none"):
        manifest["baseline"]["agreement"] = measure_run_agreement(store.path)
    manifest["counts"] = count_rows(store.path)
    n_turns = manifest["counts"]["n_scored_turns"]
    n_failed = manifest["counts"]["turn_statuses"].get("baseline_failed", 0)
    if n_failed > NOTABLE_FAILED_SHARE * n_turns:
        warning = f"{n_failed} of {n_turns} scored turns have no baseline, hence no difference"
        manifest["notices"].append(warning)
        listener(Warned(warning))
    if manifest["n_widened_turns"]:
        manifest["notices"].append(
            f"{manifest['n_widened_turns']} turns were run in float32: "
            f"their hidden states are not finite in {plan.model.dtype}"
        )
    _conclude(store, manifest, inputs, reference)
    store.remove_working_files()
    return Run(store.path, manifest, n_scored=n_scored, n_reused=n_reused)


def _return_finished(
    store: RunStore, manifest: dict[str, Any], config: ScanConfig, inputs: Inputs, listener: Listener
) -> Run:
    """Return a finished run as it is; with another clean reference its findings are made anew from its scores."""
    reference, notice = find_reference(manifest, config.reference, config.seed)
    if is_judged_by(manifest, reference, config.flag):
        listener(Noted(f"{store.path} holds this scan already, finished; --fresh starts over"))
    else:
        listener(Noted(f"{store.path} holds these scores already; they are judged anew by another reference or rule"))
        manifest["notices"] = [own for own in manifest["notices"] if not is_about_judging(own)]
        for warning in filter(None, (notice, explain_predicted(manifest))):
            manifest["notices"].append(warning)
            listener(Warned(warning))
        with store.opened_for_writing(fresh=False):
            # Until all is written, the run is judged by nothing: a scan that was killed here is not taken for done.
            store.write_manifest({**manifest, "flagging": None})
            manifest["flagging"] = {"rule": config.flag}
            _conclude(store, manifest, inputs, reference)
    return Run(store.path, manifest, n_reused=inputs.n_records)


def _conclude(store: RunStore, manifest: dict[str, Any], inputs: Inputs, reference: Reference | None) -> None:
    with _timed(manifest, "findings"):
        findings = write_findings(store, manifest, inputs, reference)
    manifest["verdicts"] = findings.verdicts
    manifest["reference"] = findings.reference
    manifest["counts"] |= findings.counts
    manifest["state"] = "finished"
    manifest["finished_at"] = now()
    store.write_manifest(manifest)


@contextmanager
def open_job(plan: Plan) -> Iterator[ScoringJob]:
    """Give what every block of a scan is scored with, but for the model's own answers.

    Raises:
        MissingDataError, DataError: a baseline file cannot be read, or has no response to any turn.
    """
    config, model = plan.config, plan.model
    job = ScoringJob(
        model=model,
        units=plan.units(),
        baseline=config.baseline_kind,
        max_tokens=min(config.max_tokens or model.context_tokens, model.context_tokens),
        batch_tokens=config.batch_tokens,
        seed=config.seed,
        reduction=reduction_matrix(model.d_hidden),
        is_nll_for_all=config.model is None or config.nll,
        keep_columns=config.keep_columns,
        specs=dict(plan.specs),
        evidence=plan.evidence(),
        orthogonal=plan.orthogonal(),
        layer_rows=plan.layer_rows(),
    )
    if config.baseline_kind != "file":
        yield job
        return
    with open_baseline(
        config.baseline,
        by=config.baseline_by,
        turns=config.turns,
        render_prompt=lambda turn: render_prompt_or_none(model, turn),
    ) as baseline:
        _refuse_no_match(baseline, config, plan.inputs)
        yield replace(job, baseline=baseline)


def _refuse_no_match(baseline: BaselineFile, config: ScanConfig, inputs: Inputs) -> None:
    records = read_range(inputs, 0, inputs.n_records, turns=config.turns)
    found = (
        baseline.find(record.sample_id, ordinal, turn)
        for record in records
        if isinstance(record, Sample)
        for ordinal, turn in number_turns(record.turns)
    )
    if all(response is None for response in found):
        cures = {
            "prompt": "check that the prompts are the same, or match by --baseline-by position",
            "position": "check that the files have their records in the same order, or match by --baseline-by prompt",
        }
        finding = "no response in this baseline file belongs to a turn of the dataset"
        raise DataError(baseline.path, finding, cures[config.baseline_by])


def _measure_probe(
    manifest: dict[str, Any], config: ScanConfig, probe: Sequence[Sample], job: ScoringJob, listener: Listener
) -> ScoringJob:
    """Measure the probe's loss, settle the domain, and return the job with what was measured.

    The probe is empty where only the blocks that score are loaded: a loss takes the whole model.
    """
    with _timed(manifest, "probe"):
        listener(StageStarted("probing", len(probe), "samples"))
        losses: dict[TurnKey, float] = {}
        for start in range(0, len(probe), BLOCK_ROWS):
            block = probe[start : start + BLOCK_ROWS]
            losses |= measure_turn_losses(block, job)
            listener(StageAdvanced("probing", len(block)))
        domain = describe_domain(losses, DEMO_DOMAIN_NLL if config.model is None else None)
        manifest["domain"] = domain.to_json()
        if domain.notice:
            manifest["notices"].append(domain.notice)
            listener(Warned(domain.notice))
        listener(StageFinished("probing"))
    return replace(job, probed_nll={} if job.is_nll_for_all else losses)


@contextmanager
def _answered(
    store: RunStore,
    manifest: dict[str, Any],
    plan: Plan,
    probe: Sequence[Sample],
    job: ScoringJob,
    reference: Reference | None,
    listener: Listener,
) -> Iterator[ScoringJob]:
    """Give the job with the model's own answers that it needs: to every prompt, to some of them, or none."""
    config = plan.config
    if config.baseline_kind not in ("generate", "prompt"):
        yield job
        return
    with open_answering(store.sheet_path, plan, job, listener) as answering:
        with _timed(manifest, "generating"):
            if config.baseline == "prompt":
                chosen = choose_agreement_samples(probe, config.seed)
                answering.list_prompts(chosen, len(chosen), job)
                job = answering.answer_all(job)
            else:
                n = plan.inputs.n_records
                records = read_range(plan.inputs, 0, n, turns=config.turns, strict=config.strict)
                samples = (record for record in records if isinstance(record, Sample))
                n_prompts = answering.list_prompts(samples, n, job)
                if config.baseline == "auto" and n_prompts >= LEAST_PROMPTS:
                    job = choose_baselines(store, manifest, plan, job, answering, reference, listener)
                else:
                    job = answering.answer_all(job)
        manifest["baseline"] |= answering.sheet.count().to_json()
        if (warning := answering.explain_sameness()) is not None:
            manifest["notices"].append(warning)
            listener(Warned(warning))
        store.write_manifest(manifest)
        yield job


@contextmanager
def _timed(manifest: dict[str, Any], stage: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    manifest["timing"][stage] = manifest["timing"].get(stage, 0.0) + time.monotonic() - began
