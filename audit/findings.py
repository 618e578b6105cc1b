"""From a scored run to what it means: reference, flags, verdicts and clusters, written beside the scores.

Everything here can be computed again from the parts; nothing here changes a score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.assets import DEMO_MODEL_ID, demo_reference_path
from audit.errors import RunError
from audit.flag import flag_trait
from audit.groups import write_clusters
from audit.inputs import Inputs
from audit.means import estimate_means, measure_moments, read_drawn
from audit.pooling import pool_evidence
from audit.query import open_connection
from audit.query.relations import list_manifest_traits, score_kind
from audit.query.stored import find_stored_scores
from audit.reference import (
    CleanRisks,
    Reference,
    TraitScores,
    check_reference,
    find_moments,
    load_reference,
    make_reference,
)
from audit.risk import measures_both
from audit.schema import FLAGS, SCORED_SIDES
from audit.store import (
    ROW_GROUP_ROWS,
    SAMPLE_SCORES,
    RunStore,
    name_unfinished,
    replacing,
    write_bytes,
    write_table,
)
from audit.verdict import judge_traits, verdicts_table
from audit.wide import (
    RunRisks,
    RunScores,
    gather_risks,
    gather_scores,
    read_gathered,
    read_predicted,
    read_sample_ids,
    write_sample_scores,
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the manifest keeps of the findings."""

    verdicts: list[dict[str, Any]]
    reference: dict[str, Any] | None
    counts: dict[str, Any]


def describe_scoring(manifest: dict[str, Any]) -> dict[str, str]:
    """Return what, beside model, vectors and score kind, a reference must share with a run that is held against it."""
    adapter = manifest["model"]["adapter"]
    described = {
        "baseline": manifest["baseline"]["kind"],
        "adapter": adapter["sha256"][:12] if adapter else "none",
        "turns": manifest["config"]["turns"],
    }
    if manifest["config"].get("orthogonal"):
        # What is left of a vector depends on all the others.
        described["set of orthogonal traits"] = ", ".join(sorted(vector["trait"] for vector in manifest["vectors"]))
    return described


def find_reference(manifest: dict[str, Any], path: str | None, seed: int) -> tuple[Reference | None, str | None]:
    """Return the clean reference of a run and a notice: the one named, the bundled one for the demo model, or None.

    Raises:
        RunError: the reference that was named is no finished run, or was scored in another way.
    """
    if path is not None:
        reference = reference_from_run(Path(path), seed=seed)
        _check_reference(reference, manifest)
        return reference, _explain_plain_flags(reference, manifest)
    if manifest["model"]["id"] != DEMO_MODEL_ID or not demo_reference_path().is_file():
        return None, None
    bundled = load_reference(demo_reference_path()).get(score_kind(manifest))
    if bundled is None:
        return None, None
    try:
        _check_reference(bundled, manifest)
    except RunError as error:
        return None, f"the bundled clean reference does not fit this scan: {error.finding}"
    return bundled, _explain_plain_flags(bundled, manifest)


def _explain_plain_flags(reference: Reference, manifest: dict[str, Any]) -> str | None:
    if not measures_both(manifest) or find_moments(reference, manifest) is not None:
        return None
    return (
        "flags rest on the projection difference alone: the clean reference has no scores that combine it with "
        "evidence for just these traits (scan the clean data with --evidence full and the same traits)"
    )


def _check_reference(reference: Reference, manifest: dict[str, Any]) -> None:
    check_reference(
        reference,
        model_fingerprint=manifest["model"]["fingerprint"],
        score_kind=score_kind(manifest),
        scored_with=describe_scoring(manifest),
        scores=_empty_scores(manifest),
    )


def reference_from_run(path: Path, *, seed: int) -> Reference:
    """Make a clean reference from a finished run; rows outside the model's domain are left out.

    Raises:
        RunError: there is no finished run, it lies outside the model's domain, or too few of its rows have scores.
    """
    manifest = RunStore(path).read_finished_manifest()
    undecided = _why_undecided(manifest)
    if undecided is not None:
        raise RunError(str(path), f"cannot be a reference: {undecided}", "use data that the model knows")
    with _gathered(RunStore(path), manifest) as wide:
        sample_ids = read_sample_ids(wide)
        judged_n = _judged(path, manifest, sample_ids)
        predicted: Mapping[str, NDArray[np.float64]] = {}
        predicted_n = read_predicted(wide) & judged_n
        if manifest["baseline"].get("auto"):
            # Rows with a true baseline are not all alike: some have one because their scores might be high.
            random_ids, predicted = read_drawn(RunStore(path), sample_ids[judged_n])
            judged_n &= np.isin(sample_ids, random_ids)
        with _gathered_risks(RunStore(path), manifest, sample_ids, judged_n, predicted_n) as combined:
            return make_reference(
                str(path),
                model_fingerprint=manifest["model"]["fingerprint"],
                score_kind=score_kind(manifest),
                scored_with=describe_scoring(manifest),
                scores=RunScores(wide, manifest, judged_n),
                predicted=predicted,
                combined=combined,
                seed=seed,
            )


