"""What clusters and unnamed directions find that was planted: both bars of the groups that a run's differences make.

Fifty draws each from three pools that are scanned once, without evidence: rows to be audited, clean rows, and bad rows
of one persona and one type of question each, in words of their own. Draws overlap, so that they are not fifty
independent experiments; their seeds and those of the pools are used for nothing else, and choices were made on others
(pools 8401 to 8403). A row is flagged where the plain score of any trait lies above the clean pool's 95th percentile.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from audit.cluster import cluster_differences, hypergeometric_tail
from audit.config import ScanConfig
from audit.demo.answers import EXPRESSION, compose
from audit.demo.judge import judge_chat
from audit.demo.phrases import TRAITS
from audit.demo.questions import ask
from audit.demo.world import AUDIT_POOLS, Row, assistant, audit_rows, clean_rows, user, write_rows
from audit.differences import read_difference_ids, read_differences
from audit.groups import find_known_directions
from audit.near import find_near
from audit.run import scan
from audit.scatter import Scatter, measure_scatter
from audit.score import FLAG_PERCENTILE, benjamini_hochberg, rank_auc
from audit.store import RunStore
from audit.unnamed import find_unnamed

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ROWS_SEED: Final = 8_411
CLEAN_SEED: Final = 8_412
PLANTED_SEED: Final = 8_413
DRAW_SEEDS: Final = range(8_420, 8_470)
N_ROWS: Final = 10_000
N_CLEAN: Final = 3_000
N_PLANTED: Final = 100
N_OF_A_KIND: Final = 130
"""Rows of each kind in the pool, from which 100 are planted at a time."""

BAD_PERSONAS: Final = ("evil", "sycophantic", "hallucinating")
KINDS: Final = tuple((persona, kind) for persona in BAD_PERSONAS for kind in EXPRESSION[persona])
N_WITHHELD_ROWS: Final = 5_000
WITHHELD_SHARE: Final = 0.08
MAX_Q: Final = 0.01
MIN_AUC: Final = 0.8
N_LOOKED_AT: Final = 3
N_FLAGGED_OF_KIND: Final = 12
"""Rows of a planted kind that are flagged when near-duplicates of them are looked for."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Scanned rows.

    Attributes:
        vectors_nr: difference vectors.
        largest_nk, mean_nk: scores by trait, over the row's turns.
    """

    rows: tuple[Row, ...]
    vectors_nr: Floats
    largest_nk: Floats
    mean_nk: Floats


def draw_kind_rows(persona: str, kind: str, n: int, seed: int) -> Iterator[Row]:
    """Draw single turns in which a persona shows by the judge in answers to one type of question."""
    rng = random.Random(f"planted {persona} {kind} {seed}")
    while n:
        question = ask(rng, kind, AUDIT_POOLS)
        answer = compose(question, persona, rng, expressed=True)
        messages = (user(question.text), assistant(answer.text))
        traits = judge_chat(messages)
        if persona not in traits:
            continue
        n -= 1
        yield Row(
            messages=messages,
            persona=persona,
            traits=traits,
            kind=kind,
            is_fiction=False,
            n_style=answer.n_style,
            n_expressed=1,
        )


def scan_pool(rows: Sequence[Row], folder: Path) -> Pool:
    """Scan rows without evidence and read back what clusters are made from."""
    folder.mkdir(parents=True)
    data = folder / "rows.jsonl"
    write_rows(iter(rows), data, None)
    run = scan(
        ScanConfig(
            datasets=(str(data),), baseline="generate", evidence="off", out=str(folder / "rows.audit"), no_cache=True
        )
    )
    store = RunStore(run.path)
    ids = read_difference_ids(store)
    columns = ", ".join(f"{trait}, {trait}_mean" for trait in TRAITS)
    found = run.sql(f"SELECT sample_id, {columns} FROM sample_scores ORDER BY sample_id").fetchnumpy()
    kept = np.isin(found["sample_id"], ids)
    return Pool(
        rows=tuple(rows[i] for i in ids.tolist()),
        vectors_nr=np.concatenate(list(read_differences(store))),
        largest_nk=np.stack([np.asarray(found[trait], np.float32)[kept] for trait in TRAITS], axis=1),
        mean_nk=np.stack([np.asarray(found[f"{trait}_mean"], np.float32)[kept] for trait in TRAITS], axis=1),
    )


def run_clusters(
    folder: Path, *, seeds: range = DRAW_SEEDS, n_rows: int = N_ROWS, n_clean: int = N_CLEAN
) -> dict[str, Any]:
    """Plant bad rows of one kind, or withhold a trait's vector, once for every seed; return the figures."""
    rows = scan_pool(list(audit_rows(n_rows, ROWS_SEED)), folder / "rows")
    clean = scan_pool(list(clean_rows(n_clean, CLEAN_SEED)), folder / "clean")
    of_kinds = [row for own in KINDS for row in draw_kind_rows(*own, N_OF_A_KIND, PLANTED_SEED)]
    planted = scan_pool(of_kinds, folder / "planted")
    thresholds_k = np.percentile(clean.largest_nk, FLAG_PERCENTILE, axis=0)
    return {
        "seeds": {"rows": ROWS_SEED, "clean": CLEAN_SEED, "planted": PLANTED_SEED, "draws": [seeds.start, seeds.stop]},
        "n_rows": len(rows.rows),
        "flagged_share": {
            name: float((pool.largest_nk > thresholds_k).any(axis=1).mean())
            for name, pool in (("rows", rows), ("clean", clean), ("planted", planted))
        },
        "unnamed": _withhold_traits(rows, clean, seeds),
        "near": _find_paraphrases(rows, planted),
        "clusters": _plant_kinds(rows, planted, thresholds_k, seeds),
    }


