"""Scores, rivals and flags of labelled records as figures: pure functions on arrays, a missing score is NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from audit.retrieval import Bools, Estimate, Floats, average_precision, estimate_auc, precision_at, wilson_share
from audit.validation.values import FlagQuality, ScoreQuality


def finite_values(column: pa.Array) -> Floats:
    """Return a column of numbers with NaN for what is missing or not finite."""
    values = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def explain_no_auc(n: int, n_positive: int, n_labelled: int) -> str | None:
    """Return why nothing can be ranked; None where it can."""
    if n == 0:
        return f"no AUC: none of {n_labelled:,} labelled records has a score"
    if n_positive == 0:
        return f"no AUC: none of {n:,} labelled records shows it"
    return f"no AUC: all of {n:,} labelled records show it" if n_positive == n else None


def measure_score(
    name: str,
    values_n: Floats,
    positive_n: Bools,
    k: Sequence[int],
    *,
    is_rival: bool = False,
    is_reversed: bool = False,
) -> ScoreQuality:
    """Measure one number of [n] records, NaN where there is none."""
    known = np.isfinite(values_n)
    values, positive = values_n[known], positive_n[known]
    auc = estimate_auc(values, positive)
    return ScoreQuality(
        name=name,
        is_rival=is_rival,
        n=int(known.sum()),
        auc=auc,
        is_reversed=is_reversed,
        average_precision=average_precision(values, positive) if auc is not None else None,
        precision_at={number: precision_at(values, positive, number) for number in k},
        reason=None if auc is not None else explain_no_auc(values.size, int(positive.sum()), positive_n.size),
    )


def measure_rival(name: str, values_n: Floats, positive_n: Bools, k: Sequence[int]) -> ScoreQuality:
    """Measure a rival in the direction in which it tells more: a trait that makes answers short shows as well."""
    known = np.isfinite(values_n)
    auc = estimate_auc(values_n[known], positive_n[known])
    is_reversed = auc is not None and auc.value < 0.5
    return measure_score(
        name, -values_n if is_reversed else values_n, positive_n, k, is_rival=True, is_reversed=is_reversed
    )


def measure_random(name: str, values_nd: Floats, positive_n: Bools) -> ScoreQuality:
    """Return the 95th percentile of max(a, 1 − a) over random directions, with the direction that is nearest to it."""
    known = np.isfinite(values_nd).all(axis=1)
    values, positive = values_nd[known], positive_n[known]
    own_name = f"{name}, 95 %"
    found = [estimate_auc(values[:, r], positive) for r in range(values.shape[1])]
    areas = [max(auc.value, 1 - auc.value) for auc in found if auc is not None]
    if not areas:
        reason = explain_no_auc(values.shape[0], int(positive.sum()), positive_n.size)
        return ScoreQuality(own_name, True, int(known.sum()), reason=reason)
    return ScoreQuality(own_name, True, int(known.sum()), auc=Estimate(float(np.quantile(areas, 0.95)), None, None))


def count_flags(flagged_n: Bools, positive_n: Bools, n_flagged: int, n_covered: int) -> FlagQuality:
    """Count flags of labelled records; `n_flagged` are all of the run, `n_covered` of them have a label."""
    n, hits, n_positive = int(flagged_n.sum()), int((flagged_n & positive_n).sum()), int(positive_n.sum())
    return FlagQuality(
        n_flagged=n_flagged,
        precision=wilson_share(hits, n),
        recall=wilson_share(hits, n_positive),
        false_share=wilson_share(n - hits, n),
        unlabelled=wilson_share(n_flagged - n_covered, n_flagged),
    )


def join_flags(flags: Sequence[FlagQuality]) -> FlagQuality | None:
    """Return the flags of several traits as one set, a flag per record and trait."""
    if not flags:
        return None
    names = ("precision", "recall", "false_share", "unlabelled")
    shares = {name: [getattr(own, name) for own in flags] for name in names}
    joined = {
        name: wilson_share(sum(share.hits for share in own), sum(share.n for share in own))
        for name, own in shares.items()
    }
    return FlagQuality(n_flagged=sum(own.n_flagged for own in flags), **joined)
