"""Scores of demo rows as a user gets them, evidence included: one scan, read back turn by turn from its relations.

Pooled figures are computed here from the parts (S, W, random directions), apart from the tool's own verdicts, so that
the one checks the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from audit.config import ScanConfig
from audit.demo.phrases import TRAITS
from audit.demo.world import Row, write_rows
from audit.run import Run, scan
from audit.schema import RANDOM_DIRECTIONS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NORMAL_975: Final = 1.959964
STUDENT_975: Final = 2.036933
"""Of as many degrees of freedom as there are random directions: 32."""

_SCORES: Final = (
    "projection_difference",
    "orthogonal_difference",
    "evidence",
    "evidence_z",
    "evidence_variance",
    "prompted_evidence",
    "prompted_evidence_z",
    "prompted_gain",
)


@dataclass(frozen=True)
class ScannedTurns:
    """The scored answers of some rows, t turns grouped by row; NaN where a score is NULL.

    Attributes:
        row_t: number of the row, from 0.
        columns: column of `scores` → trait → values [t].
        random: trait → evidence along random directions of its layer [t, r], of the response and of drawn tokens.
    """

    n_rows: int
    row_t: Ints
    columns: Mapping[str, Mapping[str, Floats]]
    nll_t: Floats
    n_tokens_t: Floats
    random: Mapping[str, tuple[Floats, Floats]]

    def row_maximum(self, values_t: Floats) -> Floats:
        """Return the largest value over each row's turns, as flags do; NaN for a row without any."""
        maxima_n = np.full(self.n_rows, -np.inf)
        finite = np.isfinite(values_t)
        np.maximum.at(maxima_n, self.row_t[finite], values_t[finite])
        return np.where(np.isfinite(maxima_n), maxima_n, np.nan)

    def has(self, column: str) -> bool:
        """Say whether any turn has the score."""
        return any(np.isfinite(values).any() for values in self.columns[column].values())

    def slice_rows(self, start: int, stop: int) -> ScannedTurns:
        """Return the turns of the rows from `start` up to `stop`, which are numbered from 0 again."""
        kept = (self.row_t >= start) & (self.row_t < stop)
        return ScannedTurns(
            n_rows=stop - start,
            row_t=self.row_t[kept] - start,
            columns={name: {trait: values[kept] for trait, values in of.items()} for name, of in self.columns.items()},
            nll_t=self.nll_t[kept],
            n_tokens_t=self.n_tokens_t[kept],
            random={trait: (one[kept], other[kept]) for trait, (one, other) in self.random.items()},
        )


@dataclass(frozen=True)
class Pooled:
    """Evidence of a set along one trait's vector, and what random directions give on the same set.

    Attributes:
        z: ΣS / √ΣW.
        band: what a random direction exceeds with probability .025.
        largest_random: the largest |Z| over the random directions.
        mean_z: mean of the turns' z; None where the scan measured no variance of single turns.
    """

    z: float
    band: float
    largest_random: float
    mean_z: float | None

    @property
    def is_above(self) -> bool:
        """Whether the set moves the trait further up than chance would."""
        return self.z > self.band


def scan_sets(
    sets: Mapping[str, Sequence[Row]],
    folder: Path,
    *,
    baseline: str,
    evidence: str = "full",
    reference: str | None = None,
) -> tuple[Run, dict[str, ScannedTurns]]:
    """Scan several sets as one dataset and return the run with the scores of each."""
    folder.mkdir(parents=True)
    data = folder / "rows.jsonl"
    write_rows((row for rows in sets.values() for row in rows), data, None)
    run = scan(
        ScanConfig(
            datasets=(str(data),),
            baseline=baseline,
            evidence=evidence,
            reference=reference,
            out=str(folder / "rows.audit"),
            no_cache=True,
        )
    )
    turns = read_turns(run, sum(map(len, sets.values())))
    bounds = np.cumsum([0, *map(len, sets.values())]).tolist()
    return run, {
        name: turns.slice_rows(start, stop) for name, (start, stop) in zip(sets, pairwise(bounds), strict=True)
    }


def read_turns(run: Run, n_rows: int) -> ScannedTurns:
    """Read the scored answers of a run."""
    keys = "sample_id, turn"
    turns = _fetch(
        run,
        "SELECT sample_id, turn, response_nll::DOUBLE AS nll, n_response_tokens::DOUBLE AS n_tokens FROM turns "
        f"SEMI JOIN scores USING (sample_id, side, turn, part) WHERE part = 'answer' ORDER BY {keys}",
    )
    columns: dict[str, dict[str, Floats]] = {name: {} for name in _SCORES}
    wanted = ", ".join(f"{name}::DOUBLE AS {name}" for name in _SCORES)
    for trait in TRAITS:
        query = f"SELECT {wanted} FROM scores WHERE trait = '{trait}' AND part = 'answer' ORDER BY {keys}"
        for name, values in _fetch(run, query).items():
            columns[name][trait] = values
    return ScannedTurns(
        n_rows=n_rows,
        row_t=turns["sample_id"].astype(np.int64),
        columns=columns,
        nll_t=turns["nll"],
        n_tokens_t=turns["n_tokens"],
        random={trait: _read_random(run, trait) for trait in TRAITS},
    )


def pool_evidence(turns: ScannedTurns, trait: str) -> Pooled:
    """Pool a set's evidence, with the band of its random directions.

    Random directions lie symmetrically around 0, so that the band is Student's quantile times the root mean square of
    their Z; it is never narrower than the normal quantile, which is what the noise of the null alone gives.
    """
    score_t, variance_t = turns.columns["evidence"][trait], turns.columns["evidence_variance"][trait]
    z_r = pool_random(turns, trait)
    return Pooled(
        z=float(np.nansum(score_t) / np.sqrt(np.nansum(variance_t))),
        band=max(NORMAL_975, STUDENT_975 * float(np.sqrt((z_r**2).mean()))),
        largest_random=float(np.abs(z_r).max()),
        mean_z=float(np.nanmean(turns.columns["evidence_z"][trait])) if turns.has("evidence_z") else None,
    )


def pool_random(turns: ScannedTurns, trait: str) -> Floats:
    """Return the pooled Z of every random direction, [r]."""
    random_tr, null_tr = turns.random[trait]
    return np.asarray(random_tr.sum(axis=0) / np.sqrt((null_tr**2).sum(axis=0)))


def _read_random(run: Run, trait: str) -> tuple[Floats, Floats]:
    layer = run.sql(f"SELECT any_value(layer) FROM scores WHERE trait = '{trait}'").fetchall()[0][0]
    table = run.sql(
        "SELECT evidence, null_evidence FROM random_evidence "
        f"WHERE layer = {int(layer)} AND part = 'answer' ORDER BY sample_id, turn"
    ).to_arrow_table()
    found = [
        np.asarray(table[name].combine_chunks().flatten(), dtype=np.float64).reshape(-1, RANDOM_DIRECTIONS)
        for name in ("evidence", "null_evidence")
    ]
    return found[0], found[1]


def _fetch(run: Run, query: str) -> dict[str, Any]:
    return {
        name: np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)
        for name, values in run.sql(query).fetchnumpy().items()
    }
