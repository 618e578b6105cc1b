"""How often verdicts alarm on clean rows, and how much of a trait it takes until they do: mixtures drawn from two runs.

One run over clean rows gives a reference part and a test part, one over audit rows (each trait in 6 to 10 %, labels
beside) the rows of a trait. Sets are drawn from their stored scores, evidence and difference vectors, so that hundreds
of them cost minutes; nothing is scored again. Everything a verdict rests on is made anew for each set by the functions
that a run uses. P-values are those of records among the reference part's records.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.calibration import EvidenceSums, RandomSums, TraitEvidence
from audit.groups import read_differences
from audit.query import open_connection
from audit.query.relations import list_manifest_traits
from audit.reference import WITHIN, CleanDifferences, Reference, TraitReference, TraitScores, describe_turns
from audit.schema import RANDOM_DIRECTIONS, SCORED_SIDES
from audit.shifts import DifferenceMoments, random_shift_band
from audit.store import RunStore
from audit.surplus import RARE_SHARE, UNUSUAL_SHARE
from audit.tails import clean_p
from audit.verdict import judge_traits

SEED = 9_300
REFERENCE_ROWS = 5_000
SHARES = (0.02, 0.05, 0.10)

_ANSWERS = "part = 'answer' AND list_contains($1, side)"


@dataclass(frozen=True, slots=True)
class Pool:
    """The records [n] of a run by trait [k], its turns [t], and their evidence along random directions [r]."""

    traits: tuple[str, ...]
    mean_nk: NDArray[np.float64]
    risk_nk: NDArray[np.float64]
    difference_nr: NDArray[np.float64]
    turn_record: NDArray[np.int64]
    evidence_tk: NDArray[np.float64]
    variance_tk: NDArray[np.float64]
    z_tk: NDArray[np.float64]
    random_tr: NDArray[np.float64]
    null_tr: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64]) -> Pool:
        """Return the pool of these records alone, in this order."""
        place_n = np.full(len(self.mean_nk), -1, dtype=np.int64)
        place_n[rows] = np.arange(len(rows))
        turns = np.flatnonzero(place_n[self.turn_record] >= 0)
        return Pool(
            self.traits,
            self.mean_nk[rows],
            self.risk_nk[rows],
            self.difference_nr[rows],
            place_n[self.turn_record[turns]],
            *(each[turns] for each in (self.evidence_tk, self.variance_tk, self.z_tk, self.random_tr, self.null_tr)),
        )

    def plus(self, other: Pool) -> Pool:
        """Return this pool and another."""
        join = np.concatenate
        return Pool(
            self.traits,
            join([self.mean_nk, other.mean_nk]),
            join([self.risk_nk, other.risk_nk]),
            join([self.difference_nr, other.difference_nr]),
            join([self.turn_record, other.turn_record + len(self.mean_nk)]),
            join([self.evidence_tk, other.evidence_tk]),
            join([self.variance_tk, other.variance_tk]),
            join([self.z_tk, other.z_tk]),
            join([self.random_tr, other.random_tr]),
            join([self.null_tr, other.null_tr]),
        )


def read_pool(path: Path) -> Pool:
    """Read a finished run that was scanned with `--evidence full`, all its records scored."""
    store = RunStore(path)
    traits = list_manifest_traits(store.read_finished_manifest())
    with open_connection(path) as connection:
        wide = connection.sql("SELECT * FROM sample_scores ORDER BY sample_id").to_arrow_table()
        flags = connection.sql("SELECT risk FROM flags ORDER BY sample_id, trait").to_arrow_table()
        turns = connection.sql(
            "SELECT sample_id, trait, evidence, evidence_variance, evidence_z FROM scores "
            f"WHERE {_ANSWERS} ORDER BY sample_id, side, turn, trait",
            params=[list(SCORED_SIDES)],
        ).to_arrow_table()
        random = connection.sql(
            f"SELECT evidence, null_evidence FROM random_evidence WHERE {_ANSWERS} ORDER BY sample_id, side, turn",
            params=[list(SCORED_SIDES)],
        ).to_arrow_table()
    k, ids = len(traits), wide["sample_id"].to_numpy()
    by_name = [sorted(traits).index(trait) for trait in traits]

    def by_trait(column: Any) -> NDArray[np.float64]:
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64).reshape(-1, k)[:, by_name]

    def by_direction(name: str) -> NDArray[np.float64]:
        flat = random[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat, dtype=np.float64).reshape(-1, RANDOM_DIRECTIONS)

    return Pool(
        traits,
        np.stack([wide[f"{trait}_mean"].to_numpy().astype(np.float64) for trait in traits], axis=1),
        by_trait(flags["risk"].combine_chunks()),
        np.concatenate(list(read_differences(store))).astype(np.float64),
        np.searchsorted(ids, turns["sample_id"].to_numpy()[::k]),
        *(by_trait(turns[name].combine_chunks()) for name in ("evidence", "evidence_variance", "evidence_z")),
        by_direction("evidence"),
        by_direction("null_evidence"),
    )


def make_clean(pool: Pool, kind: str = "clean") -> Reference:
    """Return a pool of clean records as a reference, or any pool's own lower half and its mirror image."""
    traits = {}
    for k, trait in enumerate(pool.traits):
        risk_n, mean_n = pool.risk_nk[:, k], pool.mean_nk[:, k]
        if kind == WITHIN:
            centre = np.median(risk_n)
            lower = risk_n[risk_n <= centre]
            risk_n = np.concatenate([lower, 2 * centre - lower[lower < centre]])
        sd = float(mean_n.std(ddof=1))
        traits[trait] = TraitReference(2, "", describe_turns(risk_n), float(mean_n.mean()), sd, len(mean_n))
    differences = None
    if kind != WITHIN:
        moments = _moments(pool)
        rows = tuple(tuple(row) for row in moments.covariance_rr.tolist())
        differences = CleanDifferences(tuple(moments.mean_r.tolist()), rows, moments.n)
    n = len(pool.mean_nk)
    return Reference("clean rows of the demo world", "", "difference", {}, n, traits, kind, differences)


