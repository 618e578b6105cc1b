"""Flags per record and trait, made by holding a run's scores against a clean reference by the run's rule.

A record's risk is its combined score where run and reference have one (see `risk`), else its plain score (projection
difference where there is a baseline), largest over its turns. Its p-value is the chance that a clean record of as many
turns has so much. `quantile` and `absolute` flag every trait by itself, as published (arXiv 2507.21509, appendix K);
`fdr` and `top-k` choose records: by the smallest p-value over their traits, corrected for how many these are, so that
one record is one record however many traits flag it. What is found of the dataset as a whole is another question, see
`verdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.reference import CleanTurns, TraitReference, TraitRisks, TraitScores
from audit.risk import Moments
from audit.rules import Rule
from audit.schema import FLAGS
from audit.score import benjamini_hochberg, percentile_of
from audit.store import ROW_GROUP_ROWS
from audit.surplus import UNUSUAL_SHARE
from audit.tails import any_of, clean_p, one_of

NAMED_SHARE = 0.5
"""Where records are chosen over all traits, a trait is named if its z is at least this share of the record's largest.

Traits go together, so that a record full of one passes for a little of the others.
"""

_OUTSIDE = "outside the model's domain"
_NOTHING_TO_HOLD_AGAINST = (
    "nothing to hold it against: no clean reference, and the run's own scores are too few or too much alike"
)


@dataclass(frozen=True, slots=True)
class Records:
    """What flags know of the n records of a run beside their scores.

    Attributes:
        judged_n: False where the record lies outside the model's domain: scored, never flagged.
        predicted_n: True where a baseline of it is predicted. It is never flagged, and is compared with clean scores of
            its own kind or none.
        n_turns_n: its scored answers that count.
        language_n: of its answers; None where none is known.
        n_tokens_n: their mean length; NaN without any.
    """

    sample_ids: NDArray[np.int64]
    judged_n: NDArray[np.bool_]
    predicted_n: NDArray[np.bool_]
    n_turns_n: NDArray[np.int64]
    language_n: NDArray[np.object_] | None = None
    n_tokens_n: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Which records of a run are flagged: what a trait's p-value has to be, and what it is worth.

    Attributes:
        cut: the largest p-value of a record, corrected for its traits, that is flagged (`fdr`, `top-k`); -1 for none.
        chosen_n: the records that are flagged where they are chosen over all traits at once.
        sorted_p, sorted_q: the q-values that there are, rising, and the largest p-value, corrected, that has each.
        smallest_n: the smallest p-value over a record's traits; NaN where none counts.
        largest_z_n: its largest z.
        n_traits: traits that a record is tested for.
    """

    rule: Rule
    cut: float
    chosen_n: NDArray[np.bool_]
    sorted_p: NDArray[np.float64]
    sorted_q: NDArray[np.float64]
    smallest_n: NDArray[np.float64]
    largest_z_n: NDArray[np.float64]
    n_traits: int

    def q_values(self, p_n: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return, for a trait's p-values, the share of clean records expected among all at least as unusual."""
        corrected = any_of(p_n, self.n_traits)
        q = np.full(p_n.size, np.nan)
        known = np.isfinite(corrected)
        place = np.searchsorted(self.sorted_p, corrected[known], side="left")
        # Less unusual than every record's strongest trait: nothing is sure.
        padded = np.append(self.sorted_q, 1.0)
        q[known] = padded[place]
        return q

    def flags(
        self, own: NDArray[np.int64], p_n: NDArray[np.float64], z_n: NDArray[np.float64], risk_n: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which of some records one trait flags, by their p-values, z and risks for it.

        Args:
            own: places of these records among all.
        """
        if self.rule.kind == "quantile":
            return np.asarray(p_n <= 1 - self.rule.level / 100)
        if self.rule.kind == "absolute":
            return np.asarray(np.isfinite(p_n) & (risk_n >= self.rule.level))
        is_named = (z_n >= NAMED_SHARE * self.largest_z_n[own]) | (p_n == self.smallest_n[own])
        return np.asarray(self.chosen_n[own] & is_named & (any_of(p_n, self.n_traits) <= self.cut))

    def expect_false(self, clean: CleanTurns, n_turns_n: NDArray[np.int64]) -> float:
        """Return how many of these records, were they all clean, one trait would flag (an upper bound)."""
        if self.rule.kind == "absolute":
            p = clean_p(np.asarray([self.rule.level]), np.asarray(clean.scores_sorted))
            return float(any_of(np.full(n_turns_n.size, p[0]), n_turns_n).sum())
        return n_turns_n.size * self._cut_of_one

    def expect_any_false(self, per_trait: list[float], n: int) -> float:
        """Return how many of n records, were they all clean, any trait would flag (an upper bound)."""
        if self.rule.is_joint:
            return max(self.cut, 0.0) * n
        return n * (1 - float(np.prod([1 - expected / n for expected in per_trait]))) if n else 0.0

    @property
    def _cut_of_one(self) -> float:
        if self.rule.kind == "quantile":
            return 1 - self.rule.level / 100
        return one_of(self.cut, self.n_traits) if self.cut > 0 else 0.0


def measure_p(risk_n: NDArray[np.float64], clean: CleanTurns, records: Records) -> NDArray[np.float64]:
    """Return the p-value of each record for one trait, corrected for its number of turns; NaN where it is not tested.

    What was not generated was found unlikely to pass: it counts among the tests and is never discovered.
    """
    p_n = any_of(clean_p(risk_n, np.asarray(clean.scores_sorted)), np.maximum(records.n_turns_n, 1))
    p_n[records.predicted_n & np.isfinite(p_n)] = 1.0
    p_n[~records.judged_n] = np.nan
    return p_n


def measure_z(risk_n: NDArray[np.float64], clean: CleanTurns) -> NDArray[np.float64]:
    """Return risks in standard deviations of the clean turns; NaN where these do not vary."""
    return (risk_n - clean.mean) / clean.sd if clean.sd > 0 else np.full(risk_n.size, np.nan)


def decide(
    rule: Rule,
    read_risks: Callable[[], Iterator[tuple[TraitReference, NDArray[np.float64]]]],
    records: Records,
    *,
    is_combined: bool,
) -> Decision:
    """Weigh all records by all traits.

    Args:
        read_risks: gives the reference and the risks [n] of one trait after the other, so that they never stand in
            memory together.
    """
    n, n_traits = len(records.sample_ids), 0
    smallest_n, largest_z_n = np.full(n, np.nan), np.full(n, np.nan)
    for trait, risk_n in read_risks():
        clean = trait.flagged_with(is_combined=is_combined)
        np.fmin(smallest_n, measure_p(risk_n, clean, records), out=smallest_n)
        np.fmax(largest_z_n, measure_z(risk_n, clean), out=largest_z_n)
        n_traits += 1
    corrected_n = any_of(smallest_n, n_traits)
    sorted_p = np.sort(corrected_n[np.isfinite(corrected_n)])
    sorted_q = benjamini_hochberg(sorted_p)
    cut, chosen_n = 1.0, np.ones(n, dtype=bool)
    if rule.kind == "fdr":
        n_flagged = int(np.searchsorted(sorted_q, rule.level, side="right"))
        cut = float(sorted_p[n_flagged - 1]) if n_flagged else -1.0
        chosen_n = corrected_n <= cut
    elif rule.kind == "top-k":
        # A record whose baseline is predicted, or that every clean one exceeds, is no find.
        n_flagged = min(int(rule.level), int(np.searchsorted(sorted_p, 1.0, side="left")))
        cut = float(sorted_p[n_flagged - 1]) if n_flagged else -1.0
        chosen_n = np.zeros(n, dtype=bool)
        # Of equally unusual records those that lie further out.
        chosen_n[np.lexsort((-largest_z_n, corrected_n))[:n_flagged]] = True
    # Of millions of records most share their q-value with others; looking up a few steps is many times faster.
    is_step = np.append(sorted_q[1:] != sorted_q[:-1], np.ones(min(sorted_q.size, 1), dtype=bool))
    return Decision(rule, cut, chosen_n, sorted_p[is_step], sorted_q[is_step], smallest_n, largest_z_n, n_traits)


def flag_trait(
    name: str,
    scores: TraitScores,
    reference: TraitReference | None,
    decision: Decision | None,
    rule: Rule,
    *,
    records: Records,
    has_difference: bool,
    risks: TraitRisks,
) -> Iterator[pa.Table]:
    """Yield the rows of `flags` for one trait, for every sample with a score, a row group at a time.

    Args:
        has_difference: the scores are differences; otherwise that column stays null.
        risks: what is known beside the plain scores; with combined ones among it, flags are made from these.
    """
    rows = np.flatnonzero(np.isfinite(scores.max_n))
    is_combined = risks.risk_n is not None
    risk_n = scores.max_n if risks.risk_n is None else risks.risk_n
    clean = reference.flagged_with(is_combined=is_combined) if reference is not None else None
    p_n = measure_p(risk_n, clean, records) if clean is not None else np.full(risk_n.size, np.nan)
    for start in range(0, max(rows.size, 1), ROW_GROUP_ROWS):
        own = rows[start : start + ROW_GROUP_ROWS]
        risk = risk_n[own]
        columns: dict[str, Any] = {
            "sample_id": records.sample_ids[own],
            "trait": pa.repeat(pa.scalar(name, pa.string()), own.size),
            "projection_difference": _floats(scores.max_n[own]) if has_difference else pa.nulls(own.size, pa.float32()),
            "orthogonal_difference": _floats(risks.orthogonal_n[own]),
            "window_difference": _floats(risks.window_n[own]),
            "layer_difference": _floats(risks.layer_n[own]),
            "evidence_z": _floats(risks.evidence_z_n[own]),
            "length_adjusted": _nulls(own.size) if risks.adjusted_n is None else _floats(risks.adjusted_n[own]),
            "risk": _floats(risk),
        }
        if reference is None or clean is None or decision is None:
            columns |= {name: _nulls(own.size) for name in _COMPARED}
            # A score of one's own choice needs nothing to be held against.
            flagged = (risk >= rule.level) & records.judged_n[own] & ~records.predicted_n[own]
            columns["flagged"] = flagged if rule.kind == "absolute" else np.zeros(own.size, dtype=bool)
            reasons = np.where(columns["flagged"], rule.words, _NOTHING_TO_HOLD_AGAINST)
            reasons = np.where(records.judged_n[own], reasons, _OUTSIDE)
            columns["reason"] = pa.array(reasons, pa.string())
        else:
            columns |= _compare(own, risk, p_n[own], clean, decision, records)
            flagged = columns["flagged"]
            lead = None
            if is_combined and reference.combined is not None:
                lead = _parts(risks, own[flagged], reference.combined.moments, scores)
            columns["reason"] = _explain(own, columns, decision, records, lead)
        yield pa.table({field: columns[field] for field in FLAGS.names}).cast(FLAGS)


_COMPARED = ("z", "z_language", "z_length", "percentile", "p_value", "q_value")


def _compare(
    own: NDArray[np.int64],
    risk: NDArray[np.float64],
    p: NDArray[np.float64],
    clean: CleanTurns,
    decision: Decision,
    records: Records,
) -> dict[str, Any]:
    """Return the columns that hold a row group against clean turns."""
    judged, predicted = records.judged_n[own], records.predicted_n[own]
    is_tested = judged & ~predicted & np.isfinite(p)
    z = measure_z(risk, clean)
    q = np.where(is_tested, decision.q_values(p), np.nan)
    flagged = is_tested & decision.flags(own, p, z, risk)
    known, known_predicted = np.asarray(clean.scores_sorted), np.asarray(clean.predicted_sorted)
    percentile = np.full(risk.size, np.nan)
    for is_own, values in ((~predicted, known), (predicted, known_predicted)):
        if values.size:
            percentile[is_own] = percentile_of(risk[is_own], values)
    if known_predicted.size:
        sd = known_predicted.std()
        z = np.where(predicted, (risk - known_predicted.mean()) / sd if sd > 0 else np.nan, z)
    else:
        z = np.where(predicted, np.nan, z)
    return {
        "z": _floats(z),
        **_compare_bands(own, np.where(predicted, np.nan, risk), clean, records),
        "percentile": _floats(percentile),
        "p_value": _floats(np.where(is_tested, p, np.nan)),
        "q_value": _floats(q),
        "flagged": flagged,
    }


def _compare_bands(
    own: NDArray[np.int64], risk: NDArray[np.float64], clean: CleanTurns, records: Records
) -> dict[str, pa.Array]:
    """Return z among clean turns of the record's language, and of its length."""
    language, length = np.full(risk.size, np.nan), np.full(risk.size, np.nan)
    tokens = None if records.n_tokens_n is None else np.maximum(np.round(records.n_tokens_n[own]), 1)
    for label, band in clean.bands.items():
        kind, _, name = label.partition(" ")
        if kind == "language" and records.language_n is not None:
            is_in = records.language_n[own] == name
            language[is_in] = (risk[is_in] - band.mean) / band.sd
        elif kind == "tokens" and tokens is not None:
            low, high = (int(bound) for bound in name.split("-"))
            is_in = (tokens >= low) & (tokens <= high)
            length[is_in] = (risk[is_in] - band.mean) / band.sd
    return {"z_language": _floats(language), "z_length": _floats(length)}


_CLEAR_LEAD = 3.0
"""A part of the combined score that is this many times the other made the flag by itself."""


def _parts(
    risks: TraitRisks, own: NDArray[np.int64], moments: Moments, scores: TraitScores
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two parts of combined scores in SD of the reference: difference and evidence."""
    # Where no traits are parted, the projection difference is what was combined.
    differences = np.where(np.isfinite(risks.orthogonal_n[own]), risks.orthogonal_n[own], scores.max_n[own])
    difference = (differences - moments.difference_mean) / moments.difference_sd
    return difference, (np.nan_to_num(risks.evidence_z_n[own]) - moments.z_mean) / moments.z_sd


def _explain(
    own: NDArray[np.int64],
    columns: dict[str, Any],
    decision: Decision,
    records: Records,
    parts: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> pa.Array:
    """Return what made or unmade each flag, in words and numbers; null where there is nothing to say."""
    reasons: list[str | None] = [None] * own.size
    for place in np.flatnonzero(records.predicted_n[own]).tolist():
        reasons[place] = "its baseline is predicted: a flag was found too unlikely to generate one"
    for place in np.flatnonzero(~records.judged_n[own]).tolist():
        reasons[place] = _OUTSIDE
    places = np.flatnonzero(columns["flagged"])
    z, q = (columns[name].to_numpy(zero_copy_only=False)[places] for name in ("z", "q_value"))
    words = decision.rule.words
    for i, place in enumerate(places.tolist()):
        more = "" if parts is None else f"; {_describe_parts(float(parts[0][i]), float(parts[1][i]))}"
        # Clean turns that are all alike have no standard deviation.
        height = f"{z[i]:+.1f} SD of clean turns" if np.isfinite(z[i]) else "above clean turns, which do not vary"
        reasons[place] = f"{words}: {height}, q = {q[i]:.2g}{more}"
    return pa.array(reasons, pa.string())


def _describe_parts(difference: float, evidence: float) -> str:
    numbers = f"difference {difference:+.1f}, evidence {evidence:+.1f} SD"
    if max(difference, 0.0) > _CLEAR_LEAD * max(evidence, 0.0):
        return f"mostly the difference ({numbers})"
    if max(evidence, 0.0) > _CLEAR_LEAD * max(difference, 0.0):
        return f"mostly the evidence ({numbers})"
    return f"difference and evidence ({numbers})"


def count_unusual(table: pa.Table, share: float = UNUSUAL_SHARE) -> int:
    """Return how many rows of `flags` are beyond what a share of clean records are, whatever the rule that flags."""
    p = table["p_value"].to_numpy()
    return int((p <= share + 1e-7).sum())


def _floats(values_n: NDArray[np.float64]) -> pa.Array:
    """Return a column in which NaN is null."""
    return pa.array(values_n, pa.float32(), from_pandas=True)


def _nulls(n: int) -> pa.Array:
    return pa.nulls(n, pa.float32())
