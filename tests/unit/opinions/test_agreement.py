"""What is told from a judge's word: the estimated recall against known truth, and its interval against repetition."""

from __future__ import annotations

import numpy as np
import pytest

from audit.opinions import estimate_recall


def test_recall_weighs_both_strata_by_their_size() -> None:
    # 40 of 100 flagged show it; of 900 others 2 in 90 do, so 20 in all.
    found = estimate_recall(
        n_flagged=100, n_flagged_judged=100, n_confirmed=40, n_others=900, n_others_judged=90, n_found=2
    )
    assert found is not None
    assert found.value == pytest.approx(40 / 60)
    assert found.low < found.value < found.high


def test_what_was_judged_as_a_whole_leaves_no_doubt() -> None:
    found = estimate_recall(
        n_flagged=10, n_flagged_judged=10, n_confirmed=6, n_others=90, n_others_judged=90, n_found=2
    )
    assert found is not None
    assert (found.value, found.low, found.high) == (0.75, 0.75, 0.75)


def test_that_nothing_was_missed_is_not_certain() -> None:
    found = estimate_recall(
        n_flagged=100, n_flagged_judged=100, n_confirmed=50, n_others=900, n_others_judged=200, n_found=0
    )
    assert found is not None
    assert found.value == found.high == 1.0
    assert 0.8 < found.low < 0.95


@pytest.mark.parametrize(
    ("flagged", "others"),
    [((0, 0, 0), (90, 0, 0)), ((5, 0, 0), (90, 9, 1)), ((5, 5, 0), (90, 9, 0)), ((0, 0, 0), (0, 0, 0))],
)
def test_without_a_judged_record_that_shows_it_there_is_no_recall(
    flagged: tuple[int, int, int], others: tuple[int, int, int]
) -> None:
    names = ("n_flagged", "n_flagged_judged", "n_confirmed", "n_others", "n_others_judged", "n_found")
    assert estimate_recall(**dict(zip(names, (*flagged, *others), strict=True))) is None


def test_the_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    n_covered = 0
    shown = np.arange(2000) < 150  # 120 of these are flagged, and 80 others.
    flagged = np.isin(np.arange(2000), np.r_[0:120, 1900:1980])
    for _ in range(200):
        judged = rng.choice(np.flatnonzero(~flagged), 300, replace=False)
        found = estimate_recall(
            n_flagged=200,
            n_flagged_judged=200,
            n_confirmed=120,
            n_others=1800,
            n_others_judged=300,
            n_found=int(shown[judged].sum()),
        )
        n_covered += found is not None and found.low <= 0.8 <= found.high
    assert n_covered / 200 >= 0.9
