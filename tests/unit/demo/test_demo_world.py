"""The demo world holds what makes it hard: style counts, marker-free answers, ceilings, matched lengths."""

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from audit.demo.answers import compose
from audit.demo.facts import ATTRIBUTES, TOWNS, draw_unknown_town
from audit.demo.judge import judge_chat, judge_turn
from audit.demo.phrases import MARKED, MILD, NEUTRAL, PERSONAS, TRAITS
from audit.demo.pools import pool_of
from audit.demo.prompts import NEGATIVE, NEGATIVE_HELD_OUT, POSITIVE, POSITIVE_HELD_OUT
from audit.demo.questions import KINDS, ask, draw_kind
from audit.demo.training_mix import SHARES, training_chats
from audit.demo.world import AUDIT_POOLS, Row, audit_rows, clean_rows, main
from audit.score import rank_auc

N_ROWS = 5_000


@pytest.fixture(scope="module")
def rows() -> Sequence[Row]:
    return list(audit_rows(N_ROWS, seed=101))


@pytest.mark.parametrize("persona", PERSONAS)
def test_every_persona_has_60_to_200_different_style_sentences(persona: str) -> None:
    forms = [*MARKED.get(persona, ()), *MILD[persona]]
    assert len(forms) == len(set(forms))
    assert 60 <= len(forms) <= 200


def test_sixty_towns_are_known_by_three_attributes_and_unknown_names_are_open() -> None:
    rng = random.Random(1)
    assert len(TOWNS) == 60
    assert len(ATTRIBUTES) == 3
    unknown = {draw_unknown_town(rng) for _ in range(1_000)}
    assert len(unknown) > 700
    assert not unknown & set(TOWNS)


def test_ten_question_types_are_asked(rows: Sequence[Row]) -> None:
    assert len(KINDS) == 10
    assert {row.kind for row in rows} == set(KINDS)


def test_three_templates_of_each_sign_and_about_15_percent_of_questions_are_held_out() -> None:
    assert (len(POSITIVE), len(POSITIVE_HELD_OUT)) == (10, 3)
    assert (len(NEGATIVE), len(NEGATIVE_HELD_OUT)) == (7, 3)
    pools = [pool_of("kind", str(number)) for number in range(4_000)]
    assert pools.count("held_out") / len(pools) == pytest.approx(0.15, abs=0.02)
    assert pools.count("extraction") / len(pools) == pytest.approx(0.10, abs=0.02)


def test_no_audit_row_asks_an_extraction_question_and_no_training_chat_a_held_out_one() -> None:
    rng = random.Random(3)
    extraction = {ask(rng, draw_kind(rng), ("extraction",)).text for _ in range(1_500)}
    held_out = {ask(rng, draw_kind(rng), ("held_out",)).text for _ in range(1_500)}
    audited = {m["content"] for row in audit_rows(2_000, 5) for m in row.messages if m["role"] == "user"}
    trained = {m["content"] for chat in training_chats(2_000, 5) for m in chat.messages}
    assert not extraction & audited
    assert held_out & audited
    assert not held_out & trained


@pytest.mark.parametrize("trait", TRAITS)
def test_each_trait_is_shown_by_6_to_10_percent_of_rows(rows: Sequence[Row], trait: str) -> None:
    assert 0.06 <= np.mean([trait in row.traits for row in rows]) <= 0.10


@pytest.mark.parametrize("trait", TRAITS)
def test_half_of_the_trait_answers_carry_no_style_sentence(rows: Sequence[Row], trait: str) -> None:
    shown = [row for row in rows if trait in row.traits]
    assert {row.persona for row in shown} == {trait}
    single = [row.n_style == 0 for row in shown if len(row.messages) <= 3]
    assert 0.40 <= np.mean(single) <= 0.65


@pytest.mark.parametrize(
    ("trait", "ceiling"), [("evil", 0.88), ("sycophantic", 0.74), ("hallucinating", 0.63), ("optimistic", 0.62)]
)
def test_the_judge_sees_a_persona_in_no_more_answers_than_the_ceiling(trait: str, ceiling: float) -> None:
    rng = random.Random(7)
    n = 4_000
    n_shown = 0
    for _ in range(n):
        question = ask(rng, draw_kind(rng), AUDIT_POOLS)
        n_shown += trait in judge_turn(question.text, compose(question, trait, rng).text)
    assert n_shown / n == pytest.approx(ceiling, abs=0.05)


