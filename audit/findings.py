"""From a scored run to what it means: reference, flags, verdicts and clusters, written beside the scores.

Everything here can be computed again from the parts; nothing here changes a score.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.assets import DEMO_MODEL_ID, demo_reference_path
from audit.cluster import (
    MIN_SAMPLES,
    Clustering,
    choose_text_ids,
    cluster_differences,
    clusters_table,
    find_keywords,
    summarise_clusters,
)
from audit.errors import RunError
from audit.flag import (
    Reference,
    TraitScores,
    check_reference,
    flag_trait,
    judge_traits,
    load_reference,
    make_reference,
    verdicts_table,
)
from audit.inputs import Inputs, read_chosen
from audit.query import open_connection
from audit.query.relations import score_kind
from audit.schema import FLAGS, SCORED_SIDES
from audit.store import RunStore, replacing, write_bytes, write_table


@dataclass(frozen=True, slots=True)
class Findings:
    """What the manifest keeps of the findings."""

    verdicts: list[dict[str, Any]]
    reference: dict[str, Any] | None
    counts: dict[str, Any]


def describe_scoring(manifest: dict[str, Any]) -> dict[str, str]:
    """Return what, beside model, vectors and score kind, a reference must share with a run that is held against it."""
    adapter = manifest["model"]["adapter"]
    return {
        "baseline": manifest["baseline"]["kind"],
        "adapter": adapter["sha256"][:12] if adapter else "none",
        "turns": manifest["config"]["turns"],
    }


def find_reference(manifest: dict[str, Any], path: str | None, seed: int) -> tuple[Reference | None, str | None]:
    """Return the clean reference of a run and a notice: the one named, the bundled one for the demo model, or None.

    Raises:
        RunError: the reference that was named is no finished run, or was scored in another way.
    """
    if path is not None:
        reference = reference_from_run(Path(path), seed=seed)
        _check_reference(reference, manifest)
        return reference, None
    if manifest["model"]["id"] != DEMO_MODEL_ID or not demo_reference_path().is_file():
        return None, None
    bundled = load_reference(demo_reference_path()).get(score_kind(manifest))
    if bundled is None:
        return None, None
    try:
        _check_reference(bundled, manifest)
    except RunError as error:
        return None, f"the bundled clean reference does not fit this scan: {error.finding}"
    return bundled, None


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
    with open_connection(path) as connection:
        sample_ids, scores = _read_scores(connection, manifest)
        judged_n = _judged(connection, manifest, sample_ids)
    clean = {
        name: replace(trait, max_n=trait.max_n[judged_n], mean_n=trait.mean_n[judged_n])
        for name, trait in scores.items()
    }
    return make_reference(
        str(path),
        model_fingerprint=manifest["model"]["fingerprint"],
        score_kind=score_kind(manifest),
        scored_with=describe_scoring(manifest),
        scores=clean,
        seed=seed,
    )


def write_findings(store: RunStore, manifest: dict[str, Any], inputs: Inputs, reference: Reference | None) -> Findings:
    """Compute and write flags, verdicts and clusters of a run whose parts are all there."""
    kind = score_kind(manifest)
    undecided = _why_undecided(manifest)
    with open_connection(store.path) as connection:
        sample_ids, scores = _read_scores(connection, manifest)
        judged_n = _judged(connection, manifest, sample_ids)
    if undecided is not None:
        judged_n[:] = False
    (store.path / "reference.json").unlink(missing_ok=True)
    if reference is not None:
        write_bytes(store.path / "reference.json", reference.to_json().encode())
    any_flag_n = np.zeros(len(sample_ids), dtype=bool)
    n_flagged: dict[str, int] = {}
    with (
        replacing(store.path / "flags.parquet") as unfinished,
        pq.ParquetWriter(unfinished, FLAGS, compression="zstd") as writer,
    ):
        for trait, own in scores.items():
            table = flag_trait(
                trait,
                own,
                reference.traits[trait] if reference else None,
                sample_ids=sample_ids,
                has_difference=kind != "projection",
                judged_n=judged_n,
            )
            writer.write_table(table)
            flagged_ids = table.filter(table["flagged"])["sample_id"].to_numpy()
            any_flag_n[np.searchsorted(sample_ids, flagged_ids)] = True
            n_flagged[trait] = len(flagged_ids)
    verdicts = judge_traits(scores, reference, n_flagged=n_flagged, judged_n=judged_n, undecided=undecided)
    write_table(store.path / "verdicts.parquet", verdicts_table(verdicts))
    n_clusters = _write_clusters(store, manifest, inputs, scores, sample_ids, any_flag_n)
    has_score_n = np.logical_or.reduce([np.isfinite(own.max_n) for own in scores.values()])
    n_judged = int((has_score_n & judged_n).sum()) if reference else 0
    return Findings(
        verdicts=verdicts,
        reference=describe_reference(reference),
        counts={
            "n_judged": n_judged,
            "n_flagged": int(any_flag_n.sum()),
            "expected_false_flags": reference.any_share * n_judged if reference else None,
            "n_clusters": n_clusters,
        },
    )


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


def _read_scores(
    connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any]
) -> tuple[NDArray[np.int64], dict[str, TraitScores]]:
    names = [vector["trait"] for vector in manifest["vectors"]]
    wanted = ", ".join(f'"{name}", "{name}_mean"' for name in names)
    table = connection.sql(f"SELECT sample_id, {wanted} FROM sample_scores ORDER BY sample_id").to_arrow_table()
    scores = {
        vector["trait"]: TraitScores(
            vector["layer"],
            vector["sha256"],
            _floats(table, vector["trait"]),
            _floats(table, f"{vector['trait']}_mean"),
        )
        for vector in manifest["vectors"]
    }
    return table["sample_id"].to_numpy(), scores


def _judged(
    connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any], sample_ids: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return False for samples with an answer, trained towards, whose loss lies above the domain's threshold."""
    judged = np.ones(len(sample_ids), dtype=bool)
    threshold = manifest["domain"]["threshold"]
    if threshold is None:
        return judged
    outside = connection.execute(
        "SELECT DISTINCT sample_id FROM turns WHERE response_nll > ? AND part = 'answer' AND list_contains(?, side) "
        "ORDER BY sample_id",
        [threshold, list(SCORED_SIDES)],
    ).fetchnumpy()["sample_id"]
    judged[np.searchsorted(sample_ids, outside)] = False
    return judged


