"""What texts have in common: the same words in another dress, most of their letters, a word of the same stem.

The stems are those of English; in other languages words match only where they are equal.
"""

from __future__ import annotations

import unicodedata

NEAR_LIKENESS = 0.8
"""From here on two questions are called nearly the same; the closest two of the shipped ones are at .55."""

_ENDINGS = (
    "ation", "ations", "ating", "ated", "ates", "ate", "ator", "atory", "ion", "ions", "ive", "ively", "ing", "ed",
    "ness", "ly", "s", "es", "er", "ers", "y", "ity", "ty", "ous", "ously", "ism", "ist", "ists", "istic", "istically",
    "ant", "ants", "ancy", "antic", "etic", "etically", "ful", "fully",
)  # fmt: skip
_MIN_STEM_CHARS = 4
_SHINGLE_CHARS = 3
_DROPPED = "'’`´"


def fold_text(text: str) -> str:
    """Return a text without case, punctuation and repeated white space: equal texts ask the same."""
    kept = (
        "" if char in _DROPPED else char if unicodedata.category(char)[0] in "LMN" else " "
        for char in unicodedata.normalize("NFKC", text).casefold()
    )
    return " ".join("".join(kept).split())


def shingles(folded: str) -> frozenset[str]:
    """Return all runs of three characters in a folded text, its ends marked."""
    marked = f" {folded} "
    return frozenset(marked[start : start + _SHINGLE_CHARS] for start in range(len(marked) - _SHINGLE_CHARS + 1))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Return how much two texts share, from their shingles: 0 nothing, 1 everything (Dice's coefficient)."""
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else 1.0


def stems(word: str) -> frozenset[str]:
    """Return what a folded word may be built on: `optimistic` on itself and on `optim`."""
    word = word.replace("our", "or") if len(word) > _MIN_STEM_CHARS else word
    cut = (word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending))
    return frozenset((word, *(stem for stem in cut if len(stem) >= _MIN_STEM_CHARS)))


def holds_words(folded: str, wanted: frozenset[str]) -> bool:
    """Tell whether a folded text holds every wanted word, or one of its stem."""
    if not wanted:
        return False
    held = frozenset(stem for word in folded.split() for stem in stems(word))
    return all(stems(word) & held for word in wanted)
