"""What is wrong with a trait specification that can be read. Knows words, not what they mean.

What is nearly the same, negates or names the trait is told by English words; elsewhere by equal words alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from audit.schema import is_trait_name
from audit.traits.spec import N_PAIRS, N_QUESTIONS, TraitSpec
from audit.traits.wording import Wording, fold_text, holds_words, is_near, likeness

Severity = Literal["error", "warning"]
Part = Literal["name", "description", "assistant", "pairs", "extraction", "evaluation", "rubric", "file"]

NEAR_PAIR_LIKENESS = 0.85

_NEGATIONS = frozenset(
    ("not", "never", "no", "without", "avoid", "avoids", "refuse", "refuses", "nobody", "nothing", "neither", "nor",
     "dont", "doesnt", "cannot", "cant", "isnt", "arent", "wont", "mustnt", "shouldnt")
)  # fmt: skip
_NEGATED_WORDS = 3
# Words of an assistant's name that say nothing of the trait.
_EMPTY_WORDS = frozenset(
    ("a", "an", "the", "ai", "assistant", "assistants", "chatbot", "helper", "model", "person", "someone", "who", "is",
     "very")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a specification.

    Attributes:
        severity: `error`: extraction cannot work; `warning`: its result may be weaker than it looks.
        text: what was found, beginning with its place.
        part: of the specification; `file` where it could not be read at all.
        numbers: of the entries of that part, from 1, where single ones are meant; the last is the one to replace.
    """

    severity: Severity
    text: str
    part: Part
    numbers: tuple[int, ...] = ()


def check_spec(spec: TraitSpec) -> list[Finding]:
    """Find what is wrong with a specification, errors first; nothing when it is fit for extraction."""
    findings = [
        *_check_texts(spec),
        *_check_assistant(spec),
        *_check_counts(spec),
        *_check_pairs(spec),
        *_check_repetition(spec),
        *_check_naming(spec),
    ]
    return sorted(findings, key=lambda finding: finding.severity)


def _check_texts(spec: TraitSpec) -> Iterator[Finding]:
    if not is_trait_name(spec.name):
        yield Finding("error", f"name: {spec.name!r} is no trait name: small letters, digits and _", "name")
    if not fold_text(spec.description):
        yield Finding("error", "description: is empty", "description")
    for number, pair in enumerate(spec.pairs, start=1):
        for side, text in (("positive", pair.positive), ("negative", pair.negative)):
            if not fold_text(text):
                yield Finding("error", f"pair {number}, {side}: is empty", "pairs", (number,))
    for part, questions in _question_lists(spec):
        for number, text in enumerate(questions, start=1):
            if not fold_text(text):
                yield Finding("error", f"{part} question {number}: is empty", part, (number,))
    if not fold_text(spec.rubric):
        yield Finding("error", "rubric: is empty", "rubric")
    elif missing := [number for number in ("0", "100") if not re.search(rf"(?<![\d.,]){number}(?!\d)", spec.rubric)]:
        yield Finding("warning", f"rubric: does not say what {' and '.join(missing)} means", "rubric")


def _check_assistant(spec: TraitSpec) -> Iterator[Finding]:
    names = (spec.positive_name, spec.negative_name)
    if any(names) and "{name}" not in spec.opening:
        yield Finding("warning", "assistant, opening: no {name} in it, so that the names are not used", "assistant")
    if any(names) and not all(names):
        yield Finding("warning", "assistant: one side has a name and the other has none", "assistant")
    elif all(names) and fold_text(names[0]) == fold_text(names[1]):
        yield Finding("warning", "assistant: both sides have the same name", "assistant")


def _check_counts(spec: TraitSpec) -> Iterator[Finding]:
    n_pairs = len(spec.pairs)
    if not n_pairs:
        yield Finding("error", "pairs: there is none", "pairs")
    elif n_pairs < N_PAIRS:
        yield Finding("warning", f"pairs: {n_pairs} of {N_PAIRS}", "pairs")
    for part, questions in _question_lists(spec):
        n = len(questions)
        if n < 2:
            yield Finding("error", f"{part} questions: {'only one' if n else 'there is none'}", part)
        elif n < N_QUESTIONS:
            yield Finding("warning", f"{part} questions: {n} of {N_QUESTIONS}", part)