@contextmanager
def _gathered_risks(
    store: RunStore,
    manifest: dict[str, Any],
    sample_ids: NDArray[np.int64],
    clean_n: NDArray[np.bool_],
    predicted_n: NDArray[np.bool_],
) -> Iterator[CleanRisks | None]:
    """Give the combined scores of a clean run, standardised by its own turns; None where it has not all it takes."""
    traits = list_manifest_traits(manifest)
    moments = measure_moments(store, sample_ids[clean_n]) if measures_both(manifest) else {}
    if set(moments) != set(traits):
        yield None
        return
    with TemporaryDirectory(prefix="persona-audit-") as folder:
        path = Path(folder) / "risks"
        gather_risks(store, traits, path, moments)
        # Plain scores have a prediction for every record; these only for those whose baselines stayed predicted.
        predicted = RunRisks(path, traits, has_risk=True, keep_n=predicted_n)
        yield CleanRisks(
            {trait: moments[trait] for trait in traits},
            RunRisks(path, traits, has_risk=True, keep_n=clean_n),
            {trait: own.risk_n for trait, own in predicted.items() if own.risk_n is not None},
        )


@contextmanager
def _gathered(store: RunStore, manifest: dict[str, Any]) -> Iterator[Path]:
    """Give a run's wide table; where it has none, one that is computed for the moment and lies outside the run."""
    stored = find_stored_scores(store, list_manifest_traits(manifest))
    if stored is not None:
        yield stored
        return
    with TemporaryDirectory(prefix="persona-audit-") as folder:
        gather_scores(store, manifest, Path(folder) / SAMPLE_SCORES)
        yield Path(folder) / SAMPLE_SCORES


def write_findings(store: RunStore, manifest: dict[str, Any], inputs: Inputs, reference: Reference | None) -> Findings:
    """Compute and write flags, verdicts, clusters and the wide table of a run whose parts are all there.

    Sets `evidence` of the manifest, see `pooling.RunEvidence`.
    """
    # The wide table repeats what the other files say: it goes first and comes last, so that it is never out of date.
    store.sample_scores_path.unlink(missing_ok=True)
    (store.path / "reference.json").unlink(missing_ok=True)
    if reference is not None:
        write_bytes(store.path / "reference.json", reference.to_json().encode())
    gathered = name_unfinished(store.sample_scores_path)
    risks = name_unfinished(store.path / "risks")
    try:
        gather_scores(store, manifest, gathered)
        return _write_findings(store, manifest, inputs, reference, gathered, risks)
    finally:
        gathered.unlink(missing_ok=True)
        risks.unlink(missing_ok=True)


