"""The combined score of a turn, and the rule by which it is known before all of it is."""

from __future__ import annotations

import numpy as np
import pytest

from audit.risk import FlagRule, Moments, evidence_level, measures_both

EVIL, KIND = Moments(1.0, 2.0, -0.5, 0.5), Moments(0.0, 1.0, 0.0, 4.0)


def test_both_parts_weigh_the_same_in_their_own_deviations() -> None:
    assert EVIL.combine(np.array([3.0]), np.array([0.5])).tolist() == [3.0]
    assert EVIL.combine(np.array([1.0]), np.array([-0.5])).tolist() == [0.0]


def test_a_turn_without_z_counts_its_null_expectation() -> None:
    assert EVIL.combine(np.array([1.0]), np.array([np.nan])).tolist() == [1.0]
    assert np.isnan(EVIL.combine(np.array([np.nan]), np.array([1.0]))).all()


def test_plain_flags_take_the_traits_own_directions_and_leave_evidence_alone() -> None:
    rule = FlagRule(2)
    difference = np.array([[1.0, 2.0, 30.0, 40.0]])
    assert rule.score(difference, np.ones((1, 6))).tolist() == [[1.0, 2.0]]
    assert rule.scale(difference).tolist() == [[1.0, 2.0]]


def test_combined_flags_take_orthogonal_directions_and_z() -> None:
    rule = FlagRule(2, (EVIL, KIND))
    difference = np.array([[9.0, 9.0, 3.0, 2.0], [9.0, 9.0, 3.0, 2.0], [9.0, 9.0, 3.0, 2.0]])
    # S of both traits, W of both, and what is only kept.
    evidence = np.array([[1.0, 8.0, 4.0, 1.0, 7.0], [1.0, 8.0, 0.0, np.nan, 7.0], [np.nan, 8.0, 4.0, 1.0, 7.0]])
    assert rule.score(difference, evidence).tolist() == [[3.0, 4.0], [2.0, 2.0], [2.0, 4.0]]
    assert rule.score(difference, np.zeros((3, 0))).tolist() == [[2.0, 2.0]] * 3
    # A baseline that projects higher by 2 lowers the first score by a deviation.
    assert rule.scale(np.array([[9.0, 9.0, 2.0, 2.0]])).tolist() == [[1.0, 2.0]]


def test_where_no_traits_are_parted_the_plain_difference_is_combined() -> None:
    rule = FlagRule(2, (EVIL, KIND))
    assert rule.score(np.array([[3.0, 2.0]]), np.array([[1.0, 8.0, 4.0, 1.0]])).tolist() == [[3.0, 4.0]]
    assert rule.scale(np.array([[2.0, 2.0]])).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("evidence", "baseline", "level", "both"),
    [
        (None, "generate", "off", False),
        ("prompt", "generate", "off", False),
        ("score,prompt", "generate", "score", False),
        ("full", "generate", "full", True),
        ("full,prompt", "prompt", "full", True),
        ("full", "none", "full", False),
    ],
)
def test_what_a_run_measured_is_read_from_its_settings(
    evidence: str | None, baseline: str, level: str, both: bool
) -> None:
    config = {} if evidence is None else {"evidence": evidence}
    manifest = {"config": config, "baseline": {"kind": baseline}}
    assert (evidence_level(manifest), measures_both(manifest)) == (level, both)
