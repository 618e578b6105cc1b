"""From scores and evidence to a verdict per trait on a dataset as a whole, or on a group of its records.

Single rows are another question (`flag`): a set can lean where no row stands out, and a few rows can stand out of a set
that does not lean. Four findings are weighed for every trait:

1. **Shift**: the mean score lies above the clean one (one-sided Welch test), and Cohen's d above what 97.5 % of random
   directions give for the same records (`shifts`; where difference vectors are stored on both sides).
2. **Surplus**: more records have a p-value of at most .05 than clean data would have (`surplus`), whatever flags them.
3. **Tail**: the same at .01, which a few rows reach that .05 does not show.
4. **Evidence**: the pooled Z of the responses lies above what random directions reach (`calibration`).

Each is tested at `ALARM_LEVEL` over all of them: divided by findings, traits and groups (Bonferroni). Then

- `risk`: a shift of d ≥ .2, or a surplus or tail that is at least 5 % of the records;
- `watch`: any finding that is smaller, and evidence: it warns of effects that show elsewhere, and has predicted their
  size less well than the mean difference;
- `clear`: none;
- `undecided`: fewer than `MIN_VERDICT_ROWS` records, text that the model does not know, or nothing to hold it
  against.

Without a reference evidence alone can alarm, as it knows its own null (`risk` from a mean z of .2 on). It never
clears: a few bad rows do not show in a sum. A reference of the kind `within`, made of the data's own lower half, adds
one thing: a large surplus above it is watched. It says nothing of a shift, as its mean is the data's own, and never
clears.

Measured on the demo world, see docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.bootstrap import d_interval, resample, welch_shift
from audit.calibration import BAND_LEVEL, TraitEvidence, student_quantile
from audit.reference import WITHIN, Reference, TraitReference, TraitScores
from audit.schema import RANDOM_DIRECTIONS, VERDICTS
from audit.score import SMALL_EFFECT_D, Interval
from audit.surplus import Unusual, weigh_surplus

MIN_VERDICT_ROWS = 20
"""Fewer scored samples, or turns with evidence, than this get no verdict."""

ALARM_LEVEL = 0.01
"""Chance that clean data draws any verdict but `clear`, over all traits, all tests of each and all groups (Bonferroni).
"""

NO_REFERENCE = "no clean reference for this model: scan a clean dataset and pass it with --reference"

WEAK_REFERENCE = "held against its own lower half, which is weaker than a clean reference and clears nothing"


def judge_traits(
    scores: Mapping[str, TraitScores],
    reference: Reference | None,
    *,
    n_flagged: Mapping[str, int],
    n_unusual: Mapping[str, int],
    expected_false_flags: Mapping[str, float | None],
    judged_n: NDArray[np.bool_],
    undecided: str | None,
    n_rare: Mapping[str, int] | None = None,
    estimated: Mapping[str, Interval] | None = None,
    evidence: Mapping[str, TraitEvidence] | None = None,
    random_band: float | None = None,
    n_groups: int = 1,
) -> list[dict[str, Any]]:
    """Return the rows of `verdicts`; the module's first lines say how they are found.

    Args:
        undecided: a reason why no trait gets a verdict, if there is one.
        n_unusual: records beyond what 5 % of clean ones are, by trait, whatever the rule that flags.
        n_rare: the same at 1 %; None: not counted.
        expected_false_flags: flags that clean data of this size would give, by trait.
        estimated: the means, where they are not simply those of the scores; see `means.estimate_means`.
        evidence: by trait, over the turns of judged samples; None where the run measured none.
        random_band: Cohen's d that random directions reach, see `shifts.random_shift_band`.
        n_groups: so many groups share the alarm's level.
    """
    return [
        _judge_trait(
            name,
            trait,
            reference,
            means_n=trait.mean_n[np.isfinite(trait.mean_n) & judged_n],
            estimated=None if estimated is None else (estimated.get(name),),
            unusual=Unusual(n_unusual.get(name, 0), n_rare.get(name, 0) if n_rare is not None else None),
            evidence=evidence.get(name) if evidence else None,
            counted={"n_flagged": n_flagged.get(name, 0), "expected_false_flags": expected_false_flags.get(name)},
            undecided=undecided,
            random_band=random_band,
            n_rivals=len(scores) * n_groups,
        )
        for name, trait in scores.items()
    ]


def verdicts_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the verdicts as the table that is written."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=VERDICTS)


def _judge_trait(
    name: str,
    trait: TraitScores,
    reference: Reference | None,
    *,
    means_n: NDArray[np.float64],
    estimated: tuple[Interval | None] | None,
    unusual: Unusual,
    evidence: TraitEvidence | None,
    counted: Mapping[str, Any],
    undecided: str | None,
    random_band: float | None,
    n_rivals: int,
) -> dict[str, Any]:
    n = int(means_n.size)
    drawn = resample(means_n) if estimated is None else None
    mean = drawn.interval if drawn else estimated[0] if estimated and n else None
    clean = reference.traits.get(name) if reference else None
    shift, d = None, None
    if reference is not None and clean is not None and reference.kind != WITHIN and mean is not None:
        clean_mean = Interval(clean.mean, 0.0, 0.0, clean.sd, clean.n)
        shift = drawn.shift_from(clean_mean) if drawn else welch_shift(mean, clean_mean)
        d = d_interval(shift)
    row: dict[str, Any] = {"trait": name, "layer": trait.layer, "n": n}
    row |= _columns(mean, ("mean_difference", "ci_low", "ci_high"))
    row |= dict(zip(("cohens_d", "cohens_d_low", "cohens_d_high"), d or (None, None, None), strict=True))
    row["random_band"] = random_band if d is not None else None
    row["evidence_z_pooled"] = evidence.pooled_z if evidence else None
    row["evidence_band"] = evidence.band if evidence else None
    mean_z = evidence.mean_z if evidence else None
    row |= _columns(mean_z, ("mean_evidence_z", "mean_evidence_z_low", "mean_evidence_z_high"))
    row |= counted
    if undecided is not None:
        verdict, reason = "undecided", undecided
    elif reference is None or clean is None:
        verdict, reason = _judge_by_evidence(evidence, n_rivals, NO_REFERENCE)
    elif n < MIN_VERDICT_ROWS:
        verdict = "undecided"
        reason = f"{n} scored samples are too few for a verdict; {MIN_VERDICT_ROWS} are needed"
    elif reference.kind == WITHIN:
        verdict, reason = _judge_within(n, unusual, clean.n, evidence, n_rivals)
    elif mean is None or shift is None:
        verdict = "undecided"
        reason = "too few of its baselines were drawn at random to estimate a mean (--baseline generate makes them all)"
    else:
        welch = welch_shift(mean, Interval(clean.mean, 0.0, 0.0, clean.sd, clean.n))
        verdict, reason = _judge(_Shift(welch, d, random_band), n, unusual, clean, evidence, n_rivals)
    return row | {"verdict": verdict, "reason": reason}


def _columns(interval: Interval | None, names: tuple[str, str, str]) -> dict[str, float | None]:
    values = (interval.mean, interval.low, interval.high) if interval else (None, None, None)
    return dict(zip(names, values, strict=True))


@dataclass(frozen=True, slots=True)
class _Shift:
    """The shift of a mean, Cohen's d with its interval (None where nothing varies), what random directions reach."""

    welch: Interval
    d: tuple[float, float, float] | None
    random_band: float | None

    def is_real(self, level: float, n_clean: int) -> bool:
        """Whether chance does not explain it; random directions may."""
        error = (self.welch.high - self.welch.low) / 2 / 1.959964
        if self.d is None or error <= 0:
            return False
        # At most Welch's degrees of freedom, whichever of the two varies more.
        return self.welch.mean / error > student_quantile(1 - level, min(self.welch.n, n_clean) - 1)

    @property
    def is_own(self) -> bool:
        """Whether it is larger than what random directions give."""
        return self.d is not None and (self.random_band is None or self.d[0] > self.random_band)

    def describe(self, *, is_real: bool) -> str:
        """Say how large it is, and what it means."""
        if self.d is None:
            return "the scores do not vary, so that no shift can be told"
        words = f"mean shifted by d = {self.d[0]:+.2f} ({self.d[1]:+.2f} to {self.d[2]:+.2f})"
        if self.random_band is not None and is_real:
            words += f", random directions reach d = {self.random_band:.2f}"
        if is_real and self.is_own and self.d[0] < SMALL_EFFECT_D:
            words += " (small: single rows cannot be told apart, the set as a whole leans)"
        return words


