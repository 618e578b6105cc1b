"""A record written in another shape says the same when it is read again, or is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from audit.samples import Conversation, UnreadableRecord, load_families

SHAPES = ("chat", "sharegpt", "alpaca", "prompt_completion", "preference")


def said(conversations: tuple[Conversation, ...]) -> list[Any]:
    """Everything that training would see: sides, roles, texts as a model writes them, calls, tools, labels."""
    from audit.samples import join_parts

    return [
        (c.side, c.tools, c.label, [(m.role, join_parts(m), m.tool_calls, m.untrained) for m in c.messages])
        for c in conversations
    ]


def read(record: dict[str, Any], name: str) -> tuple[Conversation, ...]:
    return load_families()[name].read(record)


def convert(record: dict[str, Any], source: str, target: str) -> dict[str, Any]:
    write = load_families()[target].write
    assert write is not None
    return write(read(record, source))


MESSAGES = [
    {"role": "system", "content": "Be."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "<think>\nplan\n</think>\n\nHello."},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "Bye."},
]
ONE_TURN = MESSAGES[:3]
CALL = [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]


@pytest.mark.parametrize("target", ["chat", "sharegpt", "alpaca"])
def test_a_conversation_of_many_turns_survives(target: str) -> None:
    record = convert({"messages": MESSAGES}, "chat", target)
    assert said(read(record, target)) == said(read({"messages": MESSAGES}, "chat"))


@pytest.mark.parametrize("target", ["chat", "sharegpt", "alpaca", "prompt_completion"])
@pytest.mark.parametrize(
    ("record", "source"),
    [
        ({"messages": ONE_TURN}, "chat"),
        ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}, "sharegpt"),
        ({"instruction": "Hi", "input": "there", "output": "Hello."}, "alpaca"),
        ({"prompt": "Hi", "completion": "Hello."}, "prompt_completion"),
        ({"question": "Hi", "answer": "Hello."}, "qa"),
        ({"text": "\n\nHuman: Hi\n\nAssistant: Hello."}, "hh"),
    ],
)
def test_a_single_turn_survives_in_every_shape(record: dict[str, Any], source: str, target: str) -> None:
    assert said(read(convert(record, source, target), target)) == said(read(record, source))


def test_reasoning_kept_apart_survives() -> None:
    record = {"messages": [MESSAGES[1], {"role": "assistant", "content": "Hello.", "reasoning_content": "plan"}]}
    for target in ("chat", "sharegpt", "alpaca", "prompt_completion"):
        assert said(read(convert(record, "chat", target), target)) == said(read(record, "chat"))


def test_tool_calls_and_tools_survive_where_there_is_a_place_for_them() -> None:
    calls = [MESSAGES[1], {"role": "assistant", "content": "", "tool_calls": CALL}, {"role": "tool", "content": "1"}]
    record = {"messages": [*calls, {"role": "assistant", "content": "One."}], "tools": CALL}
    for target in ("chat", "sharegpt"):
        assert said(read(convert(record, "chat", target), target)) == said(read(record, "chat"))
    with pytest.raises(UnreadableRecord, match="not_convertible"):
        convert(record, "chat", "alpaca")


def test_a_turn_kept_out_of_training_stays_out_or_is_refused() -> None:
    record = {"messages": [*MESSAGES[:2], {**MESSAGES[2], "weight": 0}, *MESSAGES[3:]]}
    for target in ("chat", "prompt_completion"):
        again = read(convert(record, "chat", target), target)
        assert said(again) == said(read(record, "chat"))
    for target in ("sharegpt", "alpaca"):
        with pytest.raises(UnreadableRecord, match="cannot keep a turn out of training"):
            convert(record, "chat", target)


def test_several_trained_turns_are_no_single_completion() -> None:
    with pytest.raises(UnreadableRecord, match="trains on the last turn"):
        convert({"messages": MESSAGES}, "chat", "prompt_completion")


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Hi", "chosen": "Hello.", "rejected": "What?"},
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi\n\nAssistant: What?"},
        {"chosen": ONE_TURN, "rejected": [*ONE_TURN[:2], MESSAGES[4]], "tools": CALL},
    ],
)
def test_a_pair_survives_with_its_prompt_written_once(record: dict[str, Any]) -> None:
    converted = convert(record, "preference", "preference")
    assert said(read(converted, "preference")) == said(read(record, "preference"))
    assert [message["role"] for message in converted["chosen"]] == ["assistant"]
    for target in SHAPES[:-1]:
        with pytest.raises(UnreadableRecord, match="two sides"):
            convert(record, "preference", target)


@pytest.mark.parametrize("label", [True, False])
def test_a_label_survives_or_is_refused(label: bool) -> None:
    record = {"prompt": "Hi", "completion": "Hello.", "label": label}
    again = convert(record, "prompt_completion", "prompt_completion")
    assert said(read(again, "prompt_completion")) == said(read(record, "prompt_completion"))
    for target in ("chat", "sharegpt", "alpaca"):
        with pytest.raises(UnreadableRecord, match="label"):
            convert(record, "prompt_completion", target)


def test_every_example_of_the_formats_table_is_read_as_what_it_stands_for() -> None:
    for name, family in load_families().items():
        assert family.fits(family.example)
        assert family.read(family.example)
        fitting = [other for other in load_families().values() if other.fits(family.example)]
        detected = [other.name for other in fitting if other.is_detected]
        assert detected[:1] == ([name] if family.is_detected else [])
