"""What a record says about its turns – reasoning, tools, weights, labels – reaches the turns that are scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit.samples import Sample, SkippedSample, Turn, read_samples, survey_source


def read(tmp_path: Path, record: dict[str, Any], **options: Any) -> Sample | SkippedSample:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(record) + "\n")
    (sample,) = read_samples(survey_source(str(path), **options))
    return sample


def turns(tmp_path: Path, record: dict[str, Any], **options: Any) -> tuple[Turn, ...]:
    sample = read(tmp_path, record, **options)
    assert isinstance(sample, Sample), sample
    return sample.turns


def chat(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi"}, *messages], **fields}


def say(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_kept_in_a_field_is_a_part_of_its_own(tmp_path: Path, key: str) -> None:
    found = turns(tmp_path, chat(say("Hello.", **{key: "plan"})))
    parts = [(turn.turn, turn.part, turn.response) for turn in found]
    assert parts == [(1, "reasoning", "plan"), (1, "answer", "Hello.")]


def test_reasoning_in_the_content_is_a_part_of_its_own(tmp_path: Path) -> None:
    found = turns(tmp_path, chat(say("<think>plan</think>Hello.")))
    assert [(turn.part, turn.response) for turn in found] == [("reasoning", "plan"), ("answer", "Hello.")]
    assert all(turn.message.content == "<think>plan</think>Hello." for turn in found)


def test_reasoning_among_content_parts_is_a_part_of_its_own(tmp_path: Path) -> None:
    content = [{"type": "thinking", "thinking": "plan"}, {"type": "text", "text": "Hello."}]
    found = turns(tmp_path, chat(say(content)))
    assert [(turn.part, turn.response) for turn in found] == [("reasoning", "plan"), ("answer", "Hello.")]


def test_last_gives_both_parts_of_the_last_turn(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    again = [{"role": "user", "content": "And?"}, say("<think>b</think>B")]
    path.write_text(json.dumps(chat(say("<think>a</think>A"), *again)) + "\n")
    (sample,) = read_samples(survey_source(str(path)), turns="last")
    assert isinstance(sample, Sample)
    assert [turn.response for turn in sample.turns] == ["b", "B"]


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich"}}}


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_calls": [CALL]},
        {"tool_calls": [{"function": {"name": "weather", "arguments": '{"city": "Zürich"}'}, "type": "function"}]},
        {"tool_calls": [{"name": "weather", "arguments": {"city": "Zürich", "day": None}}]},
        {"tool_calls": json.dumps([CALL])},
        {"function_call": {"name": "weather", "arguments": '{"city": "Zürich"}'}},
    ],
)
def test_every_spelling_of_a_tool_call_is_one_call_with_an_object_of_arguments(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    (turn,) = turns(tmp_path, chat(say(None, **fields)))
    assert json.loads(turn.message.tool_calls) == [CALL]
    assert turn.unscored is not None
    assert turn.unscored.startswith("tool_call: ")


def test_text_beside_a_tool_call_is_scored(tmp_path: Path) -> None:
    (turn,) = turns(tmp_path, chat(say("I will look.", tool_calls=[CALL])))
    assert (turn.response, turn.unscored) == ("I will look.", None)


def test_a_call_that_is_a_turn_of_its_own_is_part_of_the_next_prompt(tmp_path: Path) -> None:
    record = {
        "conversations": [
            {"from": "human", "value": "Rain?"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Zürich"}}'},
            {"from": "observation", "value": "rain"},
            {"from": "gpt", "value": "Yes."},
        ],
        "tools": '[{"name": "weather"}]',
    }
    call, answer = turns(tmp_path, record)
    assert call.unscored == "tool_call: the turn calls a tool and says nothing"
    assert [message.role for message in answer.prompt] == ["user", "assistant", "tool"]
    assert json.loads(answer.prompt[1].tool_calls) == [CALL]
    assert json.loads(answer.tools) == [{"type": "function", "function": {"name": "weather"}}]


@pytest.mark.parametrize("key", ["tools", "functions"])
@pytest.mark.parametrize("as_text", [True, False])
def test_tools_come_as_a_list_or_as_json_text(tmp_path: Path, key: str, as_text: bool) -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    (turn,) = turns(tmp_path, chat(say("Hello."), **{key: json.dumps(tools) if as_text else tools}))
    assert json.loads(turn.tools) == tools


@pytest.mark.parametrize("tools", ["weather", 7, ["weather"]])
def test_tools_that_are_none_skip_the_record(tmp_path: Path, tools: Any) -> None:
    sample = read(tmp_path, chat(say("Hello."), tools=tools))
    assert isinstance(sample, SkippedSample)
    assert sample.reason.startswith("bad_tools: ")


@pytest.mark.parametrize("fields", [{"weight": 0}, {"weight": 0.0}, {"train": False}, {"training": False}])
def test_a_turn_that_training_leaves_out_is_not_scored(tmp_path: Path, fields: dict[str, Any]) -> None:
    first, second = turns(tmp_path, chat(say("No.", **fields), {"role": "user", "content": "?"}, say("Yes.", weight=1)))
    assert first.unscored is not None
    assert first.unscored.startswith("not_trained: ")
    assert second.unscored is None
    assert [message.content for message in second.prompt] == ["Hi", "No.", "?"]


@pytest.mark.parametrize("fields", [{"weight": None}, {"weight": 1}, {"weight": 0.5}, {"train": True}, {"train": None}])
def test_any_other_mark_leaves_the_turn_trained(tmp_path: Path, fields: dict[str, Any]) -> None:
    (turn,) = turns(tmp_path, chat(say("Hello.", **fields)))
    assert turn.unscored is None


@pytest.mark.parametrize(
    ("label", "side"),
    [
        (True, "response"),
        (False, "rejected"),
        ("false", "rejected"),
        ("True", "response"),
        (0, "rejected"),
        (3, "response"),
    ],
)
def test_a_completion_labelled_false_is_the_rejected_side(tmp_path: Path, label: Any, side: str) -> None:
    (turn,) = turns(tmp_path, {"prompt": "Hi", "completion": "Hello.", "label": label})
    assert turn.side == side


def test_the_preference_format_of_openai_has_its_prompt_in_input(tmp_path: Path) -> None:
    record = {
        "input": {"messages": [{"role": "user", "content": "Hi"}], "tools": [CALL], "parallel_tool_calls": True},
        "preferred_output": [say("Hello.")],
        "non_preferred_output": [say("What?")],
    }
    found = turns(tmp_path, record)
    assert [(turn.side, turn.response, turn.prompt[0].content) for turn in found] == [
        ("chosen", "Hello.", "Hi"),
        ("rejected", "What?", "Hi"),
    ]
    assert all(json.loads(turn.tools) == [CALL] for turn in found)


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [("preferred_completion", "non_preferred_completion"), ("chosen_response", "rejected_response")],
)
def test_other_names_of_the_two_sides_are_known(tmp_path: Path, chosen: str, rejected: str) -> None:
    found = turns(tmp_path, {"question": "Hi", chosen: "Hello.", rejected: "What?"})
    assert [(turn.side, turn.response) for turn in found] == [("chosen", "Hello."), ("rejected", "What?")]


@pytest.mark.parametrize(
    ("record", "prompt"),
    [
        ({"question": "Hi", "answer": "Hello."}, [("user", "Hi")]),
        ({"INSTRUCTION": "Hi", "RESPONSE": "Hello."}, [("user", "Hi")]),
        ({"instruction": "Hi", "context": "", "response": "Hello."}, [("user", "Hi")]),
        ({"instruction": "Hi", "context": "There.", "response": "Hello."}, [("user", "Hi\n\nThere.")]),
        ({"system_prompt": "Be.", "question": "Hi", "response": "Hello."}, [("system", "Be."), ("user", "Hi")]),
        ({"prompt": "Hi", "generation": "Hello."}, [("user", "Hi")]),
        ({"input": "Hi", "output": "Hello."}, [("user", "Hi")]),
        ({"prompt": "Hi", "completion": None, "response": "Hello."}, [("user", "Hi")]),
        ({"instruction": "Hi", "output": None, "response": "Hello."}, [("user", "Hi")]),
    ],
)
def test_pairs_of_question_and_answer_are_known_by_many_names(
    tmp_path: Path, record: dict[str, Any], prompt: list[tuple[str, str]]
) -> None:
    sample = read(tmp_path, record)
    assert isinstance(sample, Sample)
    assert sample.format == "qa"
    (turn,) = sample.turns
    assert ([(message.role, message.content) for message in turn.prompt], turn.response) == (prompt, "Hello.")


def test_plain_text_is_one_response_without_a_prompt(tmp_path: Path) -> None:
    (turn,) = turns(tmp_path, {"text": "Once upon a time."}, format="text")
    assert (turn.prompt, turn.response) == ((), "Once upon a time.")


def test_alpaca_and_completions_are_known_in_any_case(tmp_path: Path) -> None:
    sample = read(tmp_path, {"Instruction": "Translate.", "Input": "cat", "Output": "chat"})
    assert isinstance(sample, Sample)
    assert (sample.format, sample.turns[0].prompt[0].content) == ("alpaca", "Translate.\n\ncat")
    sample = read(tmp_path, {"Prompt": "Hi", "Completion": "Hello."})
    assert isinstance(sample, Sample)
    assert (sample.format, sample.turns[0].response) == ("prompt_completion", "Hello.")


def test_columns_that_a_union_of_two_shapes_left_empty_count_as_absent(tmp_path: Path) -> None:
    messages = chat(say("Hello."))["messages"]
    rows = [
        {"messages": messages, "chosen": None, "rejected": None, "prompt": None, "completion": None},
        {"messages": messages, "conversations": [], "conversation": [], "instruction": None, "output": None},
        {"messages": [], "conversations": messages},
    ]
    for row in rows:
        (turn,) = turns(tmp_path, row)
        assert turn.response == "Hello."


KEYS = [
    ({"query": "q", "response": "WRONG", "reply": "RIGHT"}, {"response": "reply"}, ("q", "RIGHT")),
    ({"instruction": "WRONG", "response": "r", "ask": "RIGHT"}, {"prompt": "ask"}, ("RIGHT", "r")),
    ({"prompt": "a", "response": "b", "question": "c", "answer": "d"}, {r: r for r in ("prompt", "response")}, "ab"),
    ({"ask": "a", "reply": "b"}, {"prompt": "ask", "response": "reply"}, ("a", "b")),
    ({"instruction": "a", "input": "b", "reply": "c", "output": "x"}, {"response": "reply"}, ("a\n\nb", "c")),
]


@pytest.mark.parametrize(("record", "keys", "expected"), KEYS)
def test_a_field_that_the_user_names_wins(
    tmp_path: Path, record: dict[str, Any], keys: dict[str, str], expected: tuple[str, str]
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(record) + "\n")
    (sample,) = read_samples(survey_source(str(path), keys=keys))
    assert isinstance(sample, Sample), sample
    (turn,) = sample.turns
    assert (turn.prompt[-1].content, turn.response) == tuple(expected)


def test_a_named_field_that_is_null_is_not_replaced_by_another(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    rows = [{"dialog": chat(say("b"))["messages"]}, {"dialog": None, "conversation": chat(say("x"))["messages"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, second = read_samples(survey_source(str(path), keys={"messages": "dialog"}))
    assert isinstance(second, SkippedSample)


@pytest.mark.parametrize("field", ["answer", "question"])
def test_a_list_of_texts_is_not_glued_into_one(tmp_path: Path, field: str) -> None:
    sample = read(tmp_path, {"question": "q", "answer": "a", field: ["Paris", "paris, France"]})
    assert isinstance(sample, SkippedSample)
    assert sample.reason.startswith(("unsupported_content: ", "bad_messages: "))


def test_a_side_that_only_begins_with_the_word_human_is_an_answer(tmp_path: Path) -> None:
    found = turns(tmp_path, {"prompt": "What is man?", "chosen": "Human: is a species.", "rejected": "y"})
    assert [(turn.side, turn.response) for turn in found] == [("chosen", "Human: is a species."), ("rejected", "y")]


def test_a_side_without_an_answer_skips_the_pair_with_its_name(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Hi"}]
    sample = read(tmp_path, {"chosen": asked, "rejected": [*asked, say("b")]})
    assert isinstance(sample, SkippedSample)
    assert sample.reason == "no_assistant_turn: the chosen side has no message of the assistant"


def test_a_side_that_repeats_the_user_after_a_system_prompt_is_whole(tmp_path: Path) -> None:
    system, asked = {"role": "system", "content": "T"}, {"role": "user", "content": "p"}
    found = turns(tmp_path, {"prompt": [system, asked], "chosen": [asked, say("c")], "rejected": [say("r")]})
    assert [[message.content for message in turn.prompt] for turn in found] == [["T", "p"], ["T", "p"]]


def test_hh_strings_of_windows_are_taken_apart(tmp_path: Path) -> None:
    (turn,) = turns(tmp_path, {"text": "\r\n\r\nHuman: a\r\n\r\nAssistant: b"})
    assert (turn.prompt[0].content, turn.response) == ("a", "b")
