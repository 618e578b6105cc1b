"""Which pairs of answers a vector is made of, and how many fell to each filter.

Source: arXiv 2507.21509, appendix A: trait at least 50 under the positive prompt, below 50 under the negative one, both
coherent at 50 or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from audit.traits import Judgement

LEAST_SCORE = 50.0


@dataclass(frozen=True, slots=True)
class Yield:
    """Pairs of a positive and a negative answer, and how many pass each filter by itself.

    Attributes:
        n_answered: both answers have text.
        n_judged: neither judgement is void.
        n_shown: the positive answer shows the trait.
        n_absent: the negative one does not.
        n_coherent: both are coherent.
        n_kept: pass all of them.
    """

    n_pairs: int
    n_answered: int
    n_judged: int
    n_shown: int
    n_absent: int
    n_coherent: int
    n_kept: int

    def to_json(self) -> dict[str, int]:
        """Return the fields as a vector file keeps them."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.n_kept} of {self.n_pairs} pairs kept (answered {self.n_answered}, judged {self.n_judged}, "
            f"trait shown {self.n_shown}, absent under the negative prompt {self.n_absent}, coherent {self.n_coherent})"
        )


def filter_pairs(
    answered_i: npt.NDArray[np.bool_],
    positive: Sequence[Judgement] | None,
    negative: Sequence[Judgement] | None,
) -> tuple[npt.NDArray[np.bool_], Yield]:
    """Return which pairs are kept.

    Args:
        answered_i: both answers of a pair have text.
        positive, negative: what the judge says of either side; None without a judge: what is answered is kept.
    """
    n = len(answered_i)
    if positive is None or negative is None:
        n_kept = int(answered_i.sum())
        return answered_i.copy(), Yield(n, n_kept, n_kept, n_kept, n_kept, n_kept, n_kept)
    # What is void compares as false with everything.
    trait_2i = np.array([[_number(own.trait) for own in side] for side in (positive, negative)]).reshape(2, n)
    coherence_2i = np.array([[_number(own.coherence) for own in side] for side in (positive, negative)]).reshape(2, n)
    judged_i = np.isfinite(trait_2i).all(axis=0) & np.isfinite(coherence_2i).all(axis=0)
    shown_i = trait_2i[0] >= LEAST_SCORE
    absent_i = trait_2i[1] < LEAST_SCORE
    coherent_i = (coherence_2i >= LEAST_SCORE).all(axis=0)
    kept_i = answered_i & judged_i & shown_i & absent_i & coherent_i
    counts = (answered_i, judged_i, shown_i, absent_i, coherent_i, kept_i)
    return kept_i, Yield(n, *(int(own.sum()) for own in counts))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
