"""What a judge says of an answer, and what every judge can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from audit.traits.spec import TraitSpec


@dataclass(frozen=True, slots=True)
class Judgement:
    """How much an answer shows a trait, and how coherent it is: 0 to 100 each; None where the judge's word is void."""

    trait: float | None
    coherence: float | None


class Judge(Protocol):
    """Someone who judges answers.

    Attributes:
        name: for people, such as `server`, `self` or `demo`.
        identity: everything that decides a judgement beside question, answer and specification, as JSON values.
        weakness: what a reader of the numbers should know, or nothing.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def identity(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def weakness(self) -> str: ...  # noqa: D102

    def judge(self, spec: TraitSpec, asked: Sequence[tuple[str, str]]) -> list[Judgement]:
        """Judge pairs of question and answer, in order.

        Raises:
            AuditError: the judge cannot be asked at all.
        """
        ...