def _write_findings(
    store: RunStore,
    manifest: dict[str, Any],
    inputs: Inputs,
    reference: Reference | None,
    gathered: Path,
    gathered_risks: Path,
) -> Findings:
    undecided = _why_undecided(manifest)
    moments = find_moments(reference, manifest)
    traits = list_manifest_traits(manifest)
    has_risks = gather_risks(store, traits, gathered_risks, moments)
    risks = RunRisks(gathered_risks, traits, has_risk=moments is not None) if has_risks else None
    is_combined = risks is not None and moments is not None
    sample_ids, scores = read_sample_ids(gathered), RunScores(gathered, manifest)
    judged_n = _judged(store.path, manifest, sample_ids)
    if undecided is not None:
        judged_n[:] = False
    predicted_n = read_predicted(gathered)
    flagged_nk, has_score_n = _write_flags(store, manifest, scores, risks, sample_ids, judged_n, predicted_n, reference)
    n_flagged = dict(zip(scores, flagged_nk.sum(axis=0).tolist(), strict=True))
    evidence = pool_evidence(store, manifest, sample_ids, judged_n)
    manifest["evidence"] = evidence.to_json() if evidence else None
    verdicts = judge_traits(
        scores,
        reference,
        n_flagged=n_flagged,
        judged_n=judged_n,
        undecided=undecided,
        is_combined=is_combined,
        evidence=evidence.traits if evidence else None,
        estimated=estimate_means(store, manifest) if manifest["baseline"].get("auto") else None,
    )
    write_table(store.path / "verdicts.parquet", verdicts_table(verdicts))
    any_flag_n = np.asarray(flagged_nk.any(axis=1))
    cluster_n = write_clusters(store, manifest, inputs, scores, sample_ids, any_flag_n)
    write_sample_scores(
        store.sample_scores_path,
        tuple(scores),
        read_gathered(gathered),
        flagged_nk=flagged_nk,
        cluster_n=cluster_n,
        near_n=np.zeros(len(sample_ids), dtype=bool),
    )
    n_judged = int((has_score_n & judged_n).sum()) if reference else 0
    any_share = None
    if reference is not None:
        any_share = reference.any_combined_share if is_combined else reference.any_share
    return Findings(
        verdicts=verdicts,
        reference=describe_reference(reference),
        counts={
            "n_judged": n_judged,
            "n_flagged": int(any_flag_n.sum()),
            "expected_false_flags": None if any_share is None else any_share * n_judged,
            "n_clusters": int(cluster_n.max(initial=-1)) + 1,
        },
    )


def _write_flags(
    store: RunStore,
    manifest: dict[str, Any],
    scores: RunScores,
    risks: RunRisks | None,
    sample_ids: NDArray[np.int64],
    judged_n: NDArray[np.bool_],
    predicted_n: NDArray[np.bool_],
    reference: Reference | None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Write the flags; return them by sample and trait [n, k], and which samples have a score at all."""
    flagged_nk = np.zeros((len(sample_ids), len(scores)), dtype=bool)
    has_score_n = np.zeros(len(sample_ids), dtype=bool)
    with (
        replacing(store.path / "flags.parquet") as unfinished,
        pq.ParquetWriter(unfinished, FLAGS, compression="zstd") as writer,
    ):
        for k, (trait, own) in enumerate(scores.items()):
            has_score_n |= np.isfinite(own.max_n)
            for table in flag_trait(
                trait,
                own,
                reference.traits[trait] if reference else None,
                sample_ids=sample_ids,
                has_difference=score_kind(manifest) != "projection",
                judged_n=judged_n,
                predicted_n=predicted_n,
                risks=risks[trait] if risks else None,
            ):
                writer.write_table(table)
                flagged_ids = table.filter(table["flagged"])["sample_id"].to_numpy()
                flagged_nk[np.searchsorted(sample_ids, flagged_ids), k] = True
    return flagged_nk, has_score_n


def describe_reference(reference: Reference | None) -> dict[str, Any] | None:
    """Return what the manifest keeps of a reference: where it came from, its size, and a hash of its scores."""
    if reference is None:
        return None
    digest = hashlib.sha256(reference.to_json().encode()).hexdigest()
    return {"source": reference.source, "n": reference.n, "sha256": digest}


def _empty_scores(manifest: dict[str, Any]) -> dict[str, TraitScores]:
    nothing = np.zeros(0)
    return {
        vector["trait"]: TraitScores(vector["layer"], vector["sha256"], nothing, nothing)
        for vector in manifest["vectors"]
    }


def _judged(path: Path, manifest: dict[str, Any], sample_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return False for samples with an answer, trained towards, whose loss lies above the domain's threshold."""
    judged = np.ones(len(sample_ids), dtype=bool)
    threshold = manifest["domain"]["threshold"]
    if threshold is None:
        return judged
    with open_connection(path) as connection:
        outside = connection.sql(
            "SELECT sample_id FROM turns WHERE response_nll > ? AND part = 'answer' AND list_contains(?, side)",
            params=[threshold, list(SCORED_SIDES)],
        ).to_arrow_reader(ROW_GROUP_ROWS)
        for batch in outside:
            judged[np.searchsorted(sample_ids, batch.column(0).to_numpy())] = False
    return judged


def _why_undecided(manifest: dict[str, Any]) -> str | None:
    domain = manifest["domain"]
    if domain["in_domain"] is False:
        return (
            f"out of the demo model's domain: mean loss {domain['mean_nll']:.1f} nats a token, "
            f"{domain['out_share']:.0%} of the probe above {domain['threshold']}"
        )
    return None
