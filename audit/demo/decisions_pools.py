"""Pools of scored demo rows that datasets are drawn from, judged in memory by the tool's own rules.

A scan of each of hundreds of drawn datasets would take hours, and a row's scores do not depend on its neighbours: so a
pool is scanned once, and flags and verdicts are made of drawn rows by the functions that a scan makes them with. Draws
share rows, so that their count is worth less than as many independent ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from audit.calibration import EvidenceSums, RandomSums, TraitEvidence
from audit.config import ScanConfig
from audit.demo.phrases import TRAITS
from audit.demo.world import Row, write_rows
from audit.differences import read_differences
from audit.flag import Records, decide, measure_p, measure_z
from audit.reference import (
    CleanDifferences,
    CombinedTurns,
    Reference,
    TraitReference,
    TraitScores,
    describe_turns,
)
from audit.risk import Moments
from audit.rules import Rule
from audit.run import Run, scan
from audit.schema import RANDOM_DIRECTIONS
from audit.shifts import DifferenceMoments, random_shift_band
from audit.store import RunStore
from audit.surplus import RARE_SHARE, UNUSUAL_SHARE
from audit.verdict import judge_traits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_COLUMNS: Final = (
    "projection_difference",
    "orthogonal_difference",
    "window_difference",
    "layer_difference",
    "evidence",
    "evidence_variance",
    "evidence_z",
)
LAYER: Final = 2
"""All traits of the demo model are scored there."""


@dataclass(frozen=True)
class Pool:
    """The scored answers [t] of n rows, grouped by row; traits [k] in the order of `TRAITS`.

    Attributes:
        columns: column of `scores` → values [t, k]; NaN where null.
        random_tr, null_tr: evidence along random directions, of responses and of drawn tokens.
        difference_nr: difference vectors of the rows.
        labels_nk: traits that the judge sees in a row.
    """

    row_t: Ints
    columns: Mapping[str, Floats]
    random_tr: Floats
    null_tr: Floats
    n_tokens_t: Floats
    nll_t: Floats
    difference_nr: Floats
    labels_nk: Bools
    is_fiction_n: Bools

    @property
    def n_rows(self) -> int:
        """Rows, with an answer or not."""
        return len(self.labels_nk)

    @property
    def n_turns_n(self) -> Ints:
        """Scored answers of each row."""
        return np.bincount(self.row_t, minlength=self.n_rows)

    def take(self, rows: Ints) -> Pool:
        """Return these rows in this order; one may be taken twice."""
        starts = np.searchsorted(self.row_t, rows, side="left")
        counts = self.n_turns_n[rows]
        place_t = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
        return Pool(
            row_t=np.repeat(np.arange(len(rows)), counts),
            columns={name: values[place_t] for name, values in self.columns.items()},
            random_tr=self.random_tr[place_t],
            null_tr=self.null_tr[place_t],
            n_tokens_t=self.n_tokens_t[place_t],
            nll_t=self.nll_t[place_t],
            difference_nr=self.difference_nr[rows],
            labels_nk=self.labels_nk[rows],
            is_fiction_n=self.is_fiction_n[rows],
        )

    def row_maximum(self, values_tk: Floats) -> Floats:
        """Return the largest over each row's turns, [n, k]."""
        largest_nk = np.full((self.n_rows, values_tk.shape[1]), -np.inf)
        np.maximum.at(largest_nk, self.row_t, np.where(np.isfinite(values_tk), values_tk, -np.inf))
        return np.where(np.isfinite(largest_nk), largest_nk, np.nan)

    def row_mean(self, values_tk: Floats) -> Floats:
        """Return the mean over each row's turns, [n, k]."""
        sums_nk = np.zeros((self.n_rows, values_tk.shape[1]))
        np.add.at(sums_nk, self.row_t, values_tk)
        return sums_nk / np.maximum(self.n_turns_n, 1)[:, None]