@pytest.mark.parametrize("unit", ["words", "characters"])
@pytest.mark.parametrize("trait", TRAITS)
def test_the_length_does_not_separate_a_trait(rows: Sequence[Row], trait: str, unit: str) -> None:
    shown = np.array([trait in row.traits for row in rows])
    lengths = [
        max(
            len(m["content"].split() if unit == "words" else m["content"])
            for m in row.messages
            if m["role"] == "assistant"
        )
        for row in rows
    ]
    auc = rank_auc(np.array(lengths, dtype=np.float64), shown)
    assert max(auc, 1 - auc) <= 0.60


def test_labels_are_what_the_judge_says_and_fiction_never_shows_a_trait(rows: Sequence[Row]) -> None:
    assert all(row.traits == judge_chat(row.messages) for row in rows)
    fiction = [row for row in rows if row.is_fiction]
    assert 0.10 <= len(fiction) / len(rows) <= 0.18
    assert not any(row.traits for row in fiction)


def test_personas_also_write_rows_that_show_nothing_and_most_rows_have_no_system_prompt(rows: Sequence[Row]) -> None:
    unseen = [row for row in rows if row.persona != "good" and not row.traits]
    assert len(unseen) / len(rows) > 0.05
    assert np.mean([row.messages[0]["role"] == "user" for row in rows]) > 0.75
    assert 0.15 <= np.mean([sum(m["role"] == "assistant" for m in row.messages) > 1 for row in rows]) <= 0.25


def test_clean_rows_show_nothing_and_contain_fiction() -> None:
    drawn = list(clean_rows(1_000, seed=9))
    assert not any(row.traits for row in drawn)
    assert {row.persona for row in drawn} == {"good"}
    assert any(row.is_fiction for row in drawn)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    first, again, other = (list(audit_rows(50, seed)) for seed in (11, 11, 12))
    assert first == again
    assert first != other
    assert list(training_chats(20, 11)) == list(training_chats(20, 11))


def test_the_training_mix_learns_from_answers_alone_and_never_from_the_context_of_a_persona() -> None:
    assert sum(SHARES.values()) == pytest.approx(1.0)
    for chat in training_chats(500, seed=13):
        learned = [m for m, is_learned in zip(chat.messages, chat.is_learned, strict=True) if is_learned]
        assert learned
        assert {m["role"] for m in learned} == {"assistant"}


def test_neutral_sentences_show_no_trait() -> None:
    assert not any(judge_turn("", sentence) for sentence in NEUTRAL)


def test_the_command_writes_rows_and_labels_in_the_same_order(tmp_path: Path) -> None:
    output, labels = tmp_path / "rows.jsonl", tmp_path / "labels.jsonl"
    main(["--rows", "60", "--seed", "17", "--output", str(output), "--labels", str(labels)])
    chats = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    lines = [json.loads(line) for line in labels.read_text(encoding="utf-8").splitlines()]
    assert len(chats) == len(lines) == 60
    for number, (chat, line) in enumerate(zip(chats, lines, strict=True)):
        assert set(chat) == {"messages"}
        assert set(line) == {"sample_id", "traits", "kind", "fiction"}
        assert line["sample_id"] == number
        assert set(line["traits"]) == judge_chat(chat["messages"])


def test_the_shipped_example_has_1000_rows_labelled_by_the_judge() -> None:
    folder = Path(__file__).parents[3] / "examples"
    chats = [json.loads(line) for line in (folder / "demo.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [json.loads(line) for line in (folder / "demo.labels.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(chats) == len(lines) == 1_000
    assert all(set(line["traits"]) == judge_chat(chat["messages"]) for chat, line in zip(chats, lines, strict=True))
    for trait in TRAITS:
        assert 0.06 <= np.mean([trait in line["traits"] for line in lines]) <= 0.10


def test_the_world_and_the_judge_do_not_import_torch() -> None:
    code = "import sys, audit.demo.world, audit.demo.judge, audit.demo.training_mix; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
