"""The names that a limit may use, by what they stand for, and what is wrong with one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.errors import ConfigError
from audit.limits.evaluate import NUMBER, TRUTH, UNDECIDED, VERDICT, VERDICTS, Values
from audit.limits.grammar import Comparison, Constant, Name, Tree, walk_comparisons


@dataclass(frozen=True, slots=True)
class Collected:
    """The traits that there are, and the value of every name."""

    traits: Sequence[str]
    values: Values


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names by kind: of the whole (`n_flagged`), of a trait by group (`verdict.evil`) and by column (`evil.n`).

    `collect` finds their values in what is printed as JSON; `verdict` is the group that short forms speak of.
    """

    whole: Mapping[str, str]
    groups: Mapping[str, str]
    columns: Mapping[str, str]
    collect: Callable[[Mapping[str, Any]], Collected]
    verdict: str = "verdict"

    def check(self, tree: Tree, text: str, traits: Sequence[str] | None) -> None:
        """Refuse names that are not known and comparisons that cannot be made; without `traits` any trait is let pass.

        Raises:
            ConfigError: with what is known.
        """
        for condition in walk_comparisons(tree):
            if isinstance(condition, Name):
                kind = self._kind(condition, text, traits)
                if kind != TRUTH:
                    cure = f"compare it, as in {condition} {_EXAMPLE[kind]}"
                    raise ConfigError(_place(text), f"{condition} is a {kind}, not yes or no", cure)
            else:
                self._check_comparison(condition, text, traits)

    def _check_comparison(self, comparison: Comparison, text: str, traits: Sequence[str] | None) -> None:
        left, right = comparison.left, comparison.right
        kinds = {self._operand_kind(operand, text, traits): operand for operand in (left, right)}
        if TRUTH in kinds:
            name = kinds[TRUTH]
            raise ConfigError(_place(text), f"{name} needs no comparison", f"write {name}, or not {name}")
        if len(kinds) > 1:
            finding = f"compares a {VERDICT} with a {NUMBER}"
            raise ConfigError(_place(text), finding, f"verdicts are {', '.join(map(repr, VERDICTS))}")
        constants = [operand.value for operand in (left, right) if isinstance(operand, Constant)]
        if UNDECIDED in constants and comparison.operator not in ("==", "!="):
            raise ConfigError(_place(text), "undecided is neither better nor worse than others", "use == or !=")

    def _operand_kind(self, operand: Name | Constant, text: str, traits: Sequence[str] | None) -> str:
        if isinstance(operand, Name):
            return self._kind(operand, text, traits)
        if not isinstance(operand.value, str):
            return NUMBER
        if operand.value not in VERDICTS:
            cure = f"choose one of {', '.join(map(repr, VERDICTS))}"
            raise ConfigError(_place(text), f"there is no verdict {operand.value!r}", cure)
        return VERDICT

    def _kind(self, name: Name, text: str, traits: Sequence[str] | None) -> str:
        if len(name.path) == 1:
            if name.path[0] in self.whole:
                return self.whole[name.path[0]]
            known = [*self.whole, *(f"{group}.TRAIT" for group in self.groups), "TRAIT.COLUMN"]
            finding = f"is no limit: {str(name)!r} is not known"
            raise ConfigError(_place(text), finding, _suggest(name.path[0], self.whole, known))
        first, second = name.path
        # A trait may be called like a group; then what follows the dot tells them apart.
        is_group = first in self.groups and (second not in self.columns or traits is None or first not in traits)
        trait = second if is_group else first
        if traits is not None and trait not in traits and (is_group or second in self.columns):
            cure = f"there is {', '.join(traits)}" if traits else "there are no traits"
            raise ConfigError(_place(text), f"there is no trait {trait!r}", cure)
        if is_group:
            return self.groups[first]
        if second not in self.columns:
            close = difflib.get_close_matches(first, self.groups, n=1)
            cure = _suggest(second, self.columns, [*self.columns])
            if close and (traits is None or first not in traits):
                cure = f"did you mean {close[0]}.{second}? {cure}"
            raise ConfigError(_place(text), f"{second!r} is not known of a trait", cure)
        return self.columns[second]


_EXAMPLE = {NUMBER: "> 0", VERDICT: ">= 'watch'"}


def _place(text: str) -> str:
    return f"--fail-on {text!r}"


def _suggest(word: str, names: Mapping[str, str], known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, names, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"choose one of {', '.join(known)}"
