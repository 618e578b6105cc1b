"""What a trainer is to the check: a name, the version that was read, its rules, and a function that applies them.

Knows no trainer. A trainer is one file in `trainers/` that holds a `TRAINER`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from audit.preflight.facts import RowFacts
from audit.preflight.finding import Rule


def accept_file(path: PurePath) -> Iterator[str]:
    """Name no code: the trainer reads files of any name."""
    return iter(())


@dataclass(frozen=True, slots=True)
class Trainer:
    """A trainer.

    Attributes:
        name: as in `--trainer`.
        version: of the code that the rules were read from or run against.
        assumes: the settings that are taken for granted, for people.
        families: of the rows that `find` judges; rows of others get no verdict.
        rules: code → rule.
        find: names the codes that hold for a row.
        find_in_file: names the codes that hold for a whole file because of its name.
    """

    name: str
    version: str
    assumes: str
    families: frozenset[str]
    rules: dict[str, Rule]
    find: Callable[[RowFacts], Iterator[str]]
    find_in_file: Callable[[PurePath], Iterator[str]] = field(default=accept_file)


class RuleBook:
    """Collects the rules of one trainer while its module is read."""

    def __init__(self, trainer: str) -> None:
        self._trainer = trainer
        self.rules: dict[str, Rule] = {}

    def add(self, effect: str, code: str, says: str, cure: str, *, scope: str = "row", place: str = "line") -> str:
        """Add a rule and return its code; a default of the trainer holds for whole files."""
        if code in self.rules:
            raise ValueError(f"{self._trainer} has two rules {code!r}")
        rule = Rule(self._trainer, code, effect, scope, says, cure, place)
        self.rules[code] = replace(rule, place="file") if rule.is_default else rule
        return code