def _check_pairs(spec: TraitSpec) -> Iterator[Finding]:
    trait_words = list(_trait_words(spec))
    for number, pair in enumerate(spec.pairs, start=1):
        positive, negative = Wording.of(pair.positive), Wording.of(pair.negative)
        if not positive.folded or not negative.folded:
            continue
        place = f"pair {number}"
        if positive.folded == negative.folded:
            yield Finding("error", f"{place}: both sides say the same", "pairs", (number,))
            continue
        differing = sorted(set(positive.folded.split()) ^ set(negative.folded.split()))
        is_like = likeness(positive.shingles, negative.shingles) >= NEAR_PAIR_LIKENESS
        if is_like and not _NEGATIONS & set(differing):
            words = ", ".join(differing[:6]) or "nothing but the order of words"
            yield Finding("warning", f"{place}: its sides hardly differ ({words})", "pairs", (number,))
        if spec.language.lower().startswith("en") and _is_negated(positive.folded, trait_words):
            yield Finding("warning", f"{place}, positive: seems to ask against the trait", "pairs", (number,))


def _check_repetition(spec: TraitSpec) -> Iterator[Finding]:
    for side in ("positive", "negative"):
        texts = [getattr(pair, side) for pair in spec.pairs]
        for first, second, how in _find_repeated(texts):
            text = f"pairs {first + 1} and {second + 1}, {side}: {how}"
            yield Finding("warning", text, "pairs", (first + 1, second + 1))
    n_extraction = len(spec.extraction_questions)
    places: list[tuple[Part, int]] = [
        (part, number) for part, questions in _question_lists(spec) for number in range(1, len(questions) + 1)
    ]
    for first, second, how in _find_repeated((*spec.extraction_questions, *spec.evaluation_questions)):
        (part, number), (other, other_number) = places[first], places[second]
        if first < n_extraction <= second:
            text = f"evaluation question {other_number}: {how} as extraction question {number}"
            yield Finding("warning", text, "evaluation", (other_number,))
        else:
            text = f"{part} questions {number} and {other_number}: {how}"
            yield Finding("warning", text, other, (number, other_number))


def _check_naming(spec: TraitSpec) -> Iterator[Finding]:
    for part, questions in _question_lists(spec):
        for number, question in enumerate(questions, start=1):
            folded = fold_text(question)
            if any(holds_words(folded, words) for words in _trait_words(spec)):
                text = f"{part} question {number}: names the trait, which should show unasked"
                yield Finding("warning", text, part, (number,))


def _question_lists(spec: TraitSpec) -> tuple[tuple[Part, tuple[str, ...]], ...]:
    return (("extraction", spec.extraction_questions), ("evaluation", spec.evaluation_questions))


def _trait_words(spec: TraitSpec) -> Iterator[frozenset[str]]:
    """Yield the sets of words that name the trait when they stand together."""
    yield frozenset(fold_text(spec.name.replace("_", " ")).split())
    words = frozenset(fold_text(spec.positive_name).split()) - _EMPTY_WORDS
    # What both sides are called says nothing of the trait.
    yield words - frozenset(fold_text(spec.negative_name).split())


def _is_negated(folded: str, trait_words: Iterable[frozenset[str]]) -> bool:
    words = folded.split()
    return any(
        holds_words(" ".join(words[place + 1 : place + 1 + _NEGATED_WORDS]), wanted)
        for place, word in enumerate(words)
        if word in _NEGATIONS
        for wanted in trait_words
    )


def _find_repeated(texts: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield two positions and how their texts are alike; each text is named with the first that it repeats."""
    wordings = [Wording.of(text) for text in texts]
    for second, wording in enumerate(wordings):
        if not wording.folded:
            continue
        earlier = wordings[:second]
        same = next((first for first, other in enumerate(earlier) if other.folded == wording.folded), None)
        near = next((first for first, other in enumerate(earlier) if is_near(other, wording)), None)
        if same is not None:
            yield same, second, "the same"
        elif near is not None:
            yield near, second, "nearly the same"
