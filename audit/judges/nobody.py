"""No judge: nothing is said of any answer, so nothing can be filtered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from audit.traits import Judgement, TraitSpec


class NoJudge:
    """Says nothing; who asks keeps every answer."""

    name = "none"
    weakness = "nobody judged the answers: those that do not show the trait are in the vector too"

    @property
    def identity(self) -> dict[str, Any]:
        """Nothing decides."""
        return {"judge": self.name}

    def judge(self, spec: TraitSpec, asked: Sequence[tuple[str, str]]) -> list[Judgement]:
        """Return a judgement without numbers for every pair."""
        return [Judgement(trait=None, coherence=None)] * len(asked)
