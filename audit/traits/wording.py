"""What texts have in common: the same words in another dress, most of their letters, a word of the same stem.

Stems and frames are those of English; in other languages words match only where they are equal.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

NEAR_LIKENESS = 0.8
NEAR_CONTENT = 0.75
"""From here on two texts are called nearly the same: in their letters, and in the words that carry their content.

Letters alone would call all questions of one frame the same ("What should I know about …?").
"""

_ENDINGS = (
    "ation", "ations", "ating", "ated", "ates", "ate", "ator", "atory", "ion", "ions", "ive", "ively", "ing", "ed",
    "ness", "ly", "s", "es", "er", "ers", "y", "ity", "ty", "ous", "ously", "ism", "ist", "ists", "istic", "istically",
    "ant", "ants", "ancy", "antic", "etic", "etically", "ful", "fully",
)  # fmt: skip
_FRAME_TEXT = """
a about am an and any are as at be been but by can could did do does for from give had has have he her here his how i id
if im in is it its ive just may me might must my not of on or our please really shall she should so some tell than that
the their them there these they this those to us was we were what when where which who whom whose why will with would
you your
"""
_FRAME = frozenset(_FRAME_TEXT.split())
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


@dataclass(frozen=True, slots=True)
class Wording:
    """A text made ready to be compared with many others.

    Attributes:
        folded: without case, punctuation and repeated white space.
        shingles: all runs of three characters in it, its ends marked.
        content: the words that are not the frame of an English sentence.
    """

    folded: str
    shingles: frozenset[str]
    content: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Wording:
        """Return the wording of a text."""
        folded = fold_text(text)
        marked = f" {folded} "
        runs = (marked[start : start + _SHINGLE_CHARS] for start in range(len(marked) - _SHINGLE_CHARS + 1))
        return cls(folded, frozenset(runs), frozenset(folded.split()) - _FRAME)


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Return how much two sets share: 0 nothing, 1 everything (Dice's coefficient)."""
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else 1.0


def is_near(one: Wording, other: Wording) -> bool:
    """Tell whether two texts are nearly the same."""
    return (
        likeness(one.shingles, other.shingles) >= NEAR_LIKENESS and likeness(one.content, other.content) >= NEAR_CONTENT
    )


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
