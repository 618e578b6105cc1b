"""Whose y′ must be generated, when a prediction of it serves for the others: the decisions, and what they may miss.

A row is flagged by its true score, so a row with a predicted y′ may hide a flag. Rows are revealed (their y′ is
generated) in falling chance to be flagged; then a random part of those left is revealed too, and says with confidence
how many flags the others may still hide. Nothing here generates: the caller reveals. Arrays only.

Axes: n row, t turn, k trait, m residual.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Reveal = Callable[[Rows, str], NDArray[np.bool_]]
"""Generates y′ for some rows and tells which of them are flagged; the word says what they were drawn for."""

LEAST_PROMPTS = 5_000
"""Below this many distinct prompts all are answered: little would be saved, and nothing has to be predicted."""

TARGET_MISS_RATE = 0.05
CONFIDENCE = 0.95
AUDIT_LEVELS = (0.04, 0.005, 0.005)
"""Chances to be wrong, one for each audit: one that finds more than was predicted is followed by more revealed rows
and a fresh audit. Their sum is 1 - CONFIDENCE (Bonferroni), so the last bound holds whichever audit it comes from."""

_RESIDUALS = 1_024
_CHUNK = 8_192
_CAUTION = 1.0
"""Flags that are planned for among the rows that are left, for each one expected."""

_LUCK = 1.28
"""Standard deviations of bad luck that an audit is planned for: nine of ten suffice."""

_CUTS = 128


@dataclass(frozen=True, slots=True)
class CascadeReport:
    """What was done, and what it is known to miss.

    Attributes:
        n_rows: rows that can be scored.
        n_random, n_chosen, n_audited: rows revealed to learn the prediction, for their chance, and to audit.
        n_found: revealed rows that are flagged.
        n_left: rows whose y′ stays predicted.
        expected_misses: flags that the residuals put among them.
        miss_bound: share of all flags that is missed at most, with the confidence.
    """

    n_rows: int
    n_random: int
    n_chosen: int
    n_audited: int
    n_audit_hits: int
    n_found: int
    n_left: int
    expected_misses: float
    miss_bound: float
    confidence: float = CONFIDENCE


@dataclass(slots=True)
class _State:
    """Rows on their way; `p_n` is the chance that a row is flagged, 0 once that is known."""

    p_n: NDArray[np.float64]
    is_known_n: NDArray[np.bool_]
    is_flagged_n: NDArray[np.bool_]
    counts: dict[str, int] = field(default_factory=lambda: {"chosen": 0, "audit": 0})

    def reveal(self, rows: Rows, reveal: Reveal, purpose: str) -> int:
        flagged = reveal(rows, purpose)
        self.is_flagged_n[rows] = flagged
        self.is_known_n[rows] = True
        self.p_n[rows] = 0.0
        self.counts[purpose] += len(rows)
        return int(flagged.sum())


def choose_random_rows(n_rows: int, seed: int) -> Rows:
    """Return the rows, in order, whose y′ the prediction is learned from: a twentieth, from 1,000 to 4,000."""
    n_random = min(n_rows, int(np.clip(n_rows // 20, 1_000, 4_000)))
    return np.sort(np.random.default_rng([seed, n_rows, 1]).choice(n_rows, n_random, replace=False))


def flag_chances(
    predicted_tk: NDArray[np.floating],
    row_t: NDArray[np.integer],
    n_rows: int,
    residual_mk: NDArray[np.floating],
    threshold_k: NDArray[np.floating],
    *,
    seed: int,
) -> NDArray[np.float64]:
    """Return the chance of each row that the true score of a turn passes the threshold of any trait.

    A true score is the predicted one minus a residual; residuals of all traits are drawn together, as they go together.

    Args:
        predicted_tk: predicted scores of the turns that count; a trait without one is NaN and passes nothing.
        row_t: the row of each turn.
        residual_mk: residuals of the baseline (observed minus predicted), out of sample.
        threshold_k: infinite for a trait that flags nothing.
    """
    residual_mk = np.asarray(residual_mk, dtype=np.float32)
    if len(residual_mk) > _RESIDUALS:
        drawn = np.random.default_rng([seed, len(residual_mk)]).choice(len(residual_mk), _RESIDUALS, replace=False)
        residual_mk = residual_mk[drawn]
    log_miss_n = np.zeros(n_rows)
    for start in range(0, len(predicted_tk), _CHUNK):
        chunk = np.asarray(predicted_tk[start : start + _CHUNK], dtype=np.float32)
        passes_tm = np.zeros((len(chunk), len(residual_mk)), dtype=bool)
        for k, threshold in enumerate(threshold_k):
            passes_tm |= chunk[:, k, None] - residual_mk[:, k] > threshold
        # Never quite 0 or 1: residuals that are counted do not rule anything out.
        p_t = (passes_tm.sum(axis=1) + 0.5) / (len(residual_mk) + 1.0)
        np.add.at(log_miss_n, row_t[start : start + _CHUNK], np.log1p(-p_t))
    return np.asarray(-np.expm1(log_miss_n))


def calibrate_chances(
    p_n: NDArray[np.float64], p_known: NDArray[np.float64], flagged: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the chances as rows whose flags are known would have them (Platt 1999): they are judged too high where
    traits or turns go together more than residuals say, or where residuals are smaller.

    Args:
        p_known: chances of those rows, from predictions that did not see their y′.
    """
    logit = _logit(p_known)
    design = np.stack([np.ones_like(logit), logit], axis=1)
    # A weak pull towards leaving the chances as they are keeps the fit finite where they separate the rows.
    prior, weight = np.array([0.0, 1.0]), 1.0
    beta = prior.copy()
    for _ in range(50):
        fitted = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (flagged - fitted) - weight * (beta - prior)
        curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design + weight * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        beta = beta + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    # A slope that is not positive would turn the order round: then the chances say nothing.
    return np.asarray(1 / (1 + np.exp(-(beta[0] + max(beta[1], 0.0) * _logit(p_n)))))