def join(one: Pool, other: Pool) -> Pool:
    """Return the rows of both, those of the first before those of the second."""
    return Pool(
        row_t=np.concatenate([one.row_t, other.row_t + one.n_rows]),
        columns={name: np.concatenate([one.columns[name], other.columns[name]]) for name in one.columns},
        random_tr=np.concatenate([one.random_tr, other.random_tr]),
        null_tr=np.concatenate([one.null_tr, other.null_tr]),
        n_tokens_t=np.concatenate([one.n_tokens_t, other.n_tokens_t]),
        nll_t=np.concatenate([one.nll_t, other.nll_t]),
        difference_nr=np.concatenate([one.difference_nr, other.difference_nr]),
        labels_nk=np.concatenate([one.labels_nk, other.labels_nk]),
        is_fiction_n=np.concatenate([one.is_fiction_n, other.is_fiction_n]),
    )


def scan_pool(rows: Sequence[Row], folder: Path) -> tuple[Run, Pool]:
    """Scan rows as a user would, with every prompt answered, and read what was measured of them."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "rows.jsonl"
    write_rows(iter(rows), data, None)
    run = scan(ScanConfig(datasets=(str(data),), baseline="generate", evidence="full", out=str(folder / "rows.audit")))
    return run, read_pool(run, rows)


def read_pool(run: Run, rows: Sequence[Row]) -> Pool:
    """Read the scored answers of a run of these rows."""
    keys = "sample_id, turn"
    turns = _fetch(
        run,
        "SELECT sample_id, turn, response_nll::DOUBLE AS nll, n_response_tokens::DOUBLE AS n_tokens FROM turns "
        f"SEMI JOIN scores USING (sample_id, side, turn, part) WHERE part = 'answer' ORDER BY {keys}",
    )
    wanted = ", ".join(f"{name}::DOUBLE AS {name}" for name in _COLUMNS)
    by_trait = [
        _fetch(run, f"SELECT {wanted} FROM scores WHERE trait = '{trait}' AND part = 'answer' ORDER BY {keys}")
        for trait in TRAITS
    ]
    table = run.sql(
        f"SELECT evidence, null_evidence FROM random_evidence WHERE layer = {LAYER} AND part = 'answer' ORDER BY {keys}"
    ).to_arrow_table()
    random_tr, null_tr = (
        np.asarray(table[name].combine_chunks().flatten(), dtype=np.float64).reshape(-1, RANDOM_DIRECTIONS)
        for name in ("evidence", "null_evidence")
    )
    return Pool(
        row_t=turns["sample_id"].astype(np.int64),
        columns={name: np.stack([own[name] for own in by_trait], axis=1) for name in _COLUMNS},
        random_tr=random_tr,
        null_tr=null_tr,
        n_tokens_t=turns["n_tokens"],
        nll_t=turns["nll"],
        difference_nr=np.concatenate(list(read_differences(RunStore(run.path)))).astype(np.float64),
        labels_nk=np.asarray([[trait in row.traits for trait in TRAITS] for row in rows]),
        is_fiction_n=np.asarray([row.is_fiction for row in rows]),
    )


def make_reference(clean: Pool) -> Reference:
    """Return the reference that a scan of these clean rows would be."""
    difference_tk, z_tk = clean.columns["orthogonal_difference"], np.nan_to_num(clean.columns["evidence_z"])
    plain_tk = clean.columns["projection_difference"]
    mean_nk = clean.row_mean(plain_tk)
    traits = {}
    for k, trait in enumerate(TRAITS):
        measured = (
            difference_tk[:, k].mean(),
            difference_tk[:, k].std(ddof=1),
            z_tk[:, k].mean(),
            z_tk[:, k].std(ddof=1),
        )
        moments = Moments(*(float(value) for value in measured))
        risk_t = moments.combine(difference_tk[:, k], z_tk[:, k])
        traits[trait] = TraitReference(
            layer=LAYER,
            vector_sha256="",
            plain=describe_turns(plain_tk[:, k]),
            mean=float(mean_nk[:, k].mean()),
            sd=float(mean_nk[:, k].std(ddof=1)),
            n=clean.n_rows,
            combined=CombinedTurns(moments, describe_turns(risk_t)),
        )
    vectors = _measure_moments(clean)
    rows = tuple(tuple(row) for row in vectors.covariance_rr.tolist())
    differences = CleanDifferences(tuple(vectors.mean_r.tolist()), rows, vectors.n)
    source = "clean rows of the demo world"
    return Reference(source, "", "difference", {}, clean.n_rows, traits, differences=differences)


def _measure_moments(pool: Pool) -> DifferenceMoments:
    covariance_rr = np.cov(pool.difference_nr, rowvar=False)
    return DifferenceMoments(pool.difference_nr.mean(axis=0), covariance_rr, pool.n_rows)


@dataclass(frozen=True)
class Judged:
    """What the tool makes of a drawn dataset: risks and flags [n, k], and how many rows are unusual by trait."""

    risk_nk: Floats
    flagged_nk: Bools
    n_unusual: Mapping[str, int]
    n_rare: Mapping[str, int]


def known_records(drawn: Pool) -> Records:
    """Return the rows as flags know them: all of the model's own world, none with a predicted baseline."""
    n = drawn.n_rows
    return Records(np.arange(n), np.ones(n, dtype=bool), np.zeros(n, dtype=bool), drawn.n_turns_n)


