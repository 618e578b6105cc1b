"""What a judge is shown: the conversation with its roles, held short with the place of the cut said."""

from __future__ import annotations

from audit.opinions.question import MOST_CHARS, shorten_answer, write_question
from audit.samples import Message


def test_one_question_stands_as_it_is_and_a_conversation_with_its_roles() -> None:
    assert write_question([Message("user", "Why?")]) == "Why?"
    talk = [Message("system", "Be kind."), Message("user", "A?"), Message("assistant", "B."), Message("user", "C?")]
    assert write_question(talk) == "system: Be kind.\n\nuser: A?\n\nassistant: B.\n\nuser: C?"
    assert write_question(talk, has_context=False) == "C?"
    assert write_question([]) == write_question([], has_context=False) == ""
    assert write_question([Message("system", "Be kind.")]) == "system: Be kind."


def test_of_what_is_too_long_the_end_of_the_talk_and_both_ends_of_the_answer_stay() -> None:
    text = write_question([Message("user", "x" * MOST_CHARS + "the end")])
    assert text.startswith("[7 characters left out]\n")
    assert text.endswith("the end")
    answer = shorten_answer("start" + "x" * MOST_CHARS + "end")
    assert answer.startswith("start")
    assert answer.endswith("end")
    assert "[8 characters left out]" in answer
    assert shorten_answer("short") == "short"
