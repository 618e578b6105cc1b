"""How much a vector moves a model: trait rates of answers that are made while a multiple of it is added.

Source: arXiv 2507.21509, section 3.2 and appendix B (steering strength chooses the layer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.extract.asking import Asker
from audit.extract.rollouts import Rollout
from audit.model.generate import Additions
from audit.traits import Judge, Judgement, TraitSpec

SHOWN = 50.0
"""A judged trait from here on is shown; a coherence from here on is enough."""


@dataclass(frozen=True, slots=True)
class SteeringPoint:
    """Answers under one multiple of a vector at one layer.

    Attributes:
        alpha: multiple of the vector as measured.
        rate: share of the judged answers that show the trait; NaN where none is judged.
        score, coherence: means of the judge's numbers, 0 to 100.
        n: answers; `n_void` of them have no judgement.
    """

    layer: int
    alpha: float
    rate: float
    score: float
    coherence: float
    n: int
    n_void: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields; None in place of NaN."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


def measure_steering(
    asker: Asker,
    judge: Judge,
    spec: TraitSpec,
    vector_ld: npt.NDArray[np.float32],
    points: Sequence[tuple[int, float]],
    rollouts: Sequence[Rollout],
) -> list[SteeringPoint]:
    """Answer rollouts under every (layer, multiple) of a vector, and judge what comes out."""
    # All points at once: every row of a batch is steered by its own vector.
    asked = [rollout for _ in points for rollout in rollouts]
    additions: list[Additions] = []
    for layer, alpha in points:
        own: Additions = {layer: (alpha * vector_ld[layer]).astype(np.float32)} if alpha else {}
        additions += [own] * len(rollouts)
    answers = asker.answer(f"{spec.name}: steering", asked, additions)
    judged = asker.judge(f"{spec.name}: judging what was steered", judge, spec, asked, answers, additions)
    n = len(rollouts)
    return [_summarise(*point, judged[place * n : (place + 1) * n]) for place, point in enumerate(points)]


def _summarise(layer: int, alpha: float, judged: Sequence[Judgement]) -> SteeringPoint:
    traits = np.array([own.trait for own in judged if own.trait is not None])
    coherences = np.array([own.coherence for own in judged if own.coherence is not None])
    return SteeringPoint(
        layer=layer,
        alpha=alpha,
        rate=float((traits >= SHOWN).mean()) if traits.size else float("nan"),
        score=float(traits.mean()) if traits.size else float("nan"),
        coherence=float(coherences.mean()) if coherences.size else float("nan"),
        n=len(judged),
        n_void=len(judged) - traits.size,
    )


def pick_steered_layer(points: Sequence[SteeringPoint], *, least_coherence: float = SHOWN) -> int | None:
    """Return the layer whose steering raises the trait most, as published; None where no point is coherent enough."""
    usable = [point for point in points if point.score == point.score and not point.coherence < least_coherence]
    return max(usable, key=lambda point: (point.score, point.layer)).layer if usable else None