def judge(pool: Pool, reference: Reference) -> list[dict[str, Any]]:
    """Return the verdicts on a pool."""
    n = len(pool.mean_nk)
    unusual: dict[str, int] = {}
    rare: dict[str, int] = {}
    for k, trait in enumerate(pool.traits):
        p_n = clean_p(pool.risk_nk[:, k], np.asarray(reference.traits[trait].plain.scores_sorted))
        unusual[trait], rare[trait] = (int((p_n <= share).sum()) for share in (UNUSUAL_SHARE, RARE_SHARE))
    band = None
    if reference.differences is not None:
        clean = reference.differences
        held_against = DifferenceMoments(np.asarray(clean.mean_r), np.asarray(clean.covariance_rr), clean.n)
        band = random_shift_band(_moments(pool), held_against, seed=SEED)
    return judge_traits(
        {trait: TraitScores(2, "", mean_n, mean_n) for trait, mean_n in zip(pool.traits, pool.mean_nk.T, strict=True)},
        reference,
        n_flagged=unusual,
        n_unusual=unusual,
        n_rare=rare,
        expected_false_flags=dict.fromkeys(pool.traits, UNUSUAL_SHARE * n),
        judged_n=np.ones(n, dtype=bool),
        undecided=None,
        evidence=_pool_evidence(pool),
        random_band=band,
    )


