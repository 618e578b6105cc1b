"""The language of a text, by letter sequences (py3langid, a small naive Bayes model): text in, ISO 639-1 out.

The model is loaded with the first text that is long enough, since that takes a second; it is read without pickle.
Knows nothing of what languages are for: a response is compared with clean ones of its own language elsewhere.

Measured on 155 sentences of 24 languages, 2 to 50 letters long: with both limits below 102 of 103 that are named are
right (the other is Malay for Indonesian); without them 144 of 154 (tests/unit/test_language.py).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from audit.surface import leave_out_code

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LEAST_LETTERS = 12
"""Below this many letters too many languages have the same words."""

_DENSE_LETTERS = 4
"""What a character counts that is a syllable or a word of its own: Han, kana, Hangul."""

LEAST_PROBABILITY = 0.4
"""Of the language itself; below it several are about as likely, or the text is of none: names, code, numbers."""

_READ_CHARS = 500
"""More of a text changes nothing but the time it takes."""

_MACRO = {
    "ary": "ar",
    "arz": "ar",
    "crh": "tr",
    "grc": "el",
    "hbo": "he",
    "nn": "no",
    "pcm": "en",
    "sdh": "ku",
    "uzs": "uz",
    "wuu": "zh",
    "yue": "zh",
}
"""Varieties that the model tells apart, by the language that ISO 639-1 has a code for."""


def detect_language(text: str) -> str | None:
    """Return the language of a text as its ISO 639-1 code; None where it cannot be told. Code fences do not count."""
    prose = leave_out_code(text, _READ_CHARS)
    if count_letters(prose) < LEAST_LETTERS:
        return None
    probabilities: dict[str, float] = {}
    for label, probability in _load_model().rank(prose):
        code = _MACRO.get(label, label)
        probabilities[code] = probabilities.get(code, 0.0) + probability
    code = max(probabilities, key=lambda each: probabilities[each])
    # Other varieties have codes of three letters only, and `zxx` is what is in no language.
    return code if len(code) == 2 and probabilities[code] >= LEAST_PROBABILITY else None


def count_letters(text: str) -> int:
    """Count letters; a character that is a syllable or a word counts as four."""
    return sum(_DENSE_LETTERS if _is_dense(char) else 1 for char in text if char.isalpha())


def _is_dense(char: str) -> bool:
    return "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7a3"


@cache
def _load_model() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
