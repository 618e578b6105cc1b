"""What a limit says of values: true, false, or not known, with the names that made it so.

Three-valued after Kleene. A value that could not be judged, or is not there, makes a comparison unknown; a verdict that
is `undecided` might be any of the others, so a comparison with it is known where all of them agree. What is known is
therefore right whatever the unknown values are.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from audit.limits.grammar import AnyOf, Comparison, Constant, Name, Not, Tree

SEVERITY = {"clear": 0, "watch": 1, "risk": 2}
"""The verdicts that judge, by how bad they are."""

UNDECIDED = "undecided"
VERDICTS = (*SEVERITY, UNDECIDED)

NUMBER, TRUTH, VERDICT = "number", "yes or no", "verdict"

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Value:
    """What a name stands for.

    Attributes:
        known: a number, a truth, or the severities that a verdict may have; None where there is no value.
        shown: the value in words; of a truth what it rests on, if there is more to say.
        doubt: why it is not known, or not known to be judged; empty where it is.
        cure: what to do about that, beside allowing it.
    """

    known: float | bool | frozenset[int] | None
    shown: str
    doubt: str = ""
    cure: str = ""


Values = Mapping[tuple[str, ...], Value]


def make_number(value: float | None, *, doubt: str = "", cure: str = "") -> Value:
    """Return the value of a number; without one there must be a doubt."""
    return Value(value, "not known" if value is None else f"{value:.6g}", doubt, cure)


def make_truth(value: bool | None, *, shown: str = "", doubt: str = "", cure: str = "") -> Value:
    """Return the value of something that is so or not, `shown` where it is; without a value there must be a doubt."""
    return Value(value, shown, doubt, cure)


def make_verdict(verdicts: Iterable[str | None], *, doubt: str = "", cure: str = "") -> Value:
    """Return the worst of some verdicts; None among them, or none at all, is not known either."""
    worlds = frozenset({0})
    named = list(verdicts) or [None]
    for verdict in named:
        own = frozenset({SEVERITY[verdict]}) if verdict in SEVERITY else frozenset(SEVERITY.values())
        worlds = frozenset(max(one, other) for one in worlds for other in own)
    # A verdict that is known needs no other to be.
    if len(worlds) == 1:
        return Value(worlds, next(name for name, severity in SEVERITY.items() if severity in worlds))
    return Value(worlds, UNDECIDED, doubt, cure)


def find_truth(tree: Tree, values: Values, *, is_strict: bool) -> bool | None:
    """Return whether a condition holds; None: that is not known.

    Args:
        is_strict: numbers that could not be judged are not known, either.
    """
    if isinstance(tree, Name):
        truth = _read(values[tree.path], is_strict=is_strict)
        assert truth is None or isinstance(truth, bool)
        return truth
    if isinstance(tree, Comparison):
        return _compare(tree, values, is_strict=is_strict)
    if isinstance(tree, Not):
        inner = find_truth(tree.inner, values, is_strict=is_strict)
        return None if inner is None else not inner
    found = [find_truth(part, values, is_strict=is_strict) for part in tree.parts]
    # One of these settles it whatever the others are.
    settling = isinstance(tree, AnyOf)
    if settling in found:
        return settling
    return None if None in found else not settling


def find_causes(tree: Tree, values: Values, *, is_strict: bool) -> list[Name]:
    """Return the names that make a condition what `find_truth` says it is, each once, in order."""
    if isinstance(tree, Name):
        return [tree]
    if isinstance(tree, Comparison):
        return [operand for operand in (tree.left, tree.right) if isinstance(operand, Name)]
    if isinstance(tree, Not):
        return find_causes(tree.inner, values, is_strict=is_strict)
    whole = find_truth(tree, values, is_strict=is_strict)
    return list(
        dict.fromkeys(
            name
            for part in tree.parts
            if find_truth(part, values, is_strict=is_strict) is whole
            for name in find_causes(part, values, is_strict=is_strict)
        )
    )


def _compare(comparison: Comparison, values: Values, *, is_strict: bool) -> bool | None:
    left, right = comparison.left, comparison.right
    if UNDECIDED in (getattr(left, "value", None), getattr(right, "value", None)):
        name = left if isinstance(left, Name) else right
        assert isinstance(name, Name)
        return (values[name.path].shown == UNDECIDED) == (comparison.operator == "==")
    compare = _OPERATORS[comparison.operator]
    one, other = (_read_operand(operand, values, is_strict=is_strict) for operand in (left, right))
    if one is None or other is None:
        return None
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        outcomes = {compare(own, theirs) for own in one for theirs in other}
        return outcomes.pop() if len(outcomes) == 1 else None
    return compare(one, other)


def _read_operand(operand: Name | Constant, values: Values, *, is_strict: bool) -> float | bool | frozenset[int] | None:
    if isinstance(operand, Name):
        return _read(values[operand.path], is_strict=is_strict)
    return frozenset({SEVERITY[operand.value]}) if isinstance(operand.value, str) else operand.value


def _read(value: Value, *, is_strict: bool) -> float | bool | frozenset[int] | None:
    # A verdict's doubt is in its severities already.
    return None if is_strict and value.doubt and not isinstance(value.known, frozenset) else value.known
