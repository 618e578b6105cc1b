"""Limits read before any work is done, and held against values afterwards: a sentence for each that is passed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.limits.evaluate import Value, Values, find_causes, find_truth
from audit.limits.grammar import AnyOf, Comparison, Name, Tree, map_comparisons, read_tree
from audit.limits.run import RUN
from audit.limits.short import read_short
from audit.limits.vocabulary import Vocabulary

_ALLOWED = "--allow-undecided lets it through"


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit as it was written, and what it says."""

    text: str
    tree: Tree
    vocabulary: Vocabulary
    is_short: bool


def parse_limits(
    texts: Iterable[str], traits: Sequence[str] | None = None, *, vocabulary: Vocabulary = RUN
) -> tuple[Limit, ...]:
    """Read `--fail-on` expressions; with `traits`, a limit on another trait is refused.

    Raises:
        ConfigError: an expression is not understood, or names something that is not known.
    """
    limits = []
    for text in texts:
        short = read_short(text, vocabulary.verdict)
        limit = Limit(text.strip(), short or read_tree(text), vocabulary, short is not None)
        vocabulary.check(limit.tree, limit.text, traits)
        limits.append(limit)
    return tuple(limits)


def check_limits(limits: Sequence[Limit], found: Mapping[str, Any], *, allow_undecided: bool = False) -> list[str]:
    """Return a sentence for every limit that is passed; none means that the gate stays open.

    What could not be judged, or is not known, counts as passed unless `allow_undecided`; then only what is known to
    pass does.

    Args:
        found: what the limits' vocabulary speaks of: the summary of a run, or a comparison of two.

    Raises:
        ConfigError: a limit names a trait that there is not.
    """
    passed = []
    for limit in limits:
        collected = limit.vocabulary.collect(found)
        limit.vocabulary.check(limit.tree, limit.text, collected.traits)
        tree, values = _spread(limit, collected.traits), collected.values
        if find_truth(tree, values, is_strict=False):
            passed.append(f"{limit.text}: {_say_values(limit, tree, values)}")
        elif not allow_undecided and find_truth(tree, values, is_strict=True) is not False:
            passed.append(f"{limit.text}: {_say_doubts(tree, values)}")
    return passed


def _spread(limit: Limit, traits: Sequence[str]) -> Tree:
    """Write `risk` as one comparison for each trait, so that all that reach it are named."""
    if not limit.is_short or not traits:
        return limit.tree
    verdict = Name((limit.vocabulary.verdict,))

    def spread(condition: Name | Comparison) -> Tree:
        if not isinstance(condition, Comparison) or condition.left != verdict:
            return condition
        named = (Name((*verdict.path, trait)) for trait in traits)
        return AnyOf(tuple(Comparison(name, condition.operator, condition.right) for name in named))

    return map_comparisons(limit.tree, spread)


def _say_values(limit: Limit, tree: Tree, values: Values) -> str:
    causes = find_causes(tree, values, is_strict=False)
    if limit.is_short:
        return "; ".join(f"{name.path[-1]} is {values[name.path].shown}" for name in causes)
    if isinstance(tree, Name):
        return values[tree.path].shown or "it is so"
    if isinstance(tree, Comparison) and len(causes) == 1:
        return f"it is {values[causes[0].path].shown}"
    return ", ".join(_say_value(name, values[name.path]) for name in causes)


def _say_value(name: Name, value: Value) -> str:
    if not isinstance(value.known, bool):
        return f"{name} is {value.shown}"
    if not value.known:
        return f"not {name}"
    return f"{name} ({value.shown})" if value.shown else str(name)


def _say_doubts(tree: Tree, values: Values) -> str:
    doubtful = [values[name.path] for name in find_causes(tree, values, is_strict=True) if values[name.path].doubt]
    doubts = "; ".join(dict.fromkeys(value.doubt for value in doubtful))
    cures = list(dict.fromkeys(value.cure for value in doubtful if value.cure))
    return f"{doubts}, which counts as passed ({', or '.join([*cures, _ALLOWED])})"
