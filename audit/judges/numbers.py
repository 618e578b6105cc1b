"""A number from 0 to 100 in what a judging model said; None where its word is void.

Source of the weighted mean: arXiv 2507.21509, appendix A. Departure: without probabilities, and where a tokenizer cuts
numbers into digits, the number is read from the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from audit.refusal import is_refusal
from audit.server import ChatAnswer

LEAST_WEIGHT = 0.25
"""Probability that has to be on numbers, else the judge said something else."""

_SPACES = " \t\r\nĠ▁"
"""White space, and what tokenizers write for it."""

_MOST_CHARS = 2_000
_SCALE = re.compile(r"\b0\s*(?:-|–|—|to|and)\s*100\b")
_OF_100 = re.compile(r"(?<=[0-9])\s*(?:/|out of)\s*100\b")
_NUMBER = re.compile(r"(?<![\w.,])[-−+]?[0-9]+(?:[.,][0-9]+)*(?!\w)")
_PLAIN = re.compile(r"\+?[0-9]+(?:\.[0-9]+)?")
_OPENS_NUMBER = re.compile(r"\s*([0-9]+)")


def read_chat_number(answer: ChatAnswer, *, is_weighted: bool) -> float | None:
    """Return the number in an answer.

    Args:
        is_weighted: where the first token's alternatives are known and whole numbers, the mean over them.
    """
    if is_weighted and answer.first_logprobs is not None and begins_with_token(answer) is not False:
        return weigh_numbers(answer.first_logprobs)
    return read_number(answer.text, is_finished=answer.finished)


def weigh_numbers(first_logprobs: Mapping[str, float]) -> float | None:
    """Return the mean of the whole numbers from 0 to 100 among tokens, weighted by probability."""
    total = weighted = 0.0
    for token, logprob in first_logprobs.items():
        digits = token.strip(_SPACES)
        if digits.isascii() and digits.isdigit() and len(digits) <= 3 and str(int(digits)) == digits:
            number, weight = int(digits), math.exp(logprob)
            if number <= 100:
                total += weight
                weighted += weight * number
    return weighted / total if total >= LEAST_WEIGHT else None


def begins_with_token(answer: ChatAnswer) -> bool | None:
    """Tell whether the number that an answer begins with is a token of its own; None: it begins with none.

    Of a tokenizer that cuts 85 into 8 and 5 the first token is no number, though it looks like one.
    """
    found = _OPENS_NUMBER.match(answer.text)
    if found is None:
        return None
    return any(token.strip(_SPACES) == found[1] for token in answer.first_logprobs or ())


def read_number(text: str, *, is_finished: bool) -> float | None:
    """Return the one number in a text: `85`, `85/100`, `Score: 85.`, `**85**`.

    Void are: no number, several, one out of range, one that may have been cut off, a refusal.
    """
    _, opened, thought = text.partition("<think>")
    if opened or "</think>" in text:
        _, closed, text = (thought or text).rpartition("</think>")
        if not closed:
            return None
    words = re.sub("[*_`]", "", text).strip()
    is_cut = not is_finished and words[-1:].isdigit()
    if len(words) > _MOST_CHARS or is_cut or is_refusal(words):
        return None
    numbers = _NUMBER.findall(_OF_100.sub("", _SCALE.sub("", words)))
    # Any that is no plain number, such as -5 or 1,000, makes the others doubtful too.
    values = {float(number) if _PLAIN.fullmatch(number) else math.inf for number in numbers}
    value = values.pop() if len(values) == 1 else math.inf
    return value if value <= 100 else None
