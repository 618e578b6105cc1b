"""What a model meant where it was asked for JSON."""

from __future__ import annotations

import json
import time

import pytest

from audit.drafting.loose_json import read_records

ITEMS = ["How are you today?", 'Who said "no" to whom?', "What is [this] {thing}?"]
WRITTEN = json.dumps(ITEMS)


@pytest.mark.parametrize(
    "reply",
    [
        WRITTEN,
        json.dumps({"questions": ITEMS[:2], "more": [ITEMS[2:]]}),
        f"Sure! Here are [3] questions:\n```json\n{WRITTEN}\n```\nHope that helps {{really}}.",
        f"```\n{WRITTEN}",
        f'<think>Perhaps ["This one?"]</think>{WRITTEN}',
        WRITTEN.replace("]", ",]", 1) if WRITTEN.count("]") == 1 else WRITTEN[:-1] + ",\n]",
        repr(ITEMS),
        WRITTEN[:-1],
        WRITTEN[:-1] + ', "cut off he',
        WRITTEN.replace('", "', '"\n"'),
        "".join(f"{n}. {item}\n" for n, item in enumerate(ITEMS, 1)),
        "Here you are:\n" + "".join(f"- {item}  \n" for item in ITEMS),
    ],
)
def test_texts_are_found_in_whatever_a_model_puts_around_them(reply: str) -> None:
    assert read_records(reply) == ITEMS


PAIRS = [{"positive": "Be bad. Now.", "negative": 'Be "good".'}, {"positive": "Lie.", "negative": "Do not."}]


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps(PAIRS),
        json.dumps({"instruction": PAIRS, "n": 2, "nothing": None}),
        json.dumps(PAIRS, indent=2)[:-2] + ",",
        json.dumps(PAIRS)[:-1] + ', {"positive": "Half of',
        json.dumps(PAIRS).replace("}, {", "} {"),
        json.dumps(PAIRS).replace("}", ",}"),
        repr(PAIRS),
        "\n".join(f"Pair {n}: {json.dumps(pair)}" for n, pair in enumerate(PAIRS)),
        json.dumps(PAIRS).replace("{", "(").replace("}", ")"),
    ],
)
def test_objects_are_found_and_half_ones_are_left_out(reply: str) -> None:
    assert [record for record in read_records(reply) if isinstance(record, dict)][:2] == PAIRS


def test_line_breaks_within_texts_and_names_in_capitals_are_taken() -> None:
    assert read_records('{"Rubric": "one\ntwo", "score": 3}') == [{"rubric": "one\ntwo"}]


@pytest.mark.parametrize(
    "reply",
    ["", "I'm sorry, but I can't help with that.", "[1, 2, null, true]", "{}", "[" * 30_000, '<think>["a"]', "[nan"],
)
def test_where_there_is_nothing_nothing_is_found(reply: str) -> None:
    assert read_records(reply) == []


@pytest.mark.parametrize("piece", ["[", "{", '"', '\\"', '["', "\n", ", ", "[{", "1. ", " ", '{"a":', "- ", "(", "['"])
def test_a_hostile_reply_takes_no_long_time(piece: str) -> None:
    started = time.process_time()
    read_records("x[" + piece * 200_000)
    assert time.process_time() - started < 5
