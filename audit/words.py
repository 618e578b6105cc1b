"""Words that set one group of texts apart from others: TF-IDF over the texts of all groups.

Knows texts and group numbers, not where they come from. No list of stop words: a word that most texts hold weighs
next to nothing in any language.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

import numpy as np

KEYWORDS = 8
_LONGEST_TEXT = 4_000
"""Characters of a text that are read: its start says what it is about, and memory stays bounded."""

_SCRIPTS_WITHOUT_SPACES = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005\u3007\u3040-\u30ff\u31f0-\u31ff"  # Japanese syllables
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_SYLLABLES = "\u1100-\u11ff\uac00-\ud7af"
"""Of Korean: two of them are a word as long as five letters."""


def find_keywords(texts: Iterable[tuple[int, str]], n_groups: int, *, n_keywords: int = KEYWORDS) -> list[list[str]]:
    """Return the words typical of each group from (group, text) pairs, the most typical first.

    Ranked by TF-IDF: the word's share of the group's words times log(N / df), where df of the N texts hold it. A word
    has three letters or more (Korean: two syllables), in lower case; in scripts that are written without spaces every
    two neighbouring characters are one. A word must stand in two texts of its group, if there are two. A group without
    such words, or whose words stand in every text there is, has none.
    """
    words = [Counter[str]() for _ in range(n_groups)]
    n_with = [Counter[str]() for _ in range(n_groups)]
    n_texts = np.zeros(n_groups, dtype=np.int64)
    for group, text in texts:
        found = Counter(split_words(text[:_LONGEST_TEXT]))
        words[group].update(found)
        n_with[group].update(found.keys())
        n_texts[group] += 1
    df: Counter[str] = Counter()
    for own in n_with:
        df.update(own)
    keywords = []
    for group in range(n_groups):
        n_words, least = words[group].total(), min(2, int(n_texts[group]))
        weight = {
            word: count / n_words * float(np.log(n_texts.sum() / df[word]))
            for word, count in words[group].items()
            if n_with[group][word] >= least
        }
        typical = sorted((word for word in weight if weight[word] > 0), key=lambda word: (-weight[word], word))
        keywords.append(typical[:n_keywords])
    return keywords


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, and pairs of characters where there are no spaces between words."""
    found = []
    for match in _pattern().finditer(unicodedata.normalize("NFC", text)):
        if match[1]:
            # Marks above and below do not stand alone.
            characters = re.findall(rf"[^{_marks()}][{_marks()}]*", match[1])
            found += ["".join(pair) for pair in pairwise(characters)]
        else:
            found.append(match[0].lower())
    return found


@cache
def _pattern() -> re.Pattern[str]:
    unspaced, letter = _SCRIPTS_WITHOUT_SPACES, rf"(?:(?![{_SCRIPTS_WITHOUT_SPACES}])[^\W\d_][{_marks()}]*)"
    korean = rf"[{_SYLLABLES}]{{2,24}}"
    return re.compile(rf"((?:(?![\d_])[\w{_marks()}](?<=[{unspaced}{_marks()}]))+)|{korean}|{letter}{{3,24}}")


@cache
def _marks() -> str:
    """Return the combining marks as ranges of a character class: `\\w` does not count vowels of Hindi as letters."""
    codes = [code for code in range(0x300, 0x10000) if unicodedata.category(chr(code)).startswith("M")]
    ranges = np.split(np.array(codes), np.flatnonzero(np.diff(codes) > 1) + 1)
    return "".join(f"{chr(own[0])}-{chr(own[-1])}" for own in ranges)
