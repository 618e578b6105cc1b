"""One number for one answer: what is asked, and what came of it, yielded as it comes.

Unlike `Judge.judge`, which extraction asks, nothing is said of coherence: an answer of a dataset is what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from audit.traits import Judge, TraitSpec


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer to be rated; `key` is what its number is stored under."""

    key: bytes
    spec: TraitSpec
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Rated:
    """What a judge said: a number from 0 to 100, or why there is none; and the tokens it took, where they are known."""

    asked: Asked
    number: float | None
    reason: str | None = None
    n_tokens: int | None = None


class Rater(Protocol):
    """A judge that rates answers one by one; `identity` is all that decides a number beside the question."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def identity(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def weakness(self) -> str: ...  # noqa: D102

    def rate_each(self, asked: Iterable[Asked]) -> Iterator[Rated]:
        """Yield what is asked with what came of it, in any order.

        Raises:
            AuditError: the judge cannot be asked at all; what was yielded is good.
        """
        ...


class PlainRater:
    """A judge of pairs, asked one at a time: for judges that answer at once."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.name, self.identity, self.weakness = judge.name, judge.identity, judge.weakness

    def rate_each(self, asked: Iterable[Asked]) -> Iterator[Rated]:
        """Yield what is asked with the judge's number, in order."""
        for request in asked:
            number = self._judge.judge(request.spec, [(request.question, request.answer)])[0].trait
            yield Rated(request, number, None if number is not None else "the judge gave no number")
