"""Whether more records are unusual than clean data would have: an exact test of counts against a clean reference.

A record is unusual at a share q if its p-value among m clean ones is at most q, that is, if it lies beyond the k-th
largest of them, k = ⌊q (m + 1)⌋. That bound is an estimate too: of n clean records the number beyond it is
beta-binomial, whatever the distribution of the scores (ties make it smaller). So the test holds for twenty records as
for ten million, and whatever the rule that flags.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

UNUSUAL_SHARE, RARE_SHARE = 0.05, 0.01
"""Shares of clean records beyond which records are counted: the published threshold, and one that a few rows reach."""

LARGE_SURPLUS = 0.05
"""Share of the records, beyond what is expected, from which on a surplus is large: at the published threshold twice as
many as clean data has."""

_NEGLIGIBLE = 1e-12


@dataclass(frozen=True, slots=True)
class Unusual:
    """How many records are beyond what 5 %, and what 1 %, of clean ones are; `rare` None where that was not counted."""

    n: int
    rare: int | None = None


@dataclass(frozen=True, slots=True)
class Surplus:
    """Whether more records are unusual than chance explains, whether by many, and words for it."""

    is_real: bool
    is_large: bool
    words: str


def weigh_surplus(n: int, unusual: Unusual, n_clean: int, level: float) -> Surplus:
    """Test how many of n records are unusual, at both shares, each at this level.

    Args:
        n_clean: clean records that the p-values come from.
    """
    words = f"{unusual.n / n:.1%} of the records are beyond what {UNUSUAL_SHARE:.0%} of clean ones are"
    is_real = is_large = False
    for count, share in ((unusual.n, UNUSUAL_SHARE), (unusual.rare, RARE_SHARE)):
        if count is None or surplus_p(count, n, share, n_clean) >= level:
            continue
        is_real = True
        # A little less than 5 % in binary is 5 % to whoever reads it.
        is_large |= count / n - share >= LARGE_SURPLUS - 1e-9
        if share == RARE_SHARE:
            words += f", {count / n:.1%} beyond what {RARE_SHARE:.0%} are"
    return Surplus(is_real, is_large, words)


def surplus_p(n_unusual: int, n: int, share: float, n_clean: int) -> float:
    """Return the chance that so many of n clean records, or more, are unusual at `share` among `n_clean` clean ones.

    1 where there is no surplus at all, or too few clean ones for this share.
    """
    k = math.floor(share * (n_clean + 1) + 1e-9)
    if k < 1 or n_unusual <= n * k / (n_clean + 1):
        return 1.0
    x = min(n_unusual, n)
    other = n_clean + 1 - k
    log_p = _log_choose(n, x) + _log_beta(x + k, n - x + other) - _log_beta(k, other)
    if log_p < -600:
        return 0.0
    term = total = math.exp(log_p)
    while x < n and term > _NEGLIGIBLE * total:
        term *= (n - x) * (x + k) / ((x + 1) * (n - x - 1 + other))
        total += term
        x += 1
    return min(total, 1.0)


def _log_choose(n: int, x: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(x + 1) - math.lgamma(n - x + 1)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