def run(
    clean: Path, audit: Path, labels: Path, *, n_null: int = 200, n_power: int = 100, n_rows: int = 500
) -> dict[str, Any]:
    """Return how many sets got which verdict: of clean rows, and of clean rows with some that show one trait.

    Args:
        clean: a run over at least 5,500 clean rows.
        audit: a run over rows of the world's audit mix; `labels` is its label file.
    """
    pool, rows = read_pool(clean), read_pool(audit)
    shuffled = np.random.default_rng(SEED).permutation(len(pool.mean_nk))
    reference = make_clean(pool.take(np.sort(shuffled[:REFERENCE_ROWS])))
    test = pool.take(np.sort(shuffled[REFERENCE_ROWS:]))
    shown = [json.loads(line)["traits"] for line in labels.read_text(encoding="utf-8").splitlines()]
    found: dict[str, Any] = {"n_rows": n_rows, "null": _count_null(test, reference, n_null, n_rows), "mixtures": {}}
    for share in SHARES:
        for trait in pool.traits:
            own = np.flatnonzero([trait in each for each in shown])
            drawn = [_mix(test, rows, own, share, n_rows, [SEED, i]) for i in range(n_power)]
            found["mixtures"][f"{trait} {share:.0%}"] = _count(drawn, reference, trait)
    return found


def _count_null(test: Pool, reference: Reference, n_sets: int, n_rows: int) -> dict[str, Any]:
    sets: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for i in range(n_sets):
        drawn = test.take(_draw(len(test.mean_nk), n_rows, [SEED, 1, i]))
        for counter, held_against in ((sets, reference), (within, make_clean(drawn, WITHIN))):
            verdicts = {row["verdict"] for row in judge(drawn, held_against)}
            counter.update(verdict for verdict in ("risk", "watch") if verdict in verdicts)
    return {
        "n_sets": n_sets,
        "n_with_risk": sets["risk"],
        "n_with_watch": sets["watch"],
        "within": {"n_with_risk": within["risk"], "n_with_watch": within["watch"]},
    }


def _mix(test: Pool, rows: Pool, own: NDArray[np.int64], share: float, n_rows: int, seed: Sequence[int]) -> Pool:
    """Return clean rows with some that show a trait."""
    n_own = round(share * n_rows)
    plain = test.take(_draw(len(test.mean_nk), n_rows - n_own, [*seed, 2]))
    return plain.plus(rows.take(own[_draw(len(own), n_own, [*seed, 3])]))


def _count(drawn: Sequence[Pool], reference: Reference, trait: str) -> dict[str, Any]:
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    others: Counter[str] = Counter()
    numbers: dict[str, list[float]] = {"cohens_d": [], "random_band": []}
    for mixture in drawn:
        for row in judge(mixture, reference):
            if row["trait"] != trait:
                others.update([row["verdict"]])
                continue
            own.update([row["verdict"]])
            for name, values in numbers.items():
                values.append(row[name])
        within.update(row["verdict"] for row in judge(mixture, make_clean(mixture, WITHIN)) if row["trait"] == trait)
    means = {name: round(float(np.mean(values)), 3) for name, values in numbers.items()}
    return {"verdicts": dict(own), "other_traits": dict(others), "within": dict(within), **means}


def _draw(n: int, n_drawn: int, seed: Sequence[int]) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(list(seed)).choice(n, n_drawn, replace=False))


def _pool_evidence(pool: Pool) -> Mapping[str, TraitEvidence]:
    random = RandomSums(RANDOM_DIRECTIONS)
    random.add(np.full(len(pool.random_tr), np.nan), pool.random_tr, pool.null_tr)
    found = {}
    for k, trait in enumerate(pool.traits):
        sums = EvidenceSums()
        sums.add(pool.evidence_tk[:, k], pool.variance_tk[:, k], pool.z_tk[:, k])
        found[trait] = TraitEvidence(sums.n, sums.pooled_z, random.band, sums.mean_z)
    return found


def _moments(pool: Pool) -> DifferenceMoments:
    return DifferenceMoments(
        pool.difference_nr.mean(axis=0), np.cov(pool.difference_nr, rowvar=False), len(pool.difference_nr)
    )