def _logit(p_n: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped_n = np.clip(p_n, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(clipped_n) - np.log1p(-clipped_n))


def run_cascade(
    p_n: NDArray[np.float64],
    random_rows: Rows,
    random_flagged: NDArray[np.bool_],
    reveal: Reveal,
    *,
    seed: int,
    target: float = TARGET_MISS_RATE,
) -> CascadeReport:
    """Reveal rows until an audit bounds the share of missed flags by the target, or all audits are spent.

    Args:
        p_n: chance of each row to be flagged, see `flag_chances`.
        random_rows: rows that are revealed already, and whether each is flagged.
    """
    n_rows = len(p_n)
    state = _State(np.array(p_n, dtype=np.float64), np.zeros(n_rows, dtype=bool), np.zeros(n_rows, dtype=bool))
    state.is_known_n[random_rows] = True
    state.is_flagged_n[random_rows] = random_flagged
    state.p_n[random_rows] = 0.0
    draw = np.random.default_rng([seed, n_rows, 2])
    bound, hits, caution = 1.0, 0, _CAUTION
    for delta in AUDIT_LEVELS:
        n_chosen, n_audit = _plan(state, target, delta, caution)
        order = np.argsort(-state.p_n, kind="stable")
        unknown = order[~state.is_known_n[order]]
        chosen = np.sort(unknown[:n_chosen])
        if len(chosen):
            state.reveal(chosen, reveal, "chosen")
        left = np.flatnonzero(~state.is_known_n)
        if not len(left):
            bound, hits = 0.0, 0
            break
        expected = float(state.p_n[left].sum())
        audited = np.sort(draw.choice(left, min(n_audit, len(left)), replace=False))
        hits = state.reveal(audited, reveal, "audit")
        n_found = int(state.is_flagged_n.sum())
        bound = miss_bound(len(left), len(audited), hits, n_found, delta)
        if bound <= target:
            break
        # More flags were left than the residuals say: believe the audit from here on.
        caution = max(2 * caution, _CAUTION * hits * len(left) / max(len(audited) * expected, 1e-9))
    left = np.flatnonzero(~state.is_known_n)
    return CascadeReport(
        n_rows=n_rows,
        n_random=len(random_rows),
        n_chosen=state.counts["chosen"],
        n_audited=state.counts["audit"],
        n_audit_hits=hits,
        n_found=int(state.is_flagged_n.sum()),
        n_left=len(left),
        expected_misses=float(state.p_n[left].sum()),
        miss_bound=bound if len(left) else 0.0,
    )


def miss_bound(n_left: int, n_audited: int, n_hits: int, n_found: int, delta: float) -> float:
    """Return what share of all flags is missed at most, but for a chance of `delta`.

    Of `n_left` rows, `n_audited` were drawn at random and `n_hits` of them are flagged; `n_found` flags are known by
    now, these hits among them. The number of flags that were left is bounded exactly (hypergeometric, the
    counterpart of Clopper and Pearson 1934 for a finite population).
    """
    n_missed = largest_count(n_left, n_audited, n_hits, delta) - n_hits
    return n_missed / (n_found + n_missed) if n_missed else 0.0


def largest_count(n_population: int, n_drawn: int, n_hits: int, delta: float) -> int:
    """Return the largest number of marked ones in a population under which at most `n_hits` of `n_drawn` are marked
    with a chance above `delta`."""
    low, high = n_hits, n_population - n_drawn + n_hits
    while low < high:
        middle = (low + high + 1) // 2
        if _chance_at_most(n_population, middle, n_drawn, n_hits) > delta:
            low = middle
        else:
            high = middle - 1
    return low


def _chance_at_most(n: int, n_marked: int, n_drawn: int, hits: int) -> float:
    whole = _log_choose(n, n_drawn)
    fewest = max(0, n_drawn - (n - n_marked))
    logs = [
        _log_choose(n_marked, i) + _log_choose(n - n_marked, n_drawn - i) - whole
        for i in range(fewest, min(hits, n_marked, n_drawn) + 1)
    ]
    return math.fsum(math.exp(log) for log in logs)


def _log_choose(a: int, b: int) -> float:
    return math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)