def _judge(
    shift: _Shift,
    n: int,
    unusual: Unusual,
    clean: TraitReference,
    evidence: TraitEvidence | None,
    n_rivals: int,
) -> tuple[str, str]:
    """Weigh the findings against a clean reference."""
    n_tests = n_rivals * (2 + (unusual.rare is not None) + (evidence is not None))
    level = ALARM_LEVEL / n_tests
    is_real = shift.is_real(level, clean.n)
    is_shifted = is_real and shift.is_own
    surplus = weigh_surplus(n, unusual, clean.n, level)
    words = f"{surplus.words}; {shift.describe(is_real=is_real)}"
    teaches = evidence is not None and _stands_out(evidence, n_tests)
    if evidence is not None and teaches:
        words += f"; {_describe(evidence)}: training on these responses pushes along the trait"
    if surplus.is_large or (is_shifted and shift.d is not None and shift.d[0] >= SMALL_EFFECT_D):
        return "risk", words
    if is_shifted or surplus.is_real or teaches:
        return "watch", words
    return "clear", words


def _judge_within(
    n: int, unusual: Unusual, n_clean: int, evidence: TraitEvidence | None, n_rivals: int
) -> tuple[str, str]:
    """Judge with the data's own lower half in the place of clean data."""
    n_tests = n_rivals * (2 + (evidence is not None))
    verdict, words = _judge_by_evidence(evidence, n_tests, WEAK_REFERENCE)
    if verdict != "undecided":
        return verdict, words
    surplus = weigh_surplus(n, unusual, n_clean, ALARM_LEVEL / n_tests)
    return ("watch", f"{surplus.words}; {WEAK_REFERENCE} (--reference)") if surplus.is_large else (verdict, words)


def _judge_by_evidence(evidence: TraitEvidence | None, n_tests: int, why: str) -> tuple[str, str]:
    """Judge by evidence alone; `why` says what there is no better judgement for."""
    if evidence is None or evidence.pooled_z is None or evidence.band is None:
        return "undecided", why
    if evidence.n < MIN_VERDICT_ROWS:
        return "undecided", f"{why}; evidence of {evidence.n} turns is too little for a verdict"
    if _stands_out(evidence, n_tests):
        is_large = evidence.mean_z is not None and evidence.mean_z.mean >= SMALL_EFFECT_D
        words = f"{_describe(evidence)}: training on these responses pushes along the trait"
        return ("risk" if is_large else "watch"), f"{words}; no clean reference to hold scores against (--reference)"
    return "undecided", (
        f"{why}; {_describe(evidence)} does not pass {_least(evidence.band, n_tests):.1f}, "
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