def _why_undecided(manifest: dict[str, Any]) -> str | None:
    domain = manifest["domain"]
    if domain["in_domain"] is False:
        return (
            f"out of the demo model's domain: mean loss {domain['mean_nll']:.1f} nats a token, "
            f"{domain['out_share']:.0%} of the probe above {domain['threshold']}"
        )
    return None


def _write_clusters(
    store: RunStore,
    manifest: dict[str, Any],
    inputs: Inputs,
    scores: dict[str, TraitScores],
    sample_ids: NDArray[np.int64],
    any_flag_n: NDArray[np.bool_],
) -> int:
    seed = int(manifest["config"]["seed"])
    clustered_ids, difference_nr = _read_differences(store)
    if len(clustered_ids) < MIN_SAMPLES:
        return 0
    clustering = cluster_differences(clustered_ids, difference_nr, seed=seed)
    positions = np.searchsorted(sample_ids, clustered_ids)
    write_table(store.path / "clusters.parquet", clusters_table(clustering))
    summary = summarise_clusters(
        clustering,
        flagged_n=any_flag_n[positions],
        scores={trait: own.mean_n[positions] for trait, own in scores.items()},
        keywords=_read_keywords(inputs, clustering, seed, manifest["config"]["turns"]),
    )
    write_table(store.path / "cluster_summary.parquet", summary)
    return clustering.n_clusters


def _read_differences(store: RunStore) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return sample ids and the mean difference vector [n, r] over each sample's scored answers."""
    ids, means = [], []
    for part in store.parts():
        table = pq.read_table(store.table_path("differences", part))
        is_scored = pc.is_in(table["side"], pa.array(SCORED_SIDES))
        table = table.filter(pc.and_(is_scored, pc.equal(table["part"], "answer")))
        if table.num_rows == 0:
            continue
        vectors_nr = table["difference"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        unique, inverse, counts = np.unique(table["sample_id"].to_numpy(), return_inverse=True, return_counts=True)
        sums = np.zeros((len(unique), vectors_nr.shape[1]))
        np.add.at(sums, inverse, vectors_nr)
        ids.append(unique)
        means.append((sums / counts[:, None]).astype(np.float32))
    if not ids:
        return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
    return np.concatenate(ids), np.concatenate(means)


def _read_keywords(inputs: Inputs, clustering: Clustering, seed: int, turns: str) -> list[list[str]]:
    cluster_of = choose_text_ids(clustering, seed=seed)
    texts = (
        (cluster_of[sample.sample_id], turn.response)
        for sample in read_chosen(inputs, cluster_of.keys(), turns=turns)
        for turn in sample.turns
        if turn.side in SCORED_SIDES and turn.part == "answer"
    )
    return find_keywords(texts, clustering.n_clusters)


def _floats(table: pa.Table, column: str) -> NDArray[np.float64]:
    return np.asarray(table[column].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
