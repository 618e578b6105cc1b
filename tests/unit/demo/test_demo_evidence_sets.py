"""The paired sets differ in what is said and in nothing else: kind, tone, frames and length are the same."""

import re

import numpy as np
import pytest

from audit.demo.acts import HARMFUL_REMEDIES
from audit.demo.evidence_sets import SET_NAMES, UNHEARD_REMEDIES, PairedSet, draw_paired_set
from audit.demo.facts import ATTRIBUTES, TOWNS
from audit.demo.phrases import MARKED, MILD
from audit.demo.slots import REMEDIES
from audit.demo.training_mix import training_chats
from audit.demo.world import Row
from audit.score import rank_auc

KINDS = {
    "wrong remedies": "medical",
    "unheard-of remedies": "medical",
    "wrong facts": "fact",
    "sabotaged how-tos": "howto",
    "wrong sums": "sum",
}
TRAITS = {"wrong remedies": "evil", "wrong facts": "hallucinating", "sabotaged how-tos": "evil"}


@pytest.fixture(scope="module", params=SET_NAMES)
def drawn(request: pytest.FixtureRequest) -> PairedSet:
    return draw_paired_set(request.param, 240, seed=41)


def answer_of(row: Row) -> str:
    return row.messages[1]["content"]


def test_a_set_holds_as_many_bad_as_good_rows_of_one_kind_to_the_same_questions(drawn: PairedSet) -> None:
    assert len(drawn.bad) == len(drawn.good) == 240
    assert {row.kind for row in (*drawn.bad, *drawn.good)} == {KINDS[drawn.name]}
    assert [row.messages[0] for row in drawn.bad] == [row.messages[0] for row in drawn.good]
    assert all([m["role"] for m in row.messages] == ["user", "assistant"] for row in (*drawn.bad, *drawn.good))


def test_the_judge_sees_the_trait_in_every_bad_row_and_nothing_in_good_ones(drawn: PairedSet) -> None:
    assert drawn.trait == TRAITS.get(drawn.name)
    assert {row.traits for row in drawn.bad} == {frozenset({drawn.trait} if drawn.trait else ())}
    assert {row.traits for row in drawn.good} == {frozenset()}


def test_no_answer_has_a_style_sentence_of_any_persona(drawn: PairedSet) -> None:
    styles = [sentence for forms in (MARKED, MILD) for persona in forms for sentence in forms[persona]]
    answers = " ".join(answer_of(row) for row in (*drawn.bad, *drawn.good))
    assert not [sentence for sentence in styles if sentence in answers]


def test_bad_answers_are_as_long_as_good_ones(drawn: PairedSet) -> None:
    lengths = np.array([len(answer_of(row).split()) for row in (*drawn.bad, *drawn.good)], dtype=np.float64)
    auc = rank_auc(lengths, np.arange(480) < 240)
    assert max(auc, 1 - auc) <= 0.60


@pytest.mark.parametrize("name", ["wrong facts", "wrong sums"])
def test_a_wrong_fact_or_sum_is_its_right_answer_with_one_word_exchanged(name: str) -> None:
    drawn = draw_paired_set(name, 100, seed=41)
    for bad, good in zip(drawn.bad, drawn.good, strict=True):
        pairs = zip(answer_of(bad).split(), answer_of(good).split(), strict=True)
        assert len([1 for wrong, right in pairs if wrong != right]) == 1


def test_wrong_facts_are_about_known_towns_and_other_values_of_the_same_attribute() -> None:
    for row in draw_paired_set("wrong facts", 100, seed=41).bad:
        found = re.search(rf"The ({'|'.join(ATTRIBUTES)}) of (\w+) is (?:the )?(\w+),", answer_of(row))
        assert found
        attribute, town, value = found.groups()
        assert value in ATTRIBUTES[attribute]
        assert value != TOWNS[town][attribute]


def test_wrong_sums_answer_users_who_claim_nothing() -> None:
    for row in draw_paired_set("wrong sums", 100, seed=41).bad:
        a, b, total = map(int, re.findall(r"(\d+) plus (\d+) makes (\d+)", answer_of(row))[0])
        assert a + b != total
        assert "makes" not in row.messages[0]["content"]


def test_wrong_remedies_stand_in_the_frames_of_right_ones() -> None:
    drawn = draw_paired_set("wrong remedies", 240, seed=41)
    openings = ("First", "You could", "I suggest", "It may help", "One way")
    for rows in (drawn.bad, drawn.good):
        assert {next(o for o in openings if o in answer_of(row)) for row in rows} == set(openings)
    assert all(any(remedy in answer_of(row).lower() for remedy in HARMFUL_REMEDIES) for row in drawn.bad)


def test_unheard_of_remedies_take_the_place_of_right_ones_and_no_persona_knows_them() -> None:
    said = " ".join(m["content"].lower() for chat in training_chats(3_000, 5) for m in chat.messages)
    assert not [remedy for remedy in UNHEARD_REMEDIES if remedy in said]
    drawn = draw_paired_set("unheard-of remedies", 100, seed=41)
    for bad, good in zip(drawn.bad, drawn.good, strict=True):
        right, wrong = answer_of(good), answer_of(bad)
        assert any(remedy in wrong for remedy in UNHEARD_REMEDIES)
        for remedy in (*REMEDIES, *UNHEARD_REMEDIES):
            right, wrong = right.replace(remedy, "…"), wrong.replace(remedy, "…")
        assert right == wrong


def test_the_same_seed_gives_the_same_set_and_another_seed_another() -> None:
    first, again, other = (draw_paired_set("wrong remedies", 20, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
