"""Axolotl: each row here was run through its prompt strategies (0.19.0) to see what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from audit.preflight import load_trainers
from audit.preflight.loading import add_loading_rules
from audit.preflight.trainer import RuleBook
from tests.unit.preflight.conftest import Find

Row = dict[str, Any]


def chat(*turns: tuple[Any, Any], **more: Any) -> Row:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **more}


U, A = ("user", "a"), ("assistant", "b")
IMAGE = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "a"}]
PART = [{"type": "text", "text": "a"}]
PAIR = {
    "messages": [{"role": "user", "content": "a"}],
    "chosen": {"role": "assistant", "content": "b"},
    "rejected": {"role": "assistant", "content": "c"},
}
LISTS = {
    "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}],
}

CRASHES: dict[str, list[Row]] = {
    "messages_no_list": [{"messages": None, "id": 1}],
    "empty_messages": [chat()],
    "no_message": [{"messages": ["hello"]}],
    "no_role": [{"messages": [{"content": "a"}, {"role": "assistant", "content": "b"}]}],
    "no_content": [
        chat(U, ("assistant", None)),
        {"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]},
        {**PAIR, "rejected": {"role": "assistant", "content": None}},
    ],
    "content_not_text": [chat(("user", 5), A)],
    "tools_not_json": [chat(U, A, tools=""), chat(U, A, tools="none")],
    "tools_no_list": [chat(U, A, tools={"a": 1})],
    "output_not_text": [{"instruction": "a", "output": 5}, {"instruction": "a", "output": ["b"]}],
    "pair_role": [
        {**PAIR, "messages": [{"role": "human", "content": "a"}]},
        {**PAIR, "messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": "a"}]},
    ],
    "null_side": [{**PAIR, "rejected": None}],
    "pair_without_prompt": [{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}],
}
DROPS: dict[str, list[Row]] = {
    "nothing_to_train": [chat(U), chat(U, ("assistant", "")), chat(U, ("assistant", ["b", "c"]))],
    "empty_output": [{"instruction": "a", "output": ""}, {"instruction": "a", "output": None}],
}
SURPRISES: dict[str, list[Row]] = {
    "media_removed": [chat(("user", IMAGE), A)],
    "strings_removed": [chat(("user", ["a", "b"]), A)],
    "weight_ignored": [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "train": False}]},
    ],
    "answer_not_trained": [chat(U, ("chatgpt", "b"), U, A)],
    "unusual_role": [chat(("developer", "s"), U, A)],
    "empty_answer": [chat(U, ("assistant", ""), U, A)],
    "none_in_prompt": [{"instruction": None, "output": "b"}],
    "system_column_ignored": [{"instruction": "a", "output": "b", "system": "s"}],
    "history_ignored": [{"instruction": "a", "output": "b", "history": [["q", "r"]]}],
    "trains_on_dummy": [{**PAIR, "rejected": {"role": "assistant", "content": ""}}],
    "same_sides": [{**PAIR, "rejected": PAIR["chosen"]}],
    "only_last_message": [
        {**PAIR, "chosen": [*LISTS["chosen"], *LISTS["chosen"]], "rejected": LISTS["rejected"]},
    ],
    "rejected_context_lost": [{**LISTS, "rejected": [{"role": "user", "content": "z"}, LISTS["rejected"][1]]}],
}
KEPT: list[Row] = [
    chat(U, A),
    chat(U, A, U),
    chat(U, U, A),
    chat(A, U, A),
    chat(("user", PART), ("assistant", PART)),
    chat(U, A, tools="[]"),
    chat(U, A, system="s"),
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    {"instruction": "a", "output": "b"},
    {"instruction": 5, "output": "b"},
    PAIR,
    {"messages": "a", "chosen": "b", "rejected": "c"},
    LISTS,
]


def _cases(effects: dict[str, list[Row]]) -> list[Any]:
    return [pytest.param(code, row, id=f"{code}-{n}") for code, rows in effects.items() for n, row in enumerate(rows)]


def _family(row: Row) -> str:
    if "chosen" in row:
        return "preference"
    keys = {"messages": "chat", "conversations": "sharegpt"}
    return next((name for key, name in keys.items() if key in row), "alpaca")


def _fine(row: Row) -> Row:
    """Return a row of the same family that nothing is wrong with."""
    return next(kept for kept in KEPT if _family(kept) == _family(row))


@pytest.mark.parametrize(("code", "row"), _cases(CRASHES))
def test_a_row_that_stops_the_strategy_is_counted(code: str, row: Row, find: Find) -> None:
    assert find("axolotl", row, _fine(row), format=_family(row)).get(code) == "crashes"


@pytest.mark.parametrize(("code", "row"), _cases(DROPS))
def test_a_row_without_a_token_to_train_is_counted(code: str, row: Row, find: Find) -> None:
    assert find("axolotl", row, _fine(row), format=_family(row)).get(code) == "drops"


@pytest.mark.parametrize(("code", "row"), _cases(SURPRISES))
def test_a_row_that_trains_otherwise_than_written_is_counted(code: str, row: Row, find: Find) -> None:
    assert find("axolotl", row, _fine(row), format=_family(row)) == {code: "surprise"}


@pytest.mark.parametrize("row", KEPT, ids=range(len(KEPT)))
def test_a_row_that_is_kept_as_written_is_clean(row: Row, find: Find) -> None:
    assert find("axolotl", row) == {}


def test_every_rule_has_a_row_that_meets_it() -> None:
    loading = RuleBook("loading")
    add_loading_rules(loading)
    assert set(load_trainers()["axolotl"].rules) == {*CRASHES, *DROPS, *SURPRISES, *loading.rules}
