"""LLaMA-Factory: each row here was run through its converters and processors (0.9.5) to see what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight.conftest import Find

Row = dict[str, Any]


def chat(*turns: tuple[Any, Any], **more: Any) -> Row:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **more}


def sharegpt(*turns: tuple[Any, Any], **more: Any) -> Row:
    return {"conversations": [{"from": role, "value": value} for role, value in turns], **more}


U, A, S = ("user", "a"), ("assistant", "b"), ("system", "s")
H, G = ("human", "a"), ("gpt", "b")
CALL = {"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}

DROPS = {
    "ends_with_user": [chat(U, A, U), chat(U), sharegpt(H, G, H)],
    "starts_with_answer": [chat(A), chat(A, U), chat(A, U, A), sharegpt(G, H, G)],
    "turns_do_not_alternate": [chat(U, U, A), chat(U, A, A)],
    "system_not_first": [chat(U, S, A), chat(U, A, S, A), chat(S, S, U, A)],
    "role_not_tagged": [
        chat(("developer", "s"), U, A),
        chat(U, A, ("developer", "r"), A),
        chat(("User", "a"), A),
        sharegpt(U, A),
        sharegpt(H, ("chatgpt", "b")),
    ],
    "no_turns": [chat(), chat(S)],
    "output_not_text": [
        {"instruction": "a", "input": "", "output": None},
        {"instruction": "a", "input": "", "output": 5},
        {"instruction": "a", "input": "", "output": ["b"]},
        {"prompt": "a", "completion": None},
    ],
    "label_not_bool": [
        {"prompt": "a", "completion": "b", "label": "true"},
        {"prompt": "a", "completion": "b", "label": 1},
        {"prompt": "a", "completion": "b", "label": None},
    ],
    "sides_not_readable": [
        {"prompt": "a", "chosen": "b", "rejected": None},
        {"prompt": "a", "chosen": [{"role": "assistant", "content": "b"}], "rejected": [{"role": "assistant"}]},
        {"conversations": [{"from": "human", "value": "a"}], "chosen": [G], "rejected": [G]},
    ],
    "pair_prompt_ends_with_answer": [
        {**sharegpt(H, G), "chosen": {"from": "gpt", "value": "b"}, "rejected": {"from": "gpt", "value": "c"}}
    ],
}
CRASHES = {
    "content_not_text": [
        chat(U, ("assistant", None)),
        chat(("user", None), A),
        chat(("user", 5), A),
        chat(("user", [{"type": "text", "text": "a"}]), A),
        sharegpt(H, ("gpt", None)),
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, **CALL}]},
    ],
    "messages_no_list": [{"messages": None, "id": 1}, {"messages": "hello"}],
    "message_key_missing": [
        {"messages": [{"content": "a"}, {"role": "assistant", "content": "b"}]},
        {"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]},
        {"conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    ],
    "prompt_not_text": [
        {"instruction": 5, "input": "", "output": "b"},
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
    ],
    "pair_without_prompt": [{"chosen": "b", "rejected": "c"}],
    "side_role": [
        {**sharegpt(H), "chosen": {"from": "assistant", "value": "b"}, "rejected": {"from": "gpt", "value": "c"}}
    ],
}
SURPRISES = {
    "tool_calls_ignored": [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", **CALL}]}
    ],
    "weight_ignored": [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]}
    ],
    "reasoning_ignored": [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "thinking": "hm"}]}
    ],
    "empty_answer": [chat(U, ("assistant", "")), {"instruction": "a", "input": "", "output": ""}],
    "system_column_ignored": [
        chat(U, A, system="s"),
        sharegpt(H, G, system="s"),
        {"instruction": "a", "input": "", "output": "b", "system": "s"},
    ],
    "history_ignored": [{"instruction": "a", "input": "", "output": "b", "history": [["q", "r"]]}],
    "empty_completion_flips": [{"prompt": "a", "completion": "", "label": True}],
    "side_by_user": [
        {**sharegpt(H), "chosen": {"from": "human", "value": "b"}, "rejected": {"from": "gpt", "value": "c"}}
    ],
    "same_sides": [{"prompt": "a", "chosen": "b", "rejected": "b"}],
    "empty_side": [{"prompt": "a", "chosen": "b", "rejected": ""}],
}
KEPT = [
    chat(U, A),
    chat(S, U, A),
    chat(("system", None), U, A),
    chat(U, A, U, A),
    sharegpt(H, G),
    sharegpt(("system", "s"), H, G),
    {"instruction": "a", "input": "", "output": "b"},
    {"instruction": "a", "output": "b"},
    {"prompt": "a", "completion": "b"},
    {"prompt": "a", "completion": "b", "label": False},
    {"prompt": "a", "chosen": "b", "rejected": "c"},
    {**sharegpt(H), "chosen": {"from": "gpt", "value": "b"}, "rejected": {"from": "gpt", "value": "c"}},
]


def _cases(effects: dict[str, list[Row]]) -> list[Any]:
    return [pytest.param(code, row, id=f"{code}-{n}") for code, rows in effects.items() for n, row in enumerate(rows)]


def _family(row: Row) -> str:
    if "chosen" in row:
        return "preference"
    keys = {"messages": "chat", "conversations": "sharegpt", "instruction": "alpaca"}
    return next((name for key, name in keys.items() if key in row), "prompt_completion")


@pytest.mark.parametrize(("code", "row"), _cases(DROPS))
def test_a_row_that_is_dropped_in_silence_is_counted(code: str, row: Row, find: Find) -> None:
    assert find("llamafactory", row, _fine(row), format=_family(row)) == {code: "drops"}


@pytest.mark.parametrize(("code", "row"), _cases(CRASHES))
def test_a_row_that_stops_the_converter_is_counted(code: str, row: Row, find: Find) -> None:
    assert find("llamafactory", row, _fine(row), format=_family(row)).get(code) == "crashes"


@pytest.mark.parametrize(("code", "row"), _cases(SURPRISES))
def test_a_row_that_trains_otherwise_than_written_is_counted(code: str, row: Row, find: Find) -> None:
    assert find("llamafactory", row, _fine(row), format=_family(row)) == {code: "surprise"}


@pytest.mark.parametrize("row", KEPT, ids=range(len(KEPT)))
def test_a_row_that_is_kept_as_written_is_clean(row: Row, find: Find) -> None:
    assert find("llamafactory", row) == {}


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl.zst", "rows.ndjson", "rows.tsv"])
def test_a_file_name_that_is_not_read_stops_every_row(name: str) -> None:
    from pathlib import PurePath

    from audit.preflight import load_trainers

    trainer = load_trainers()["llamafactory"]
    assert [trainer.rules[code].effect for code in trainer.find_in_file(PurePath(name))] == ["crashes"]
    assert list(trainer.find_in_file(PurePath("rows.jsonl"))) == []


def test_every_rule_has_a_row_that_meets_it() -> None:
    from audit.preflight import load_trainers
    from audit.preflight.loading import add_loading_rules
    from audit.preflight.trainer import RuleBook

    loading = RuleBook("loading")
    add_loading_rules(loading)
    seen = {*DROPS, *CRASHES, *SURPRISES, "file_name", *loading.rules}
    assert set(load_trainers()["llamafactory"].rules) == seen


def _fine(row: Row) -> Row:
    """Return a row of the same family that nothing is wrong with."""
    return next(kept for kept in KEPT if _family(kept) == _family(row))