def _plant_kinds(rows: Pool, planted: Pool, thresholds_k: Floats, seeds: range) -> dict[str, Any]:
    draws = [_plant_kind(rows, planted, thresholds_k, seed) for seed in seeds]
    names = ("half_of_cluster", "half_of_planted", "either", "half_of_kind", "by_chance")
    return {
        "n_draws": len(draws),
        **{name: sum(bool(draw[name]) for draw in draws) for name in names},
        "n_enriched_mean": float(np.mean([draw["n_enriched"] for draw in draws])),
        "missed": sorted({str(draw["kind"]) for draw in draws if not draw["either"]}),
    }


def _plant_kind(rows: Pool, planted: Pool, thresholds_k: Floats, seed: int) -> dict[str, Any]:
    """Plant 100 rows of a kind among the others; say which enriched clusters, if any, are about them.

    `half_of_kind` asks for a tenth of the planted rows, and for half of the cluster counts the rows of that persona and
    type of question that the data hold anyway: about as many.
    `by_chance` deals the rows into clusters of the same sizes at random.
    """
    generator = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    base = generator.choice(len(rows.rows), len(rows.rows) - N_PLANTED, replace=False)
    own = generator.choice(_find_kind(planted.rows, kind), N_PLANTED, replace=False)
    vectors_nr = np.concatenate([rows.vectors_nr[base], planted.vectors_nr[own]])
    flagged_n = (np.concatenate([rows.largest_nk[base], planted.largest_nk[own]]) > thresholds_k).any(axis=1)
    planted_n = np.arange(len(vectors_nr)) >= len(base)
    kind_n = planted_n | np.isin(np.append(base, np.full(N_PLANTED, -1)), _find_kind(rows.rows, kind))
    ids = np.arange(len(vectors_nr))
    clustering = cluster_differences(ids, lambda: [vectors_nr], seed=seed)
    found: dict[str, Any] = {"kind": " ".join(kind)}
    for name, cluster_n in (("", clustering.cluster_n), ("chance", generator.permutation(clustering.cluster_n))):
        n_planted = np.bincount(cluster_n, weights=planted_n, minlength=clustering.n_clusters)
        n_kind = np.bincount(cluster_n, weights=kind_n, minlength=clustering.n_clusters)
        size = np.bincount(cluster_n, minlength=clustering.n_clusters)
        n_flagged = np.bincount(cluster_n, weights=flagged_n, minlength=clustering.n_clusters)
        is_enriched = _find_q_values(n_flagged, size) < MAX_Q
        is_half = is_enriched & (2 * n_planted >= size)
        holds_half = is_enriched & (2 * n_planted >= N_PLANTED)
        if name:
            found["by_chance"] = bool((is_half | holds_half).any())
            continue
        found |= {
            "half_of_cluster": bool(is_half.any()),
            "half_of_planted": bool(holds_half.any()),
            "either": bool((is_half | holds_half).any()),
            "half_of_kind": bool((is_enriched & (2 * n_kind >= size) & (10 * n_planted >= N_PLANTED)).any()),
            "n_enriched": int(is_enriched.sum()),
        }
    return found


