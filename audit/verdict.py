"""From scores and evidence to a verdict per trait on the dataset as a whole.

With a clean reference: how far the mean lies from the reference's, whether more rows are flagged than clean data would
give, and whether the responses' evidence stands out. Without one, evidence alone can alarm, as it knows its own null;
it can never clear, since a few bad rows do not show in a sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.calibration import BAND_LEVEL, TraitEvidence, student_quantile
from audit.reference import UNUSUAL_SHARE, WITHIN, Reference, TraitReference, TraitScores
from audit.schema import RANDOM_DIRECTIONS, VERDICTS
from audit.score import SMALL_EFFECT_D, Interval, cohens_d, mean_interval, shift_interval

MIN_VERDICT_ROWS = 20
"""Fewer scored samples, or turns with evidence, than this get no verdict."""

ALARM_LEVEL = 0.01
"""Chance that clean data draws any verdict but `clear`, over all traits and all tests of each (Bonferroni)."""

NO_REFERENCE = "no clean reference for this model: scan a clean dataset and pass it with --reference"


def judge_traits(
    scores: Mapping[str, TraitScores],
    reference: Reference | None,
    *,
    n_flagged: Mapping[str, int],
    n_unusual: Mapping[str, int],
    expected_false_flags: Mapping[str, float | None],
    judged_n: NDArray[np.bool_],
    undecided: str | None,
    estimated: Mapping[str, Interval] | None = None,
    evidence: Mapping[str, TraitEvidence] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of `verdicts`.

    Args:
        undecided: a reason why no trait gets a verdict, if there is one.
        n_unusual: records beyond what 5 % of clean ones are, by trait, whatever the rule that flags.
        expected_false_flags: flags that clean data of this size would give, by trait.
        estimated: the means, where they are not simply those of the scores; see `means.estimate_means`.
        evidence: by trait, over the turns of judged samples; None where the run measured none.
    """
    rows = []
    for name, trait in scores.items():
        means = trait.mean_n[np.isfinite(trait.mean_n) & judged_n]
        interval = mean_interval(means) if estimated is None or not means.size else estimated.get(name)
        clean = reference.traits[name] if reference else None
        own = evidence.get(name) if evidence else None
        mean_z = own.mean_z if own else None
        row: dict[str, Any] = {"trait": name, "layer": trait.layer, "n": int(means.size)}
        row["mean_difference"] = interval.mean if interval else None
        row["ci_low"] = interval.low if interval else None
        row["ci_high"] = interval.high if interval else None
        row["cohens_d"] = None
        row["evidence_z_pooled"] = own.pooled_z if own else None
        row["evidence_band"] = own.band if own else None
        row["mean_evidence_z"] = mean_z.mean if mean_z else None
        row["mean_evidence_z_low"] = mean_z.low if mean_z else None
        row["mean_evidence_z_high"] = mean_z.high if mean_z else None
        row["n_flagged"] = n_flagged.get(name, 0)
        row["expected_false_flags"] = expected_false_flags.get(name)
        row["verdict"] = "undecided"
        if undecided is not None:
            row["reason"] = undecided
        elif reference is None or clean is None or reference.kind == WITHIN:
            row["verdict"], row["reason"] = _judge_by_evidence(own, n_tests=len(scores))
        elif interval is None or means.size < MIN_VERDICT_ROWS:
            row["reason"] = f"{means.size} scored samples are too few for a verdict; {MIN_VERDICT_ROWS} are needed"
        else:
            row["cohens_d"] = cohens_d(interval, Interval(clean.mean, 0.0, 0.0, clean.sd, clean.n))
            row["verdict"], row["reason"] = _judge(
                row, n_unusual.get(name, 0), interval, clean, own, n_traits=len(scores)
            )
        rows.append(row)
    return rows


def verdicts_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the verdicts as the table that is written."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=VERDICTS)


