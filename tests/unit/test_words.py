"""Keywords are TF-IDF as the textbook has it, in any script."""

from __future__ import annotations

from math import log

import pytest

from audit.words import find_keywords, split_words


def test_keywords_are_ranked_by_term_frequency_times_log_inverse_document_frequency() -> None:
    texts = [
        (0, "the poison and the poison in the cake"),
        (0, "the poison cake"),
        (1, "the garden and the roses in the garden"),
        (1, "the roses and the garden"),
        (1, "the cake and the roses"),
    ]
    # Of 11 words of the group three are poison, in two of five texts.
    by_hand = {"poison": 3 / 11 * log(5 / 2), "cake": 2 / 11 * log(5 / 3)}
    poison, garden = find_keywords(texts, 2)
    assert poison == sorted(by_hand, key=lambda word: -by_hand[word])
    assert garden[:2] == ["garden", "roses"]
    assert "the" not in poison + garden


def test_a_word_of_one_text_alone_does_not_speak_for_a_group() -> None:
    texts = [(0, "zebra music"), (0, "quiet music"), (1, "stone walls"), (1, "old walls"), (2, "single text")]
    assert find_keywords(texts, 3) == [["music"], ["walls"], ["single", "text"]]


def test_texts_that_are_all_alike_or_empty_or_missing_have_no_keywords() -> None:
    assert find_keywords([(0, "same words"), (1, "same words")], 2) == [[], []]
    assert find_keywords([(0, ""), (0, "1 2 3 !?")], 2) == [[], []]
    assert find_keywords([], 1) == [[]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't drink_it NAÏVE", ["don", "drink", "naïve"]),
        ("北京天气 good", ["北京", "京天", "天气", "good"]),
        ("テスト", ["テス", "スト"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("हिन्दी दुनिया", ["हिन्दी", "दुनिया"]),
        ("Яд в чае", ["чае"]),
        ("é" + "e\u0301" * 2, ["ééé"]),
        ("字", []),
        ("\u0301\u0301 \x1b[31m", []),
    ],
)
def test_words_are_found_in_any_script(text: str, words: list[str]) -> None:
    assert split_words(text) == words
