"""Reasoning and answer are told apart wherever a dataset keeps them, and what only mentions the tags is left whole."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit.samples import Message, join_parts, read_parts, replace_part
from audit.samples.reasoning import split_parts


def parts(content: str, reasoning: str = "") -> dict[str, str]:
    return read_parts(Message("assistant", content, reasoning=reasoning))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Hello.", {"answer": "Hello."}),
        ("", {"answer": ""}),
        ("<think>plan</think>Hello.", {"reasoning": "plan", "answer": "Hello."}),
        ("\n<think>\nplan\n</think>\n\nHello.\n", {"reasoning": "\nplan\n", "answer": "Hello.\n"}),
        ("plan\n</think>\n\nHello.", {"reasoning": "plan\n", "answer": "Hello."}),
        ("<think>\n\n</think>\n\nHello.", {"answer": "Hello."}),
        ("<think>plan</think>", {"reasoning": "plan", "answer": ""}),
        ("<think>a plan without an end", {"reasoning": "a plan without an end", "answer": ""}),
        ("<think>  ", {"answer": ""}),
        ("<think>a</think>b</think>c", {"reasoning": "a", "answer": "b</think>c"}),
        ("Write <think> and then </think>.", {"answer": "Write <think> and then </think>."}),
        ("a</think>b</think>c", {"answer": "a</think>b</think>c"}),
        ("I would <think> about it", {"answer": "I would <think> about it"}),
    ],
)
def test_a_think_block_before_the_answer_is_reasoning(content: str, expected: dict[str, str]) -> None:
    assert parts(content) == expected


def test_reasoning_in_a_field_of_its_own_leaves_the_content_alone() -> None:
    assert parts("<think>x</think>y", reasoning="plan") == {"reasoning": "plan", "answer": "<think>x</think>y"}
    assert parts("Hello.", reasoning="  ") == {"answer": "Hello."}


def test_reasoning_that_a_record_holds_twice_is_no_part_of_the_answer() -> None:
    assert parts("<think>\nplan</think>\nHello.", reasoning="plan") == {"reasoning": "plan", "answer": "Hello."}


def test_a_message_joined_as_a_model_writes_it_has_the_same_parts() -> None:
    joined = join_parts(Message("assistant", "Hello.", reasoning="plan"))
    assert parts(joined) == {"reasoning": "\nplan\n", "answer": "Hello."}


pieces = st.lists(st.sampled_from(["<think>", "</think>", " ", "\n", "a", "b", "é"]), max_size=8).map("".join)


@given(content=pieces, reasoning=st.just("") | pieces)
@example(content="a a </think>", reasoning="a a")
def test_a_part_can_be_replaced_and_replaced_back(content: str, reasoning: str) -> None:
    message = Message("assistant", content, reasoning=reasoning)
    found = read_parts(message)
    assert "answer" in found
    for part, text in found.items():
        if not text.strip():
            continue  # nothing to find in a rendering
        marked = replace_part(message, part, "MARK")
        assert read_parts(marked)[part] == "MARK"
        assert replace_part(message, part, text) == message


@given(content=pieces)
def test_reasoning_kept_apart_leaves_the_same_answer(content: str) -> None:
    message = Message("assistant", content)
    apart = split_parts(message)
    if "think>" in read_parts(message)["answer"]:
        return  # an answer that opens with such a block again could be either
    assert read_parts(apart)["answer"] == read_parts(message)["answer"] or apart == message
    assert read_parts(apart).get("reasoning", "").strip() == read_parts(message).get("reasoning", "").strip()