def _plan(state: _State, target: float, delta: float, caution: float) -> tuple[int, int]:
    """Return how many rows to reveal by chance and how many to audit after that, so that together they are fewest."""
    p_sorted = np.sort(state.p_n[~state.is_known_n])[::-1]
    n_unknown = len(p_sorted)
    if not n_unknown:
        return 0, 0
    gained = np.concatenate([[0.0], np.cumsum(p_sorted)])
    n_found = float(state.is_flagged_n.sum())
    best = (n_unknown, 0)
    for cut in np.unique(np.linspace(0, n_unknown - 1, min(_CUTS, n_unknown)).astype(int)):
        n_left = n_unknown - int(cut)
        expected = caution * float(gained[-1] - gained[cut])
        n_audit = _audit_size(n_left, expected, n_found + float(gained[cut]), target, delta)
        if n_audit is not None and cut + n_audit < sum(best):
            best = (int(cut), n_audit)
    return best


def _audit_size(n_left: int, expected: float, n_found: float, target: float, delta: float) -> int | None:
    """Return the smallest audit that is likely to bound the misses by the target; None where none can."""
    z = NormalDist().inv_cdf(1 - delta)
    size = 32
    while size < n_left:
        mean = expected * size / n_left
        hits = math.ceil(mean + _LUCK * math.sqrt(mean))
        # The Poisson counterpart of the exact bound (Wilson and Hilferty 1931), close enough to plan with.
        most = (hits + 1) * (1 - 1 / (9 * (hits + 1)) + z / (3 * math.sqrt(hits + 1))) ** 3
        missed = max(most * n_left / size - hits, 0.0)
        if missed <= target * (n_found + hits + missed):
            return size
        size = math.ceil(size * 1.1)
    return None