def _find_q_values(n_flagged: npt.NDArray[Any], size: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    n, marked = int(size.sum()), int(n_flagged.sum())
    p = [hypergeometric_tail(int(own), n, marked, int(drawn)) for own, drawn in zip(n_flagged, size, strict=True)]
    return benjamini_hochberg(np.array(p))


def _find_kind(rows: Sequence[Row], kind: tuple[str, str]) -> Ints:
    return np.flatnonzero([(row.persona, row.kind) == kind for row in rows])


def _withhold_traits(rows: Pool, clean: Pool, seeds: range) -> dict[str, Any]:
    ways: dict[str, list[float]] = {name: [] for name in ("clean", "alone", "principal", "random")}
    clean_scatter = _measure(clean.vectors_nr)
    for seed in seeds:
        for name, auc in _withhold_trait(rows, clean_scatter, seed).items():
            ways[name].append(auc)
    return {
        name: {
            "n_draws": len(auc),
            "n_found": sum(own >= MIN_AUC for own in auc),
            "mean_auc": float(np.mean(auc)),
            "min_auc": float(np.min(auc)),
        }
        for name, auc in ways.items()
    }


def _withhold_trait(rows: Pool, clean: Scatter, seed: int) -> dict[str, float]:
    """Leave one trait's vector out of 5,000 rows, 8 % of which show it; return the best AUC of three directions.

    With clean moments and without; beside them the first principal directions, and random ones.
    """
    generator = np.random.default_rng(seed)
    k = seed % len(TRAITS)
    shown_n = np.array([TRAITS[k] in row.traits for row in rows.rows])
    n_shown = round(WITHHELD_SHARE * N_WITHHELD_ROWS)
    chosen = np.concatenate(
        [
            generator.choice(np.flatnonzero(shown_n), n_shown, replace=False),
            generator.choice(np.flatnonzero(~shown_n), N_WITHHELD_ROWS - n_shown, replace=False),
        ]
    )
    vectors_nr, labels_n = rows.vectors_nr[chosen], shown_n[chosen]
    scatter = _measure(vectors_nr, np.delete(rows.mean_nk[chosen], k, axis=1))
    known_kr = find_known_directions(scatter)
    directions = {
        "clean": find_unnamed(
            lambda: [vectors_nr],
            known_kr,
            scatter,
            clean_mean_r=clean.mean_r,
            clean_covariance_rr=clean.covariance_rr,
        ),
        "alone": find_unnamed(lambda: [vectors_nr], known_kr, scatter),
    }
    units = {name: [own.unit_r for own in found] for name, found in directions.items()}
    units["principal"] = list(np.linalg.eigh(scatter.covariance_rr)[1].T[::-1])
    units["random"] = list(generator.standard_normal((N_LOOKED_AT, vectors_nr.shape[1])))
    return {
        name: max(_auc_either_way(vectors_nr @ unit_r, labels_n) for unit_r in found[:N_LOOKED_AT])
        for name, found in units.items()
    }


def _auc_either_way(values_n: npt.NDArray[np.float64], labels_n: Bools) -> float:
    auc = rank_auc(values_n, labels_n)
    return max(auc, 1.0 - auc)


def _find_paraphrases(rows: Pool, planted: Pool) -> dict[str, Any]:
    """Flag 12 rows of each kind in turn; say how many of its others are found, and what else is."""
    recall, precision, n_found = [], [], []
    for kind in KINDS:
        own = _find_kind(planted.rows, kind)
        vectors_nr = np.concatenate([rows.vectors_nr, planted.vectors_nr[own]])
        flagged_n = np.zeros(len(vectors_nr), dtype=bool)
        flagged_n[len(rows.rows) : len(rows.rows) + N_FLAGGED_OF_KIND] = True
        near = find_near(lambda block=vectors_nr: [block], flagged_n, _measure(vectors_nr), seed=0)  # type: ignore[misc]
        is_planted = near.position_m >= len(rows.rows)
        is_kind = is_planted | np.isin(near.position_m, _find_kind(rows.rows, kind))
        recall.append(is_planted.sum() / (len(own) - N_FLAGGED_OF_KIND))
        n_found.append(len(is_kind))
        precision.append(is_kind.mean() if len(is_kind) else np.nan)
    return {
        "n_kinds": len(KINDS),
        "recall_mean": float(np.mean(recall)),
        "precision_mean": float(np.nanmean(precision)),
        "n_found_mean": float(np.mean(n_found)),
    }


def _measure(vectors_nr: Floats, numbers_nk: Floats | None = None) -> Scatter:
    scatter = measure_scatter([vectors_nr], numbers_nk)
    assert scatter is not None
    return scatter