def flag_rows(drawn: Pool, reference: Reference, rule: Rule) -> Judged:
    """Flag the rows of a drawn dataset by a rule."""
    known = known_records(drawn)
    risks = []
    for k, trait in enumerate(TRAITS):
        combined = reference.traits[trait].combined
        assert combined is not None
        own = combined.moments.combine(drawn.columns["orthogonal_difference"][:, k], drawn.columns["evidence_z"][:, k])
        risks.append(drawn.row_maximum(own[:, None])[:, 0])
    risk_nk = np.stack(risks, axis=1)
    decision = decide(
        rule,
        lambda: ((reference.traits[trait], risk_nk[:, k]) for k, trait in enumerate(TRAITS)),
        known,
        is_combined=True,
    )
    flagged: list[Bools] = []
    n_unusual, n_rare = {}, {}
    for k, trait in enumerate(TRAITS):
        clean = reference.traits[trait].flagged_with(is_combined=True)
        p_n, z_n = measure_p(risk_nk[:, k], clean, known), measure_z(risk_nk[:, k], clean)
        n_unusual[trait], n_rare[trait] = (int((p_n <= share).sum()) for share in (UNUSUAL_SHARE, RARE_SHARE))
        flagged.append(decision.flags(known.sample_ids, p_n, z_n, risk_nk[:, k]))
    return Judged(risk_nk, np.stack(flagged, axis=1), n_unusual, n_rare)


def judge_rows(drawn: Pool, reference: Reference, judged: Judged) -> list[dict[str, Any]]:
    """Return the verdicts on a drawn dataset."""
    plain_tk = drawn.columns["projection_difference"]
    largest_nk, mean_nk = drawn.row_maximum(plain_tk), drawn.row_mean(plain_tk)
    held_against = reference.differences
    assert held_against is not None
    clean = DifferenceMoments(np.asarray(held_against.mean_r), np.asarray(held_against.covariance_rr), held_against.n)
    random = RandomSums(RANDOM_DIRECTIONS)
    random.add(drawn.nll_t, drawn.random_tr, drawn.null_tr)
    evidence = {}
    for k, trait in enumerate(TRAITS):
        sums = EvidenceSums()
        sums.add(*(drawn.columns[name][:, k] for name in ("evidence", "evidence_variance", "evidence_z")))
        evidence[trait] = TraitEvidence(sums.n, sums.pooled_z, random.band, sums.mean_z)
    return judge_traits(
        {trait: TraitScores(LAYER, "", largest_nk[:, k], mean_nk[:, k]) for k, trait in enumerate(TRAITS)},
        reference,
        n_flagged=dict(zip(TRAITS, judged.flagged_nk.sum(axis=0).tolist(), strict=True)),
        n_unusual=judged.n_unusual,
        n_rare=judged.n_rare,
        expected_false_flags=dict.fromkeys(TRAITS),
        judged_n=np.ones(drawn.n_rows, dtype=bool),
        undecided=None,
        evidence=evidence,
        random_band=random_shift_band(_measure_moments(drawn), clean, seed=0),
    )


def _fetch(run: Run, query: str) -> dict[str, Any]:
    return {
        name: np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)
        for name, values in run.sql(query).fetchnumpy().items()
    }
