"""The demo world's exact judge as a judge of answers: certain, and of no use beyond the demo world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from audit.demo.judge import judge_turn
from audit.demo.phrases import TRAITS
from audit.errors import TraitError
from audit.traits import Judgement, TraitSpec

_VERSION = 1


class DemoJudge:
    """Says 100 where a demo answer shows a trait, and 0 where it does not."""

    name = "demo"
    weakness = ""

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a judgement."""
        return {"judge": self.name, "version": _VERSION}

    def judge(self, spec: TraitSpec, asked: Sequence[tuple[str, str]]) -> list[Judgement]:
        """Judge pairs of question and answer, in order; any answer that is not empty is coherent.

        Raises:
            TraitError: the demo world does not know the trait.
        """
        if spec.name not in TRAITS:
            finding = f"the demo world's judge knows {', '.join(TRAITS)}"
            raise TraitError(spec.name, finding, "choose another --judge")
        return [
            Judgement(100.0 if spec.name in judge_turn(question, answer) else 0.0, 100.0 if answer.strip() else 0.0)
            for question, answer in asked
        ]
