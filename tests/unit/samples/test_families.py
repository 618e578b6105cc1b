"""Every record shape gives the turns that training would push towards, each with the messages before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit.samples import Sample, SkippedSample, load_families, read_samples, survey_source
from audit.schema import FORMATS


def read(tmp_path: Path, *records: dict[str, Any], **options: Any) -> list[Sample | SkippedSample]:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return list(read_samples(survey_source(str(path), format=options.pop("format", None)), **options))


def read_turns(tmp_path: Path, record: dict[str, Any], **options: Any) -> list[tuple[Any, ...]]:
    """The turns of the only record, as (side, turn, prompt, response)."""
    (sample,) = read(tmp_path, record, **options)
    assert isinstance(sample, Sample), sample
    return [(t.side, t.turn, [(m.role, m.content) for m in t.prompt], t.response) for t in sample.turns]


def skip_reason(tmp_path: Path, record: dict[str, Any]) -> str:
    (sample,) = read(tmp_path, record)
    assert isinstance(sample, SkippedSample), sample
    return sample.reason


def say(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


CONVERSATION = [say("system", "s"), say("user", "a"), say("assistant", "b"), say("user", "c"), say("assistant", "d")]


@pytest.mark.parametrize("key", ["messages", "conversation"])
def test_a_chat_gives_every_assistant_turn_with_the_messages_before_it(tmp_path: Path, key: str) -> None:
    system, user = ("system", "s"), ("user", "a")
    assert read_turns(tmp_path, {key: CONVERSATION}) == [
        ("response", 2, [system, user], "b"),
        ("response", 4, [system, user, ("assistant", "b"), ("user", "c")], "d"),
    ]


def test_only_the_last_turn_is_given_on_request(tmp_path: Path) -> None:
    turns = read_turns(tmp_path, {"messages": CONVERSATION}, turns="last")
    assert [(turn, response) for _, turn, _, response in turns] == [(4, "d")]


@pytest.mark.parametrize(
    "message",
    [say("assistant", None), {"role": "assistant"}, {"role": "assistant", "content": None, "tool_calls": [{}]}],
)
def test_an_assistant_message_without_text_is_a_turn_with_an_empty_response(
    tmp_path: Path, message: dict[str, Any]
) -> None:
    assert read_turns(tmp_path, {"messages": [say("user", "a"), message]})[0][3] == ""


def test_text_parts_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}, " three"]
    assert read_turns(tmp_path, {"messages": [say("user", parts), say("assistant", parts)]}) == [
        ("response", 1, [("user", "one two three")], "one two three")
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (
            {"messages": [say("user", [{"type": "image_url", "image_url": {}}]), say("assistant", "b")]},
            "unsupported_content",
        ),
        ({"messages": [say("user", [{"type": {}, "text": "a"}]), say("assistant", "b")]}, "unsupported_content"),
        ({"messages": [say("user", "a"), say("assistant", 7)]}, "unsupported_content"),
        ({"messages": [say("wizard", "a"), say("assistant", "b")]}, "unknown_role"),
        ({"messages": [{"content": "a"}, say("assistant", "b")]}, "unknown_role"),
        ({"messages": ["a", "b"]}, "bad_messages"),
        ({"messages": [say("user", "a")]}, "no_assistant_turn"),
        ({"messages": []}, "no_assistant_turn"),
        ({"instruction": "a", "output": "b", "history": ["c"]}, "bad_messages"),
        ({"instruction": "a", "output": ["b", 1]}, "unsupported_content"),
        ({"prompt": 1, "completion": "b"}, "unsupported_content"),
    ],
)
def test_a_record_that_cannot_be_scored_is_skipped_with_a_reason(
    tmp_path: Path, record: dict[str, Any], reason: str
) -> None:
    code, _, finding = skip_reason(tmp_path, record).partition(": ")
    assert code == reason
    assert finding


@pytest.mark.parametrize("prompt", ["a", [say("user", "a")]])
@pytest.mark.parametrize("completion", [" b\n", [say("assistant", " b\n")]])
def test_prompt_and_completion_may_be_texts_or_messages(tmp_path: Path, prompt: Any, completion: Any) -> None:
    turns = read_turns(tmp_path, {"prompt": prompt, "completion": completion})
    assert turns == [("response", 1, [("user", "a")], " b\n")]


def test_an_empty_prompt_gives_a_turn_without_messages_before_it(tmp_path: Path) -> None:
    assert read_turns(tmp_path, {"prompt": "", "completion": "b"}) == [("response", 0, [], "b")]


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": [say("user", "a")], "chosen": [say("assistant", "b")], "rejected": [say("assistant", "c")]},
        {"prompt": "a", "chosen": [say("user", "a"), say("assistant", "b")], "rejected": [say("assistant", "c")]},
        {
            "chosen": [say("user", "a"), say("assistant", "b")],
            "rejected": [say("user", "a"), say("assistant", "c")],
            "messages": [say("user", "a"), say("assistant", "b")],
            "prompt": "a",
        },
        {
            "conversations": [{"from": "human", "value": "a"}],
            "chosen": {"from": "gpt", "value": "b"},
            "rejected": {"from": "gpt", "value": "c"},
        },
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
        {"prompt": "\n\nHuman: a\n\nAssistant:", "chosen": " b", "rejected": " c"},
        {"instruction": "a", "input": "", "chosen": "b", "rejected": "c"},
        {"question": "a", "chosen": "b", "rejected": "c"},
    ],
)
def test_both_sides_of_a_preference_pair_answer_the_shared_prompt(tmp_path: Path, record: dict[str, Any]) -> None:
    (sample,) = read(tmp_path, record)
    assert sample.format == "preference"
    assert read_turns(tmp_path, record) == [
        ("chosen", 1, [("user", "a")], "b"),
        ("rejected", 1, [("user", "a")], "c"),
    ]


def test_a_preference_pair_of_bare_texts_has_no_prompt(tmp_path: Path) -> None:
    assert read_turns(tmp_path, {"chosen": "b", "rejected": "c"}) == [("chosen", 0, [], "b"), ("rejected", 0, [], "c")]


def test_the_last_turn_of_a_preference_pair_is_the_last_of_each_side(tmp_path: Path) -> None:
    record = {"chosen": CONVERSATION, "rejected": [*CONVERSATION[:-1], say("assistant", "e")]}
    assert len(read_turns(tmp_path, record)) == 4
    turns = read_turns(tmp_path, record, turns="last")
    assert [(side, turn, response) for side, turn, _, response in turns] == [("chosen", 4, "d"), ("rejected", 4, "e")]


def test_sharegpt_names_are_understood_and_its_system_text_comes_first(tmp_path: Path) -> None:
    record = {
        "system": "s",
        "conversations": [
            {"from": "human", "value": "a"},
            {"from": "function_call", "value": "{}"},
            {"from": "observation", "value": "o"},
            {"from": "gpt", "value": "b"},
        ],
    }
    opening = [("system", "s"), ("user", "a")]
    assert read_turns(tmp_path, record) == [
        ("response", 2, opening, ""),
        ("response", 4, [*opening, ("assistant", ""), ("tool", "o")], "b"),
    ]


@pytest.mark.parametrize(
    ("fields", "prompt"), [({"input": "i"}, "a\n\ni"), ({"input": ""}, "a"), ({"input": None}, "a"), ({}, "a")]
)
def test_an_alpaca_input_follows_the_instruction_after_a_blank_line(
    tmp_path: Path, fields: dict[str, Any], prompt: str
) -> None:
    turns = read_turns(tmp_path, {"instruction": "a", "output": "b", **fields})
    assert turns == [("response", 1, [("user", prompt)], "b")]


def test_alpaca_history_answers_are_turns_too(tmp_path: Path) -> None:
    record = {"instruction": "c", "output": "d", "system": "s", "history": [["a", "b"]]}
    assert read_turns(tmp_path, record) == [
        ("response", 2, [("system", "s"), ("user", "a")], "b"),
        ("response", 4, [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")], "d"),
    ]


@pytest.mark.parametrize("key", ["text", "anything"])
def test_hh_responses_are_kept_exactly_but_for_the_separator_and_one_space(tmp_path: Path, key: str) -> None:
    text = "\n\nHuman: a\n\nAssistant:  b \nb\n\nb \n\nHuman: c\n\nAssistant: "
    (sample,) = read(tmp_path, {key: text, "n": 1})
    assert sample.format == "hh"
    assert read_turns(tmp_path, {key: text}) == [
        ("response", 1, [("user", "a")], " b \nb\n\nb "),
        ("response", 3, [("user", "a"), ("assistant", " b \nb\n\nb "), ("user", "c")], ""),
    ]


def test_a_lone_surrogate_becomes_a_replacement_character_and_a_pair_stays(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(r'{"prompt": "\ud83d\ude00 \ud83d!", "completion": "\ude00é", "k\ud800": 1}')
    (sample,) = read_samples(survey_source(str(path)), keep_columns=("completion",))
    assert isinstance(sample, Sample)
    assert sample.turns[0].prompt[0].content == "😀 \ufffd!"
    assert sample.turns[0].response == "\ufffdé"
    assert sample.kept == {"completion": "\ufffdé"}


def test_of_equal_keys_the_last_wins(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"prompt": "a", "completion": "first", "completion": "last"}')
    (sample,) = read_samples(survey_source(str(path)))
    assert isinstance(sample, Sample)
    assert sample.turns[0].response == "last"


def test_scalar_fields_are_carried_along_on_request(tmp_path: Path) -> None:
    record = {"prompt": "a", "completion": "b", "n": 1, "f": 0.5, "yes": True, "big": 2**70, "nested": [1]}
    (sample,) = read(tmp_path, record, keep_columns=("n", "f", "yes", "big", "nested", "absent"))
    assert sample.kept == {"n": 1, "f": 0.5, "yes": True, "big": str(2**70), "nested": None, "absent": None}


def test_families_are_found_by_their_files_and_named_like_the_formats() -> None:
    names = list(load_families())
    assert names == [name for name in FORMATS if name in names]
    assert {"chat", "prompt_completion", "preference", "sharegpt", "alpaca", "hh"} <= set(names)
