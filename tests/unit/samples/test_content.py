"""A conversation's number: the same wherever it is written down, another as soon as it says something else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from audit.samples import Message, Sample, Turn, hash_conversation, load_families, read_samples, survey_source
from audit.samples.family import find_turns


def content_ids(tmp_path: Path, *records: dict[str, Any], **options: Any) -> list[int]:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    samples = list(read_samples(survey_source(str(path), format=options.pop("format", None)), **options))
    assert all(isinstance(sample, Sample) for sample in samples), samples
    return [hash_conversation(sample.turns) for sample in samples]


def content_id(tmp_path: Path, record: dict[str, Any], **options: Any) -> int:
    (found,) = content_ids(tmp_path, record, **options)
    return found


def say(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def answer(content: str, **more: Any) -> dict[str, Any]:
    return {"messages": [say("user", "q"), say("assistant", content, **more)]}


CHAT = {
    "messages": [say("system", "s"), say("user", "q"), say("assistant", "a"), say("user", "r"), say("assistant", "b")]
}


def test_the_number_is_the_digest_that_is_documented(tmp_path: Path) -> None:
    text = '[["response","",[["user","Grüße?"],["assistant","a","plan",""]]]]'
    wanted = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
    record = {"messages": [say("user", "Grüße?"), say("assistant", "<think>\nplan\n</think>\n\na")]}
    assert content_id(tmp_path, record) == wanted
    # Runs keep the number: it is never to change.
    assert content_id(tmp_path, answer("a")) == CONTENT_ID


CONTENT_ID = (
    int.from_bytes(
        hashlib.blake2b(b'[["response","",[["user","q"],["assistant","a","",""]]]]', digest_size=8).digest(), "big"
    )
    >> 1
)


@pytest.mark.parametrize(
    "record",
    [
        {"system": "s", "messages": CHAT["messages"][1:], "id": 7},
        {"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"},
                           {"from": "gpt", "value": "a"}, {"from": "human", "value": "r"},
                           {"from": "gpt", "value": "b"}]},
        {"system": "s", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"},
                                          {"from": "human", "value": "r"}, {"from": "gpt", "value": "b"}]},
        {"instruction": "r", "input": "", "output": "b", "system": "s", "history": [["q", "a"]]},
        {"prompt": CHAT["messages"][:4], "completion": CHAT["messages"][4:]},
        {"messages": [*CHAT["messages"][:4], say("assistant", [{"type": "text", "text": "b"}])], "source": "web"},
        {"messages": [*CHAT["messages"], say("user", "never answered")]},
        {"messages": [*CHAT["messages"][:4], say("assistant", "b", weight=0)]},
    ],
)  # fmt: skip
def test_shapes_and_other_fields_do_not_matter(tmp_path: Path, record: dict[str, Any]) -> None:
    assert content_id(tmp_path, record) == content_id(tmp_path, CHAT)


def test_the_last_turn_alone_has_the_number_of_the_conversation(tmp_path: Path) -> None:
    assert content_id(tmp_path, CHAT, turns="last") == content_id(tmp_path, CHAT)


@pytest.mark.parametrize(
    "record",
    [
        answer("<think>plan</think>a"),
        answer("<think>\nplan\n</think>\n\na"),
        answer("a", reasoning_content="plan"),
        answer("a", thinking="plan\n"),
        answer("<think>plan</think>a", reasoning_content="plan"),
    ],
)
def test_reasoning_counts_wherever_it_is_kept(tmp_path: Path, record: dict[str, Any]) -> None:
    assert content_id(tmp_path, record) == content_id(tmp_path, answer("a", reasoning="plan"))
    assert content_id(tmp_path, record) != CONTENT_ID


def call(arguments: Any, **more: Any) -> dict[str, Any]:
    return {"function": {"name": "look", "arguments": arguments}, **more}


def tool_chat(call_message: dict[str, Any], result: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [say("user", "q"), call_message, result, say("assistant", "a")], **more}


def test_tools_count_and_how_they_are_written_does_not(tmp_path: Path) -> None:
    tool = {"name": "look", "description": "d", "parameters": {"type": "object", "required": ["x"]}}
    turned = {"parameters": {"required": ["x"], "type": "object"}, "description": "d", "name": "look"}
    own = tool_chat(
        say("assistant", None, tool_calls=[call({"x": 1, "y": 2}, id="c1", type="function")]),
        say("tool", "r", tool_call_id="c1", name="look"),
        tools=[{"type": "function", "function": tool}],
    )
    same = [
        tool_chat(say("assistant", "", function_call=call('{"y": 2, "x": 1}')["function"]), say("function", "r"),
                  functions=[turned]),
        {"conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": json.dumps({"name": "look", "arguments": {"y": 2, "x": 1}})},
            {"from": "observation", "value": "r"}, {"from": "gpt", "value": "a"}],
         "tools": json.dumps([tool])},
    ]  # fmt: skip
    others = [
        {**own, "tools": [{"type": "function", "function": {**tool, "description": "e"}}]},
        {"messages": own["messages"]},
        tool_chat(say("assistant", None, tool_calls=[call({"x": 1, "y": 3})]), say("tool", "r"), tools=own["tools"]),
        tool_chat(own["messages"][1], say("tool", "another"), tools=own["tools"]),
    ]
    wanted = content_id(tmp_path, own)
    assert [content_id(tmp_path, record) for record in same] == [wanted] * 2
    assert wanted not in [content_id(tmp_path, record) for record in others]


def test_what_is_said_and_by_whom_counts(tmp_path: Path) -> None:
    said = [
        answer("a"),
        answer("A"),
        answer("a "),
        answer("q"),
        {"messages": [say("user", "a"), say("assistant", "q")]},
        {"messages": [say("system", "q"), say("assistant", "a")]},
        {"messages": [say("user", "q"), say("user", ""), say("assistant", "a")]},
        {"messages": [say("user", "q"), say("assistant", "a"), say("user", "r"), say("assistant", "b")]},
        {"messages": [say("user", 'q"],["assistant","a'), say("assistant", "a")]},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": "q", "chosen": "b", "rejected": "a"},
        {"prompt": "q", "completion": "a", "label": False},
    ]
    found = [content_id(tmp_path, record) for record in said]
    assert len(set(found)) == len(said)
    assert found[0] == CONTENT_ID == content_id(tmp_path, {"prompt": "q", "completion": "a", "label": True})


@pytest.mark.parametrize("name", load_families())
def test_every_family_gives_a_number_and_what_it_writes_keeps_it(tmp_path: Path, name: str) -> None:
    family = load_families()[name]
    own = content_id(tmp_path, dict(family.example), format=name)
    if family.write is not None:
        written = family.write(family.read(family.example))
        assert hash_conversation(find_turns(family.read(written))) == own


def test_hostile_calls_and_texts_have_a_number_too() -> None:
    deep = '[{"function": {"name": "f", "arguments": ' + "[" * 100_000 + "]" * 100_000 + "}}]"
    found = set()
    for calls, text in ((deep, "a"), (deep[:-2] + " }]", "a"), ("", "a\ud800"), ("", "\0" * 1000)):
        message = Message("assistant", text, tool_calls=calls)
        found.add(hash_conversation([Turn("response", 0, "answer", (), text, message)]))
    assert len(found) == 4
