"""One item of a draft at a time: what keeps it out of a specification, in words that its writer understands."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable

from audit.samples.text import clean_text
from audit.traits import PromptPair

QUESTION_CHARS = (10, 600)
PROMPT_CHARS = (20, 3_000)
RUBRIC_CHARS = (60, 6_000)
NAME_CHARS = (3, 80)

_ALIKE = 0.8
"""Share of common words from which two texts are the same one, written anew."""

_STEM = 0.65
"""Part of a word that its family shares: sycophancy, sycophantic."""

_WORD = re.compile(r"\w+")
_FILLER = {"a", "an", "and", "always", "be", "do", "please", "really", "so", "the", "to", "very", "you", "your"}
_KEPT = "\n\t\u200c\u200d"
"""Line breaks, tabs, and the joiners that Persian and emoji are written with."""

_ARTICLE = re.compile(r"(?:an?|the)\s", re.IGNORECASE)


def tidy(text: str) -> str:
    """Return a text without control characters, and with single spaces and line breaks only."""
    plain = "".join(
        character if character in _KEPT or unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs") else " "
        for character in clean_text(text)
    )
    return re.sub(r" *\n\s*", "\n", re.sub(r"[^\S\n]+", " ", plain)).strip()


def refuse_question(question: str, trait: str, known: Iterable[str]) -> str | None:
    """Return why a question cannot be used; None: it can."""
    if (finding := _refuse_length(question, QUESTION_CHARS)) is not None:
        return finding
    if re.fullmatch(r"\W*\w*\W*\d*\W*", question):
        return "is no question"
    if names_trait(question, trait):
        return "names the trait"
    if any(is_alike(question, other) for other in known):
        return "is there already"
    return None


def refuse_pair(pair: PromptPair, known: Iterable[PromptPair]) -> str | None:
    """Return why a pair of system prompts cannot be used; None: it can."""
    for side in (pair.positive, pair.negative):
        if (finding := _refuse_length(side, PROMPT_CHARS)) is not None:
            return finding
    if not _words(pair.positive) ^ _words(pair.negative):
        return "does not contrast: both sides say the same"
    sides = {side for other in known for side in (other.positive, other.negative)}
    if any(is_alike(pair.positive, side) or is_alike(pair.negative, side) for side in sides):
        return "is there already"
    return None


def refuse_rubric(rubric: str) -> str | None:
    """Return why a rubric cannot be used; None: it can."""
    if (finding := _refuse_length(rubric, RUBRIC_CHARS)) is not None:
        return finding
    if not {"0", "100"} <= set(_WORD.findall(rubric)):
        return "does not say what 0 and what 100 mean"
    return None


def refuse_names(positive: str, negative: str, language: str) -> str | None:
    """Return why the assistant's names cannot be used; None: they can."""
    for name in (positive, negative):
        if (finding := _refuse_length(name, NAME_CHARS)) is not None:
            return finding
        if "\n" in name or name.endswith("."):
            return "is a sentence, not a name"
        if language.partition("-")[0] == "en" and not _ARTICLE.match(name):
            return "has no article"
    return "is the same on both sides" if positive.casefold() == negative.casefold() else None


def names_trait(text: str, trait: str) -> bool:
    """Tell whether a text has a word of the family of each word of a trait's name."""
    stems = [_stem(word.casefold()) for word in trait.split("_") if len(word) > 2]
    words = _WORD.findall(text.casefold())
    return bool(stems) and all(any(word.startswith(stem) for word in words) for stem in stems)


def _stem(word: str) -> str:
    return min(word[: max(4, math.ceil(_STEM * len(word)))], word.removesuffix("ing"), key=len)


def is_alike(one: str, other: str) -> bool:
    """Tell whether two texts are the same but for a few words."""
    words, others = set(_WORD.findall(one.casefold())), set(_WORD.findall(other.casefold()))
    return len(words & others) >= _ALIKE * len(words | others)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold())) - _FILLER


def _refuse_length(text: str, limits: tuple[int, int]) -> str | None:
    least, most = limits
    if len(text) < least:
        return "is too short" if text else "is empty"
    return "is too long" if len(text) > most else None
