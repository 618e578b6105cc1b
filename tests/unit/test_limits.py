"""`--fail-on`: which limits a summary passes, and which expressions are none."""

from __future__ import annotations

from typing import Any

import pytest

from audit.errors import ConfigError
from audit.limits import check_limits, parse_limits


def summary(evil: str = "clear", sycophantic: str = "clear", **counts: Any) -> dict[str, Any]:
    row = {"n": 200, "n_flagged": 20, "mean_difference": 0.41, "ci_low": 0.3, "ci_high": 0.5, "cohens_d": 0.8}
    row |= {"evidence_z_pooled": 6.2}
    return {
        "counts": {"n_samples": 1000, "n_ok": 990, "n_skipped": 10, "n_flagged": 50, "flagged_share": 0.05, **counts},
        "verdicts": [
            {"trait": "evil", "verdict": evil, **row},
            {"trait": "sycophantic", "verdict": sycophantic, **row, "mean_difference": -0.2, "cohens_d": None},
        ],
    }


def is_passed(expression: str, values: dict[str, Any], *, allow_undecided: bool = False) -> bool:
    return bool(check_limits(parse_limits([expression]), values, allow_undecided=allow_undecided))


@pytest.mark.parametrize(
    ("expression", "evil", "expected"),
    [
        ("watch", "clear", False),
        ("watch", "watch", True),
        ("watch", "risk", True),
        ("risk", "watch", False),
        ("risk", "risk", True),
        ("evil=watch", "watch", True),
        ("evil = risk", "watch", False),
        ("sycophantic=watch", "risk", False),
    ],
)
def test_a_verdict_is_passed_by_itself_and_by_worse(expression: str, evil: str, expected: bool) -> None:
    assert is_passed(expression, summary(evil)) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("flagged>0.04", True),
        ("flagged>0.05", False),
        ("flagged>=5%", True),
        ("flagged > 4.9 %", True),
        ("n_flagged>49", True),
        ("n_flagged>=1e2", False),
        ("skipped>1%", False),
        ("skipped>=.01", True),
        ("n_skipped<11", True),
        ("evil.mean_difference>0.4", True),
        ("evil.mean_difference>0.41", False),
        ("sycophantic.mean_difference<-0.1", True),
        ("evil.flagged>=0.1", True),
        ("evil.n_flagged>20", False),
        ("evil.ci_low>.2", True),
        ("sycophantic.cohens_d>0", False),
        ("evil.evidence_z_pooled>6", True),
        ("evil.evidence_z_pooled>7", False),
    ],
)
def test_quantities_are_compared(expression: str, expected: bool) -> None:
    assert is_passed(expression, summary()) is expected


def test_evidence_that_was_not_measured_counts_as_passed_unless_allowed() -> None:
    assert is_passed("evil.mean_evidence_z>9", summary())
    assert not is_passed("evil.mean_evidence_z>9", summary(), allow_undecided=True)


@pytest.mark.parametrize("expression", ["risk", "evil=risk", "flagged>99%", "n_flagged>9999", "evil.ci_low>9"])
def test_what_could_not_be_judged_counts_as_passed_unless_allowed(expression: str) -> None:
    values = summary(evil="undecided")
    assert is_passed(expression, values)
    assert not is_passed(expression, values, allow_undecided=True)


def test_an_undecided_trait_leaves_limits_on_other_traits_and_on_reading_alone() -> None:
    values = summary(evil="undecided")
    assert not is_passed("sycophantic=risk", values)
    assert not is_passed("skipped>50%", values)


def test_a_run_without_any_verdict_counts_as_undecided() -> None:
    values = {**summary(), "verdicts": []}
    assert is_passed("risk", values)
    assert not is_passed("risk", values, allow_undecided=True)


def test_missing_numbers_pass_no_limit() -> None:
    assert not is_passed("flagged>0", summary(flagged_share=None))
    assert not is_passed("skipped>0", summary(n_samples=0))


def test_any_of_several_limits_suffices_and_each_is_explained() -> None:
    limits = parse_limits(["risk", "flagged>1%", "evil=watch"])
    sentences = check_limits(limits, summary(evil="watch"))
    assert sentences == ["flagged>1%: it is 0.05", "evil=watch: evil is watch"]


@pytest.mark.parametrize(
    "expression",
    ["", "bad", "clear", "undecided", "evil=clear", "flagged=5", "flagged>", "flagged>x", "flaged>1", "evil.z>1",
     "mean_difference>1", "risk or watch", "flagged>1; rm", "evil.mean_difference>nan", "__import__('os')"],
)  # fmt: skip
def test_a_wrong_expression_is_refused_before_anything_runs(expression: str) -> None:
    with pytest.raises(ConfigError, match="--fail-on"):
        parse_limits([expression])


def test_an_unknown_trait_is_refused_as_soon_as_the_traits_are_known() -> None:
    with pytest.raises(ConfigError, match="no trait 'evli'"):
        parse_limits(["evli=risk"], ["evil"])
    with pytest.raises(ConfigError, match="no trait 'evli'"):
        check_limits(parse_limits(["evli.flagged>1%"]), summary())