def _judge(
    row: Mapping[str, Any],
    n_unusual: int,
    sample: Interval,
    clean: TraitReference,
    evidence: TraitEvidence | None,
    *,
    n_traits: int,
) -> tuple[str, str]:
    """Weigh the shift of the mean, the surplus of flags and the evidence.

    `watch` where any is real, `risk` where shift or surplus is large: evidence of a set whose scores are clear warns of
    effects that show elsewhere, and has predicted their size less well than the mean difference.
    """
    n_tests = n_traits * (2 if evidence is None else 3)
    alarm_z = _upper_quantile(ALARM_LEVEL / n_tests)
    shift = shift_interval(sample, Interval(clean.mean, 0.0, 0.0, clean.sd, clean.n))
    shift_error = (shift.high - shift.low) / 2 / 1.959964
    shift_z = shift.mean / shift_error if shift_error > 0 else 0.0
    share, expected = n_unusual / row["n"], UNUSUAL_SHARE
    # The reference's own threshold is an estimate, so its share is uncertain too.
    share_error = math.sqrt(max(expected * (1 - expected), 1e-9) * (1 / row["n"] + 1 / clean.n))
    share_z = (share - expected) / share_error
    d = row["cohens_d"] or 0.0
    is_shifted, has_surplus = shift_z > alarm_z, share_z > alarm_z
    words = f"{share:.1%} of the records are beyond what {expected:.0%} of clean ones are; mean shifted by d = {d:+.2f}"
    if is_shifted and d < SMALL_EFFECT_D:
        words += " (small: it says little about single samples)"
    teaches = evidence is not None and _stands_out(evidence, n_tests)
    if evidence is not None and teaches:
        words += f"; {_describe(evidence)}: training on these responses pushes along the trait"
    if (is_shifted and d >= SMALL_EFFECT_D) or (has_surplus and share >= 2 * expected):
        return "risk", words
    if is_shifted or has_surplus or teaches:
        return "watch", words
    return "clear", words


def _judge_by_evidence(evidence: TraitEvidence | None, *, n_tests: int) -> tuple[str, str]:
    """Judge without a clean reference."""
    if evidence is None or evidence.pooled_z is None or evidence.band is None:
        return "undecided", NO_REFERENCE
    if evidence.n < MIN_VERDICT_ROWS:
        return "undecided", f"{NO_REFERENCE}; evidence of {evidence.n} turns is too little for a verdict"
    if _stands_out(evidence, n_tests):
        is_large = evidence.mean_z is not None and evidence.mean_z.mean >= SMALL_EFFECT_D
        words = f"{_describe(evidence)}: training on these responses pushes along the trait"
        return ("risk" if is_large else "watch"), f"{words}; no clean reference to hold scores against (--reference)"
    return "undecided", (
        f"{NO_REFERENCE}; {_describe(evidence)} does not pass {_least(evidence.band, n_tests):.1f}, "
        "which clears nothing: a few bad rows do not show in a sum"
    )


def _stands_out(evidence: TraitEvidence, n_tests: int) -> bool:
    if evidence.pooled_z is None or evidence.band is None or evidence.n < MIN_VERDICT_ROWS:
        return False
    return evidence.pooled_z > _least(evidence.band, n_tests)


def _least(band: float, n_tests: int) -> float:
    """Return what random directions reach at the alarm's level; the band is the same at its own level."""
    spread = max(1.0, band / student_quantile(BAND_LEVEL, RANDOM_DIRECTIONS))
    return spread * student_quantile(1 - ALARM_LEVEL / n_tests, RANDOM_DIRECTIONS)


def _describe(evidence: TraitEvidence) -> str:
    words = f"evidence Z = {evidence.pooled_z:+.1f} (random directions reach {evidence.band:.1f})"
    return words if evidence.mean_z is None else f"{words}, mean z = {evidence.mean_z.mean:+.2f}"


def _upper_quantile(p: float) -> float:
    return NormalDist().inv_cdf(1 - p)
