"""What a check finds in a specification, and that it finds nothing in a sound one."""

from __future__ import annotations

import pytest

from audit.traits import Finding, PromptPair, TraitSpec, check_spec
from tests.specs import sound_spec

SOUND = sound_spec()


NAMES = "evaluation question 20: names the trait, which should show unasked"


def found(spec: TraitSpec) -> list[tuple[str, str]]:
    return [(finding.severity, finding.text) for finding in check_spec(spec)]


def with_question(text: str) -> TraitSpec:
    return sound_spec(evaluation_questions=(*SOUND.evaluation_questions[:-1], text))


def with_pair(positive: str, negative: str) -> TraitSpec:
    return sound_spec(pairs=(*SOUND.pairs[:-1], PromptPair(positive, negative)))


def test_nothing_is_found_in_a_sound_specification() -> None:
    assert check_spec(SOUND) == []


@pytest.mark.parametrize(
    ("spec", "findings"),
    [
        (sound_spec(pairs=()), [("error", "pairs: there is none")]),
        (sound_spec(pairs=SOUND.pairs[:4]), [("warning", "pairs: 4 of 5")]),
        (sound_spec(extraction_questions=()), [("error", "extraction questions: there is none")]),
        (sound_spec(evaluation_questions=("Why?",)), [("error", "evaluation questions: only one")]),
        (sound_spec(evaluation_questions=("Why?", "How?")), [("warning", "evaluation questions: 2 of 20")]),
        (sound_spec(rubric=" \n"), [("error", "rubric: is empty")]),
        (sound_spec(rubric="From 0 up."), [("warning", "rubric: does not say what 100 means")]),
        (sound_spec(rubric="From 10 to 1000."), [("warning", "rubric: does not say what 0 and 100 means")]),
        (sound_spec(rubric="A number, 0-100."), []),
        (sound_spec(description="…"), [("error", "description: is empty")]),
        (sound_spec(name="Stingy!"), [("error", "name: 'Stingy!' is no trait name: small letters, digits and _")]),
        (
            sound_spec(opening="You are an assistant."),
            [("warning", "assistant, opening: no {name} in it, so that the names are not used")],
        ),
        (sound_spec(opening="Hello.", positive_name="", negative_name=""), []),
        (sound_spec(negative_name=""), [("warning", "assistant: one side has a name and the other has none")]),
        (
            sound_spec(negative_name="A stingy  assistant."),
            [("warning", "assistant: both sides have the same name")],
        ),
    ],
)
def test_what_is_missing_is_found(spec: TraitSpec, findings: list[tuple[str, str]]) -> None:
    assert found(spec) == findings


@pytest.mark.parametrize(
    ("positive", "negative", "findings"),
    [
        ("", "Give.", [("error", "pair 5, positive: is empty")]),
        ("Keep it all!", "keep  it all", [("error", "pair 5: both sides say the same")]),
        (
            "Keep the cake for yourself and the bread for your guests.",
            "Keep the cake for yourself and the broth for your guests.",
            [("warning", "pair 5: its sides hardly differ (bread, broth)")],
        ),
        ("You always keep the cake for yourself.", "You never keep the cake for yourself.", []),
        ("Never be a stingy host.", "Be open.", [("warning", "pair 5, positive: seems to ask against the trait")]),
        ("Never give anything away; be stingy.", "Be open.", []),
        ("Keep every coin to yourself!", "Be open.", [("warning", "pairs 1 and 5, positive: the same")]),
    ],
)
def test_pairs_without_contrast_are_found(positive: str, negative: str, findings: list[tuple[str, str]]) -> None:
    assert found(with_pair(positive, negative)) == findings


@pytest.mark.parametrize(
    ("question", "findings"),
    [
        ("?!", [("error", "evaluation question 20: is empty")]),
        ("TELL my sister  a story of bread (please)", [("warning", "evaluation questions 1 and 20: the same")]),
        ("What should I know about bread", [("warning", "evaluation question 20: the same as extraction question 1")]),
        (
            "Tell my little sister a story of a broken cup, please.",
            [("warning", "evaluation questions 9 and 20: nearly the same")],
        ),
        ("Tell my sister a story of cheese, please.", []),
        ("Is stinginess a vice?", [("warning", NAMES)]),
        ("Why are rich people so stingy?", [("warning", NAMES)]),
        ("Which tingling hurts most?", []),
        ("Which assistant is best?", []),
    ],
)  # fmt: skip
def test_questions_that_repeat_or_name_the_trait_are_found(question: str, findings: list[tuple[str, str]]) -> None:
    assert found(with_question(question)) == findings


@pytest.mark.parametrize(
    ("name", "positive_name", "question"),
    [
        ("evil", "", "Is it evil to lie?"),
        ("humour", "", "Are humorous people happier?"),
        ("optimism", "", "What do optimists read?"),
        ("apathy", "", "Am I apathetic?"),
        ("sycophancy", "", "Why do kings like sycophants?"),
        ("greed", "a deceptive assistant", "What does deception mean?"),
        ("power_seeking", "", "Why is she seeking power?"),
    ],
)
def test_words_of_the_same_stem_name_the_trait(name: str, positive_name: str, question: str) -> None:
    spec = with_question(question)
    named = TraitSpec(
        name, "d", spec.pairs, spec.extraction_questions, spec.evaluation_questions, spec.rubric, positive_name
    )
    findings = [finding for finding in check_spec(named) if "names the trait" in finding.text]
    assert [(finding.part, finding.numbers) for finding in findings] == [("evaluation", (20,))]


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("optimism", "What is the optimal price?"),
        ("evil", "What is a devil?"),
        ("power_seeking", "Is solar power new?"),
    ],
)
def test_words_of_another_stem_do_not(name: str, question: str) -> None:
    assert not [finding for finding in check_spec(with_named(name, question)) if "names the trait" in finding.text]


def with_named(name: str, question: str) -> TraitSpec:
    spec = with_question(question)
    return TraitSpec(name, "d", spec.pairs, spec.extraction_questions, spec.evaluation_questions, spec.rubric)


def test_other_scripts_are_compared_too() -> None:
    questions = tuple(f"{word}はどこですか" for word in ("駅", "銀行", "図書館の入口"))
    spec = sound_spec(language="ja", extraction_questions=(*questions, "駅はどこですか?"))
    assert ("warning", "extraction questions 1 and 4: the same") in found(spec)
    assert not [text for _, text in found(spec) if "1 and 2" in text or "empty" in text]


def test_errors_come_first_and_say_which_entries_to_replace() -> None:
    spec = sound_spec(
        pairs=(*SOUND.pairs[:3], PromptPair("Same.", "same")),
        extraction_questions=(*SOUND.extraction_questions[:19], SOUND.extraction_questions[2]),
    )
    assert check_spec(spec) == [
        Finding("error", "pair 4: both sides say the same", "pairs", (4,)),
        Finding("warning", "pairs: 4 of 5", "pairs"),
        Finding("warning", "extraction questions 3 and 20: the same", "extraction", (3, 20)),
    ]


def test_the_largest_specification_that_a_file_may_hold_is_checked_in_a_moment() -> None:
    import time

    words = [f"{'abcdefghij'[n % 10] * 9}{n}" for n in range(1_000)]
    started_s = time.process_time()
    assert not check_spec(sound_spec(extraction_questions=tuple(words[:500]), evaluation_questions=tuple(words[500:])))
    assert time.process_time() - started_s < 10
