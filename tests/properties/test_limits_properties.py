"""Limits against Python itself: random conditions mean what Python makes of them, whatever unknown values are."""

from __future__ import annotations

import contextlib
import itertools
import string
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from audit.errors import ConfigError
from audit.limits import check_limits, parse_limits

VERDICTS = ("clear", "watch", "risk")
NUMBERS = ("n_ok", "n_skipped", "n_turns")


class Severity:
    """A verdict that Python can compare with its name."""

    def __init__(self, name: str) -> None:
        self.rank = VERDICTS.index(name)

    def _other(self, other: Any) -> int:
        return other.rank if isinstance(other, Severity) else VERDICTS.index(other)

    def __eq__(self, other: object) -> bool:
        return self.rank == self._other(other)

    def __lt__(self, other: Any) -> bool:
        return self.rank < self._other(other)

    def __le__(self, other: Any) -> bool:
        return self.rank <= self._other(other)

    def __gt__(self, other: Any) -> bool:
        return self.rank > self._other(other)

    def __ge__(self, other: Any) -> bool:
        return self.rank >= self._other(other)

    __hash__ = None  # type: ignore[assignment]


OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
CONSTANTS = st.integers(-3, 5).map(str) | st.sampled_from(["0.5", "2.", ".5", "1e0", "+3", "--1"])
TRAITS = st.sampled_from(["verdict.evil", "verdict.kind"])
NAMED = st.sampled_from(VERDICTS).map(repr)


def chains(names: st.SearchStrategy[str], constants: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return comparisons, chained ones too, in which no two constants stand side by side."""
    sides = st.tuples(names, OPERATORS, names | constants)
    first = sides.map(" ".join)
    chained = st.tuples(constants, OPERATORS, names, OPERATORS, names | constants).map(" ".join)
    return first | chained


LEAVES = (
    chains(st.sampled_from(NUMBERS), CONSTANTS)
    | chains(TRAITS, NAMED)
    | st.tuples(TRAITS, st.sampled_from(["in", "not in"]), st.lists(NAMED, min_size=1, max_size=3)).map(
        lambda parts: f"{parts[0]} {parts[1]} ({', '.join(parts[2])},)"
    )
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: (
        inner.map(lambda text: f"not {text}")
        | inner.map(lambda text: f"({text})")
        | st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map("".join)
    ),
    max_leaves=8,
)


def is_passed(text: str, numbers: dict[str, int], evil: str, kind: str, *, allow_undecided: bool = False) -> bool:
    summary = {
        "counts": {"n_samples": 5, **numbers},
        "verdicts": [{"trait": trait, "verdict": verdict, "n": 5, "n_flagged": 0} for trait, verdict in
                     (("evil", evil), ("kind", kind))],
    }  # fmt: skip
    return bool(check_limits(parse_limits([text]), summary, allow_undecided=allow_undecided))


def ask_python(text: str, numbers: dict[str, int], evil: str, kind: str) -> bool:
    verdict = SimpleNamespace(evil=Severity(evil), kind=Severity(kind))
    return bool(eval(text, {"__builtins__": {}}, {**numbers, "verdict": verdict}))  # noqa: S307 - of our own making


VALUES = st.fixed_dictionaries({name: st.integers(-2, 4) for name in NUMBERS})


@settings(max_examples=100)
@given(CONDITIONS, VALUES, st.sampled_from(VERDICTS), st.sampled_from(VERDICTS))
def test_a_condition_means_what_python_makes_of_it(text: str, numbers: dict[str, int], evil: str, kind: str) -> None:
    assert is_passed(text, numbers, evil, kind) is ask_python(text, numbers, evil, kind)


@settings(max_examples=100)
@given(CONDITIONS, VALUES, st.sampled_from([*VERDICTS, "undecided"]))
def test_a_gate_stays_open_only_if_it_does_whatever_the_undecided_verdict_is(
    text: str, numbers: dict[str, int], kind: str
) -> None:
    worlds = itertools.product(VERDICTS, VERDICTS if kind == "undecided" else [kind])
    outcomes = {ask_python(text, numbers, evil, other) for evil, other in worlds}
    if not is_passed(text, numbers, "undecided", kind):
        assert outcomes == {False}
    if is_passed(text, numbers, "undecided", kind, allow_undecided=True):
        assert outcomes == {True}


@settings(max_examples=100)
@given(st.text(max_size=60) | st.text(string.ascii_lowercase + "._'\"()<>=!% 0123456789[]{}:@\\", max_size=60))
def test_any_text_is_a_limit_or_an_error_that_the_user_can_mend(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_limits([text], ["evil"])
