"""`--fail-on`: which limits a summary passes, and which expressions are none."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from audit.errors import ConfigError
from audit.limits import COMPARISON, RUN, check_limits, parse_limits


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
def test_a_short_verdict_is_passed_by_itself_and_by_worse(expression: str, evil: str, expected: bool) -> None:
    assert is_passed(expression, summary(evil)) is expected


@pytest.mark.parametrize(
    ("expression", "evil", "expected"),
    [
        ("verdict.evil == 'watch'", "risk", False),
        ("verdict.evil >= 'watch'", "risk", True),
        ("verdict.evil > 'watch'", "watch", False),
        ("verdict.evil < 'watch'", "clear", True),
        ("'clear' < verdict.evil <= 'watch'", "watch", True),
        ("'clear' < verdict.evil <= 'watch'", "risk", False),
        ("verdict.evil in ('watch', 'risk')", "watch", True),
        ("verdict.evil not in ['watch', 'risk']", "watch", False),
        ("evil.verdict != 'clear'", "watch", True),
        ("verdict >= 'risk'", "risk", True),
        ("verdict == 'clear'", "watch", False),
        ("verdict.evil > verdict.sycophantic", "watch", True),
        ('verdict.evil == "risk"', "risk", True),
    ],
)
def test_verdicts_are_compared_by_severity(expression: str, evil: str, expected: bool) -> None:
    assert is_passed(expression, summary(evil)) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("flagged>0.04", True),
        ("flagged>0.05", False),
        ("flagged>=5%", True),
        ("flagged > 4.9 %", True),
        ("flagged_share > 0.049", True),
        ("n_flagged>49", True),
        ("n_flagged>=1e2", False),
        ("skipped>1%", False),
        ("skipped>=.01", True),
        ("skipped_share >= 1%", True),
        ("n_skipped<11", True),
        ("evil.mean_difference>0.4", True),
        ("evil.mean_difference>0.41", False),
        ("sycophantic.mean_difference<-0.1", True),
        ("evil.flagged>=0.1", True),
        ("evil.flagged_share>=0.1", True),
        ("evil.n_flagged>20", False),
        ("evil.ci_low>.2", True),
        ("evil.evidence_z_pooled>6", True),
        ("evil.evidence_z_pooled>7", False),
        ("0.04 < flagged < 0.06", True),
        ("5% == flagged", True),
        ("n_flagged > n_skipped", True),
        ("(n_flagged > 60 or n_skipped > 5) and not flagged > 10%", True),
        ("n_flagged > 60 or n_skipped > 5 and flagged > 10%", False),
        ("not (n_flagged > 60 or evil.n > 1000)", True),
    ],
)
def test_quantities_are_compared(expression: str, expected: bool) -> None:
    assert is_passed(expression, summary()) is expected


@pytest.mark.parametrize(
    "expression",
    ["evil.mean_evidence_z>9", "sycophantic.cohens_d>0", "n_near_flagged>5", "not n_near_flagged>5", "flagged>0",
     "skipped>0", "sycophantic.cohens_d>0 or n_skipped>99"],
)  # fmt: skip
def test_what_is_not_known_counts_as_passed_unless_allowed(expression: str) -> None:
    values = summary(flagged_share=None, n_samples=0)
    assert is_passed(expression, values)
    assert not is_passed(expression, values, allow_undecided=True)


@pytest.mark.parametrize(
    "expression",
    ["risk", "evil=risk", "flagged>99%", "n_flagged>9999", "evil.ci_low>9", "verdict.evil == 'risk'",
     "verdict.evil != 'risk'", "not verdict.evil <= 'watch'", "verdict == 'risk'", "verdict.evil > verdict.sycophantic",
     "verdict.evil == 'risk' and n_skipped == 10"],
)  # fmt: skip
def test_what_could_not_be_judged_counts_as_passed_unless_allowed(expression: str) -> None:
    values = summary(evil="undecided")
    assert is_passed(expression, values)
    assert not is_passed(expression, values, allow_undecided=True)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("verdict.evil == 'undecided'", True),
        ("verdict.evil != 'undecided'", False),
        ("verdict.sycophantic == 'undecided'", False),
        ("verdict.evil >= 'clear'", True),
        ("verdict.evil > 'risk'", False),
        ("verdict >= 'watch'", True),
        ("verdict.evil == 'risk' and n_skipped > 10", False),
        ("verdict.evil == 'risk' or n_skipped == 10", True),
    ],
)
def test_what_holds_whatever_an_undecided_verdict_may_be_is_known(expression: str, expected: bool) -> None:
    values = summary(evil="undecided", sycophantic="watch")
    assert is_passed(expression, values) is expected
    assert is_passed(expression, values, allow_undecided=True) is expected


def test_numbers_of_an_undecided_trait_are_held_against_limits_where_that_is_allowed() -> None:
    assert is_passed("evil.ci_low>0.2", summary(evil="undecided"), allow_undecided=True)


def test_an_undecided_trait_leaves_limits_on_other_traits_and_on_reading_alone() -> None:
    values = summary(evil="undecided")
    for expression in ("sycophantic=risk", "skipped>50%", "sycophantic.ci_low>9", "evil.n<100", "n_ok<5"):
        assert not is_passed(expression, values)


def test_a_run_without_any_verdict_counts_as_undecided() -> None:
    values = {**summary(), "verdicts": []}
    for expression in ("risk", "verdict == 'risk'", "n_flagged>999"):
        assert is_passed(expression, values)
        assert not is_passed(expression, values, allow_undecided=True)


@pytest.mark.parametrize(
    ("expression", "values", "sentence"),
    [
        ("flagged>1%", summary(), "it is 0.05"),
        ("evil=watch", summary("watch"), "evil is watch"),
        ("watch", summary("watch", "risk"), "evil is watch; sycophantic is risk"),
        (
            "verdict.evil == 'risk' or flagged_share > 0.02 or n_skipped > 99",
            summary("risk"),
            "verdict.evil is risk, flagged_share is 0.05",
        ),
        (
            "verdict.evil == 'risk' and not n_skipped > 99",
            summary("risk"),
            "verdict.evil is risk, n_skipped is 10",
        ),
        (
            "verdict.evil == 'risk'",
            summary("undecided"),
            "evil could not be judged, which counts as passed (--allow-undecided lets it through)",
        ),
        (
            "evil.mean_evidence_z > 2",
            summary(),
            "evil.mean_evidence_z was not measured, which counts as passed "
            "(scan with --evidence full, or --allow-undecided lets it through)",
        ),
    ],
)
def test_a_passed_limit_says_the_values_that_made_it_true(
    expression: str, values: dict[str, Any], sentence: str
) -> None:
    assert check_limits(parse_limits([expression]), values) == [f"{expression}: {sentence}"]


def test_any_of_several_limits_suffices_and_each_is_explained() -> None:
    limits = parse_limits(["risk", "flagged>1%", "evil=watch"])
    sentences = check_limits(limits, summary(evil="watch"))
    assert sentences == ["flagged>1%: it is 0.05", "evil=watch: evil is watch"]


@pytest.mark.parametrize(
    ("expression", "finding"),
    [
        ("", "is no limit"),
        ("bad", "'bad' is not known"),
        ("clear", "is not known"),
        ("evil=clear", "== compares"),
        ("flagged=5", "== compares"),
        ("flagged>", "is no limit"),
        ("flagged>x", "'x' is not known"),
        ("flaged>1", "did you mean 'flagged'"),
        ("evil.z>1", "'z' is not known of a trait"),
        ("mean_difference>1", "'mean_difference' is not known"),
        ("risk or watch", "is not known"),
        ("flagged>1; rm", "is no limit"),
        ("flagged>1 && n_ok>1", "write and, or, not"),
        ("evil.mean_difference>nan", "is not known"),
        ("n_ok > 1e999", "no name, number or verdict"),
        ("verdict.evil == 'bad'", "there is no verdict 'bad'"),
        ("verdict.evil == 1", "compares a verdict with a number"),
        ("verdict.evil >= 'undecided'", "neither better nor worse"),
        ("n_flagged", "is a number, not yes or no"),
        ("verdict.evil", "is a verdict, not yes or no"),
        ("1 < 2", "says nothing of the run"),
        ("n_ok is 3", "compares in a way that is not known"),
        ("n_ok == True", "no name, number or verdict"),
        ("'risk'", "is no condition"),
        ("__import__('os')", "is no condition"),
        ("__import__('os').system('true') == 1", "no name, number or verdict"),
        ("().__class__ == 1", "at most one dot"),
        ("verdict.evil.__class__ == 'risk'", "at most one dot"),
        ("[x for x in ()] == 1", "no name, number or verdict"),
        ("(lambda: 1)() > 0", "no name, number or verdict"),
        ("f'{n_ok}' == 'risk'", "no name, number or verdict"),
        ("n_ok + 1 > 2", "no name, number or verdict"),
        ("9**9**9**9 > n_ok", "no name, number or verdict"),
        ("(n_ok := 5) > 1", "no name, number or verdict"),
        ("n_ok > 1\x00", "is no limit"),
        ("not " * 30 + "n_ok > 1", "nested more than 20 deep"),
        ("(" * 400 + "n_ok > 1" + ")" * 400, "is no limit"),
        ("n_ok > 1 or " * 200 + "n_ok > 1", "characters long"),
        ("n_ok > " + "9" * 900, "no name, number or verdict"),
    ],
)
def test_a_wrong_or_hostile_expression_is_refused_at_once_before_anything_runs(expression: str, finding: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ConfigError, match="--fail-on") as error:
        parse_limits([expression])
    assert finding in str(error.value)
    assert time.perf_counter() - began < 1


def test_an_unknown_name_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError) as error:
        parse_limits(["n_flaged > 5"])
    assert "did you mean 'n_flagged'?" in str(error.value)
    assert "verdict.TRAIT" in str(error.value)
    with pytest.raises(ConfigError, match=r"choose one of .*cohens_d"):
        parse_limits(["evil.cohen > 5"])


@pytest.mark.parametrize("expression", ["evli=risk", "evli.flagged>1%", "verdict.evli == 'risk'", "n_ok>1 or evli.n>1"])
def test_an_unknown_trait_is_refused_as_soon_as_the_traits_are_known(expression: str) -> None:
    with pytest.raises(ConfigError, match="no trait 'evli'"):
        parse_limits([expression], ["evil"])
    with pytest.raises(ConfigError, match="no trait 'evli'"):
        check_limits(parse_limits([expression]), summary())


def test_the_page_on_limits_names_all_there_are_and_no_others() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    run, whole, trait = (set(re.findall(r"`([a-z_.A-Z]+)`", row.partition(" | ")[2])) for row in rows)
    assert run == {*RUN.whole, "verdict.TRAIT", "TRAIT.COLUMN", "verdicts"}
    assert whole == {*COMPARISON.whole}
    assert trait == {*COMPARISON.columns, *(f"{group}.TRAIT" for group in COMPARISON.groups), "TRAIT.COLUMN"} - {
        "verdict_a",
        "verdict_b",
    }


def test_a_percentage_in_quotes_stays_text() -> None:
    with pytest.raises(ConfigError, match="no verdict '5%'"):
        parse_limits(["verdict.evil == '5%'"])
