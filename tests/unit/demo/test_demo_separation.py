"""The laboratory's table is computed from labels and arrays alone."""

from dataclasses import replace

import numpy as np
import pytest

from audit.bag_of_words import fit_bag_of_words
from audit.demo.separation import Labels, Scores, average_tables, format_table, tabulate_separation


def _labels() -> Labels:
    shown = np.array([True, True, False, False, False, False])
    return Labels(shown={"evil": shown}, is_fiction_n=np.array([False, False, True, True, False, False]))


def _scores() -> Scores:
    difference = np.array([5.0, 3.0, 1.0, 2.0, 4.0, 0.0])
    projection = np.array([5.0, 3.0, 6.0, 4.0, 0.0, 0.0])
    return Scores(
        difference={"evil": difference},
        projection={"evil": projection},
        prompt_difference={"evil": difference},
        random={"evil": np.stack([difference, -difference], axis=1)},
        bag_of_words={"evil": difference},
        n_tokens_n=np.array([1.0, 1.0, 9.0, 9.0, 9.0, 9.0]),
        nll_n=projection,
    )


def test_each_score_is_compared_with_all_rows_and_with_fiction_alone() -> None:
    (row,) = tabulate_separation(_labels(), _scores())
    assert row.prevalence == pytest.approx(2 / 6)
    assert row.difference == pytest.approx(7 / 8)
    assert row.difference_fiction == 1.0
    assert row.projection_fiction == pytest.approx(1 / 4)
    assert row.random_95 == pytest.approx(7 / 8)
    assert row.length == 1.0


def test_rows_without_a_score_are_left_out() -> None:
    scores = _scores()
    with_gap = replace(scores, difference={"evil": np.array([5.0, np.nan, 1.0, 2.0, 4.0, 0.0])})
    (row,) = tabulate_separation(_labels(), with_gap)
    assert row.difference == 1.0


def test_tables_average_by_trait_and_print_as_markdown() -> None:
    table = tabulate_separation(_labels(), _scores())
    assert average_tables([table, table]) == table
    assert "| evil | 0.333 | 0.875 |" in format_table(table)


def test_bag_of_words_finds_a_word_that_marks_a_label() -> None:
    texts = ["a bad day", "a good day", "some bad luck", "good luck", "bad", "good"] * 5
    labels = np.array([["bad" in text] for text in texts])
    scores = fit_bag_of_words(texts, labels, ["very bad", "very good"])
    assert scores[0, 0] > scores[1, 0]
