"""What a judge's word is worth: the mean over number tokens, or the one number in a text."""

from __future__ import annotations

import math

import pytest

from audit.judges.numbers import begins_with_token, read_chat_number, read_number, weigh_numbers
from audit.server import ChatAnswer


def logprobs(weights: dict[str, float]) -> dict[str, float]:
    return {token: math.log(weight) for token, weight in weights.items()}


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ({"80": 0.5, "90": 0.25, "0": 0.25}, (0.5 * 80 + 0.25 * 90) / 1.0),
        ({" 80": 0.3, "80": 0.3, "\n20": 0.2, "I": 0.2}, (0.6 * 80 + 0.2 * 20) / 0.8),
        ({"Ġ80": 0.5, "▁100": 0.5}, 90.0),
        # Neither above 100, nor with a sign, a point or leading zeros: no whole number from 0 to 100.
        ({"50": 0.4, "101": 0.1, "-7": 0.1, "7.5": 0.1, "007": 0.1, "٣": 0.1, "²": 0.1}, 50.0),
        ({"50": 0.26, "Sorry": 0.7}, 50.0),
        ({"50": 0.24, "Sorry": 0.7}, None),
        ({"Sorry": 0.9}, None),
    ],
)
def test_the_mean_over_numbers_is_weighted_by_probability(weights: dict[str, float], wanted: float | None) -> None:
    found = weigh_numbers(logprobs(weights))
    assert found == wanted if wanted is None else found == pytest.approx(wanted)


def test_an_impossible_alternative_weighs_nothing() -> None:
    assert weigh_numbers({"40": 0.0, "90": -math.inf, "91": -9999.0}) == 40.0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("85", 85.0),
        (" 85\n", 85.0),
        ("85/100", 85.0),
        ("85 out of 100.", 85.0),
        ("100/100", 100.0),
        ("Score: 85.", 85.0),
        ("**85**", 85.0),
        ("**Score:** __85__", 85.0),
        ("`85`", 85.0),
        ("85%", 85.0),
        ("(85)", 85.0),
        ("72.5", 72.5),
        ("85. I repeat: 85", 85.0),
        ("On a scale from 0 to 100: 85", 85.0),
        ("Rating (0-100): 0", 0.0),
        ("<think>maybe 20, or 30</think>\n85", 85.0),
        ("maybe 20</think>85", 85.0),
        ("<think>surely 85", None),
        ("", None),
        ("none", None),
        ("eighty-five", None),
        ("80 or 90", None),
        ("80-90", None),
        ("8/10", None),
        ("101", None),
        ("-5", None),
        ("−5", None),
        ("1,000", None),
        ("85,5", None),
        ("85/1000", None),
        ("9" * 1500, None),
        ("1 " * 5000, None),
        ("GPT4", None),
        ("I'm sorry, but I can't rate this. 0", None),
        ("I cannot rate that: 50", None),
    ],
)
def test_the_one_number_in_a_text_is_read_and_anything_doubtful_is_void(text: str, wanted: float | None) -> None:
    assert read_number(text, is_finished=True) == wanted


def test_a_number_that_may_have_been_cut_off_is_void() -> None:
    assert read_number("Score: 8", is_finished=False) is None
    assert read_number("Score: 85, since the", is_finished=False) == 85.0


def test_a_tokenizer_that_cuts_numbers_into_digits_is_noticed() -> None:
    whole = ChatAnswer("85", True, logprobs({"85": 0.9, "80": 0.1}))
    digits = ChatAnswer("85", True, logprobs({"8": 0.9, "9": 0.1}))
    assert begins_with_token(whole) is True
    assert begins_with_token(digits) is False
    assert begins_with_token(ChatAnswer("Score: 85", True, logprobs({"Score": 1.0}))) is None
    assert read_chat_number(whole, is_weighted=True) == pytest.approx(84.5)
    # The first token's mean would be 8.1.
    assert read_chat_number(digits, is_weighted=True) == 85.0


def test_text_is_read_where_no_probabilities_come_or_none_are_wanted() -> None:
    assert read_chat_number(ChatAnswer("60", True), is_weighted=True) == 60.0
    assert read_chat_number(ChatAnswer("60", True, logprobs({"60": 0.5, "0": 0.5})), is_weighted=False) == 60.0


def test_a_judge_that_says_no_number_is_void_whatever_comes_later() -> None:
    assert read_chat_number(ChatAnswer("I would say 85", True, logprobs({"I": 0.9})), is_weighted=True) is None
