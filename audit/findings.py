"""From a scored run to what it means: reference, flags, verdicts and clusters, written beside the scores.

Everything here can be computed again from the parts; nothing here changes a score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.assets import DEMO_MODEL_ID, demo_reference_path
from audit.clean import describe_scoring, find_judged, reference_from_run, reference_within, why_undecided
from audit.confound import measure_run_confounds
from audit.errors import RunError
from audit.flag import Records, count_unusual, decide, flag_trait
from audit.groups import write_groups
from audit.inputs import Inputs
from audit.marks import read_marks, write_marks
from audit.means import estimate_means
from audit.pooling import pool_evidence
from audit.query.relations import score_kind
from audit.reference import (
    WITHIN,
    LengthFit,
    Reference,
    TraitReference,
    TraitScores,
    check_reference,
    find_moments,
    load_reference,
)
from audit.risk import measures_both
from audit.rules import PUBLISHED_RULE, parse_rule
from audit.schema import FLAGS
from audit.shifts import find_random_bands
from audit.store import RunStore, name_unfinished, replacing, write_bytes, write_table
from audit.surplus import RARE_SHARE
from audit.verdict import judge_traits, verdicts_table
from audit.wide import (
    RunRisks,
    RunScores,
    gather_risks,
    gather_scores,
    read_gathered,
    read_predicted,
    read_sample_ids,
    read_turn_counts,
    write_sample_scores,
)

_UNFIT = "the bundled clean reference does not fit this scan"
_PLAIN_FLAGS = "flags rest on the projection difference alone"
_CHOSEN_BEFORE = "which baselines were generated was chosen"


@dataclass(frozen=True, slots=True)
class Findings:
    """What the manifest keeps of the findings."""

    verdicts: list[dict[str, Any]]
    reference: dict[str, Any] | None
    counts: dict[str, Any]


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
        return None, f"{_UNFIT}: {error.finding}"
    return bundled, _explain_plain_flags(bundled, manifest)


def is_judged_by(manifest: Mapping[str, Any], reference: Reference | None, rule: str) -> bool:
    """Tell whether a finished run was judged by this clean reference, or by none, and by this rule."""
    if (manifest.get("flagging") or {}).get("rule") != rule:
        return False
    used = manifest["reference"]
    if used is None or used.get("kind") == WITHIN:
        return reference is None
    # Wherever it lies now: its scores say whether it is the same.
    described = describe_reference(reference)
    return described is not None and used.get("sha256") == described["sha256"]


def _explain_plain_flags(reference: Reference, manifest: dict[str, Any]) -> str | None:
    if not measures_both(manifest) or find_moments(reference, manifest) is not None:
        return None
    return (
        f"{_PLAIN_FLAGS}: the clean reference has no scores that combine it with "
        "evidence for just these traits (scan the clean data with --evidence full and the same traits)"
    )


def explain_predicted(manifest: Mapping[str, Any]) -> str | None:
    """Return what to say of a run that is judged anew though baselines were generated for an earlier judgement."""
    if not manifest["baseline"].get("auto"):
        return None
    return (
        f"{_CHOSEN_BEFORE} by the reference and rule of the scan, not by these: of what these alone would flag some "
        "have a predicted one, which is never flagged (--fresh chooses anew)"
    )


def is_about_judging(notice: str) -> bool:
    """Tell whether a notice is about how a run was judged, so that it goes when the run is judged anew."""
    return notice.startswith((_UNFIT, _PLAIN_FLAGS, _CHOSEN_BEFORE))


def _check_reference(reference: Reference, manifest: dict[str, Any]) -> None:
    check_reference(
        reference,
        model_fingerprint=manifest["model"]["fingerprint"],
        score_kind=score_kind(manifest),
        scored_with=describe_scoring(manifest),
        scores=_empty_scores(manifest),
    )


def write_findings(store: RunStore, manifest: dict[str, Any], inputs: Inputs, reference: Reference | None) -> Findings:
    """Compute and write flags, verdicts, clusters and the wide table of a run whose parts are all there.

    Sets `evidence` of the manifest, see `pooling.RunEvidence`, and `confounds`, see `confound.measure_run_confounds`.

    Args:
        reference: the clean one; None: the run is held against itself.
    """
    # The wide table repeats what the other files say: it goes first and comes last, so that it is never out of date.
    store.sample_scores_path.unlink(missing_ok=True)
    (store.path / "reference.json").unlink(missing_ok=True)
    gathered = name_unfinished(store.sample_scores_path)
    risks = name_unfinished(store.path / "risks")
    try:
        gather_scores(store, manifest, gathered)
        if reference is None and why_undecided(manifest) is None:
            reference = reference_within(store, manifest, gathered, seed=int(manifest["config"]["seed"]))
        if reference is not None:
            write_bytes(store.path / "reference.json", reference.to_json().encode())
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
    write_marks(store)
    undecided = why_undecided(manifest)
    moments = find_moments(reference, manifest)
    scores = RunScores(gathered, manifest)
    lengths = _find_lengths(reference, is_combined=moments is not None)
    gather_risks(store, manifest, gathered_risks, moments=moments, lengths=lengths)
    risks = RunRisks(gathered_risks, list(scores), is_combined=moments is not None, adjusted=lengths)
    records = _read_records(store, manifest, gathered)
    if undecided is not None:
        records.judged_n[:] = False
    flags = _write_flags(store, manifest, scores, risks, records, reference)
    evidence = pool_evidence(store, manifest, records.sample_ids, records.judged_n)
    manifest["evidence"] = evidence.to_json() if evidence else None
    verdicts = judge_traits(
        scores,
        reference,
        n_flagged=dict(zip(scores, flags.flagged_nk.sum(axis=0).tolist(), strict=True)),
        n_unusual=flags.n_unusual,
        n_rare=flags.n_rare,
        expected_false_flags=flags.expected,
        judged_n=records.judged_n,
        undecided=undecided,
        evidence=evidence.traits if evidence else None,
        estimated=estimate_means(store, manifest) if manifest["baseline"].get("auto") else None,
        random_band=_find_random_band(store, manifest, records, reference),
    )
    write_table(store.path / "verdicts.parquet", verdicts_table(verdicts))
    any_flag_n = np.asarray(flags.flagged_nk.any(axis=1))
    groups = write_groups(store, manifest, inputs, scores, records.sample_ids, any_flag_n, reference)
    write_sample_scores(
        store.sample_scores_path,
        tuple(scores),
        read_gathered(gathered),
        flagged_nk=flags.flagged_nk,
        cluster_n=groups.cluster_n,
        near_n=groups.near_n,
    )
    manifest["confounds"] = measure_run_confounds(store, manifest)
    return Findings(
        verdicts=verdicts,
        reference=describe_reference(reference),
        counts={
            "n_judged": flags.n_judged,
            "n_flagged": int(any_flag_n.sum()),
            "expected_false_flags": flags.expected_any,
            **groups.counts,
        },
    )


def _find_random_band(
    store: RunStore, manifest: Mapping[str, Any], records: Records, reference: Reference | None
) -> float | None:
    clean = reference.differences if reference else None
    group_n = np.where(records.judged_n, 0, -1)
    return find_random_bands(store, clean, records.sample_ids, group_n, 1, seed=int(manifest["config"]["seed"]))[0]


def _find_lengths(reference: Reference | None, *, is_combined: bool) -> dict[str, LengthFit]:
    if reference is None:
        return {}
    clean = {name: trait.flagged_with(is_combined=is_combined) for name, trait in reference.traits.items()}
    return {name: turns.lengths for name, turns in clean.items() if turns.lengths is not None}


def _read_records(store: RunStore, manifest: Mapping[str, Any], gathered: Path) -> Records:
    sample_ids = read_sample_ids(gathered)
    return Records(
        sample_ids,
        find_judged(store, manifest, sample_ids),
        read_predicted(gathered),
        read_turn_counts(gathered),
        *read_marks(store, sample_ids),
    )


@dataclass(frozen=True, slots=True)
class _Flags:
    """What came of flagging: flags by record and trait [n, k]; by trait, and for any, how many clean data would have.

    `n_judged` records have a score that could be flagged.
    """

    flagged_nk: NDArray[np.bool_]
    n_unusual: dict[str, int]
    n_rare: dict[str, int]
    expected: dict[str, float | None]
    expected_any: float | None
    n_judged: int


def _write_flags(
    store: RunStore,
    manifest: dict[str, Any],
    scores: RunScores,
    risks: RunRisks,
    records: Records,
    reference: Reference | None,
) -> _Flags:
    # A run from before there were rules was flagged by the published one.
    rule = parse_rule((manifest.get("flagging") or {}).get("rule", PUBLISHED_RULE))
    is_combined = find_moments(reference, manifest) is not None

    def read_risks() -> Iterator[tuple[TraitReference, NDArray[np.float64]]]:
        assert reference is not None
        for trait in scores:
            risk_n = risks.read_risk(trait)
            yield reference.traits[trait], scores[trait].max_n if risk_n is None else risk_n

    decision = decide(rule, read_risks, records, is_combined=is_combined) if reference is not None else None
    flagged_nk = np.zeros((len(records.sample_ids), len(scores)), dtype=bool)
    has_score_n = np.zeros(len(records.sample_ids), dtype=bool)
    n_unusual: dict[str, int] = {}
    n_rare: dict[str, int] = {}
    expected: dict[str, float | None] = {}
    with (
        replacing(store.path / "flags.parquet") as unfinished,
        # Numbers hardly ever repeat, and a dictionary of them takes longer to write than all the rest.
        pq.ParquetWriter(unfinished, FLAGS, compression="zstd", use_dictionary=["trait", "reason"]) as writer,
    ):
        for k, (trait, own) in enumerate(scores.items()):
            own_score_n = np.isfinite(own.max_n)
            has_score_n |= own_score_n
            clean = reference.traits[trait] if reference else None
            n_unusual[trait] = n_rare[trait] = 0
            expected[trait] = None
            if clean is not None and decision is not None:
                turns_n = records.n_turns_n[own_score_n & records.judged_n]
                expected[trait] = decision.expect_false(clean.flagged_with(is_combined=is_combined), turns_n)
            for table in flag_trait(
                trait,
                own,
                clean,
                decision,
                rule,
                records=records,
                has_difference=score_kind(manifest) != "projection",
                risks=risks[trait],
            ):
                writer.write_table(table)
                n_unusual[trait] += count_unusual(table)
                n_rare[trait] += count_unusual(table, RARE_SHARE)
                flagged_ids = table.filter(table["flagged"])["sample_id"].to_numpy()
                flagged_nk[np.searchsorted(records.sample_ids, flagged_ids), k] = True
    can_flag = decision is not None or rule.kind == "absolute"
    n_judged = int((has_score_n & records.judged_n).sum()) if can_flag else 0
    known = [value for value in expected.values() if value is not None]
    expected_any = decision.expect_any_false(known, n_judged) if decision is not None else None
    return _Flags(flagged_nk, n_unusual, n_rare, expected, expected_any, n_judged)


def describe_reference(reference: Reference | None) -> dict[str, Any] | None:
    """Return what the manifest keeps of a reference: where it came from, its size, and a hash of its scores."""
    if reference is None:
        return None
    digest = hashlib.sha256(replace(reference, source="").to_json().encode()).hexdigest()
    return {"source": reference.source, "kind": reference.kind, "n": reference.n, "sha256": digest}


def _empty_scores(manifest: dict[str, Any]) -> dict[str, TraitScores]:
    nothing = np.zeros(0)
    return {
        vector["trait"]: TraitScores(vector["layer"], vector["sha256"], nothing, nothing)
        for vector in manifest["vectors"]
    }
