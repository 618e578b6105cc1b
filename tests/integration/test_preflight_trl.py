"""Every rule for TRL, seen happening: the real trainer on the rows that the check names.

Pairs covered: `audit.preflight` with TRL's SFTTrainer, DPOTrainer and KTOTrainer, and with `datasets`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from audit.assets import demo_model_dir
from audit.preflight import check_datasets, load_trainers
from audit.preflight.loading import add_loading_rules
from audit.preflight.trainer import RuleBook

pytest.importorskip("trl")
pytestmark = pytest.mark.filterwarnings("ignore")

Row = dict[str, Any]
_TOLERANT = (
    "{%- for message in messages -%}{{- '<|' + message['role'] + '|>' + (message['content'] or '') + '<|end|>' -}}"
    "{%- endfor -%}"
)


def user(content: Any) -> Row:
    return {"role": "user", "content": content}


def assistant(content: Any, **more: Any) -> Row:
    return {"role": "assistant", "content": content, **more}


def chat(*messages: Row, **more: Any) -> Row:
    return {"messages": list(messages), **more}


CHAT = chat(user("hello"), assistant("good day"))
PAIR = {"prompt": "a", "chosen": "b", "rejected": "c"}
COMPLETION = {"prompt": "a", "completion": "b"}
LISTED = {"prompt": [user("a")], "completion": [assistant("b")]}
TAUGHT = {**COMPLETION, "label": True}

CRASHES: dict[str, tuple[str, list[Row]]] = {
    "prompt_beside_messages": ("sft", [{**CHAT, "prompt": "p"}] * 2),
    "unknown_messages_key": ("sft", [{"conversation": CHAT["messages"]}] * 2),
    "messages_no_list": ("sft", [CHAT, {"messages": None}]),
    "empty_messages": ("sft", [CHAT, chat()]),
    "no_role": ("sft", [CHAT, chat(user("a"), {"content": "b"})]),
    "no_content": ("sft", [CHAT, chat(user("a"), assistant(None))]),
    "content_not_text": ("sft", [CHAT, chat(user([{"type": "text", "text": "a"}]), assistant("b"))]),
    "image_column": ("sft", [{**CHAT, "images": []}] * 2),
    "tools_no_list": ("sft", [{**CHAT, "tools": {"a": 1}}] * 2),
    "field_not_text": ("sft", [{"text": "a"}, {"text": 5}]),
    "tools_not_json": ("sft", [{**CHAT, "tools": "[]"}, {**CHAT, "tools": ""}]),
    "template_kwargs_no_object": (
        "sft",
        [{**CHAT, "chat_template_kwargs": {"a": True}}, {**CHAT, "chat_template_kwargs": None}],
    ),
    "needs_formatting": ("sft", [{"instruction": "a", "input": "", "output": "b"}] * 2),
    "null_field": ("sft", [COMPLETION, {"prompt": "a", "completion": None}]),
    "mixed_sides": ("sft", [{"prompt": [user("a")], "completion": "b"}] * 2),
    "empty_prompt": ("sft", [LISTED, {"prompt": [], "completion": [assistant("b")]}]),
    "label_not_bool": ("kto", [TAUGHT, {**TAUGHT, "label": None}]),
    "sides_named_otherwise": (
        "dpo",
        [{"input": chat(user("a")), "preferred_output": [assistant("b")], "non_preferred_output": [assistant("c")]}]
        * 2,
    ),
    "pair_of_from_value": (
        "dpo",
        [
            {
                "conversations": [{"from": "human", "value": "a"}],
                "chosen": {"from": "gpt", "value": "b"},
                "rejected": {"from": "gpt", "value": "c"},
            }
        ]
        * 2,
    ),
    "sides_share_no_prompt": (
        "dpo",
        [{"chosen": [user("a"), assistant("b")], "rejected": [user("z"), assistant("c")]}] * 2,
    ),
}

# What the last row trains on: all labels, or prompt, chosen and rejected.
SURPRISES: dict[str, tuple[str, list[Row], Any]] = {
    "trains_on_every_token": ("sft", [CHAT], "<|user|>hello<|end|><|assistant|>good day<|end|>"),
    "completion_instead_of_messages": ("sft", [{**CHAT, **COMPLETION}], "b<|end|>"),
    "weight_ignored": (
        "sft",
        [chat(user("a"), assistant("bad", weight=0), user("c"), assistant("good", weight=1))],
        "<|user|>a<|end|><|assistant|>bad<|end|><|user|>c<|end|><|assistant|>good<|end|>",
    ),
    "no_answer": ("sft", [CHAT, chat(user("alone"))], "<|user|>alone<|end|>"),
    "empty_answer": ("sft", [CHAT, chat(user("a"), assistant(""))], "<|user|>a<|end|><|assistant|><|end|>"),
    "system_column_ignored": (
        "sft",
        [{**CHAT, "system": "be rude"}],
        "<|user|>hello<|end|><|assistant|>good day<|end|>",
    ),
    "roles_not_renamed": (
        "sft",
        [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}],
        "<|human|>a<|end|><|gpt|>b<|end|>",
    ),
    "unusual_role": (
        "sft",
        [CHAT, chat({"role": "developer", "content": "s"}, user("a"), assistant("b"))],
        "<|developer|>s<|end|><|user|>a<|end|><|assistant|>b<|end|>",
    ),
    "trains_on_whole_text": ("sft", [{"text": "\n\nHuman: a\n\nAssistant: b"}], "\n\nHuman: a\n\nAssistant: b<|end|>"),
    "empty_side": ("sft", [COMPLETION, {"prompt": "a", "completion": ""}], "<|end|>"),
    "label_not_0_or_1": ("kto", [{**COMPLETION, "label": 1}, {**COMPLETION, "label": -1}], -1),
    "same_sides": ("dpo", [PAIR, {**PAIR, "rejected": "b"}], ("a", "b<|end|>", "b<|end|>")),
    "prompt_ignored": ("dpo", [{"question": "why?", "chosen": "b", "rejected": "c"}], ("", "b<|end|>", "c<|end|>")),
    "opening_moved_to_prompt": (
        "dpo",
        [{"chosen": "\n\nHuman: a\n\nAssistant: I do", "rejected": "\n\nHuman: a\n\nAssistant: I go"}],
        ("\n\nHuman: a\n\nAssistant: I", " do<|end|>", " go<|end|>"),
    ),
    "prompt_twice": (
        "dpo",
        [{"prompt": [user("a")], "chosen": [user("a"), assistant("b")], "rejected": [user("a"), assistant("c")]}],
        (
            "<|user|>a<|end|>",
            "<|user|>a<|end|><|assistant|>b<|end|>",
            "<|user|>a<|end|><|assistant|>c<|end|>",
        ),
    ),
}

MORE_CRASHES: list[Any] = [
    ("field_not_text", "sft", [{"text": "a"}, {"text": ["a"]}]),
    ("field_not_text", "sft", [COMPLETION, {"prompt": 5, "completion": "x"}]),
    ("field_not_text", "sft", [COMPLETION, {"prompt": "a", "completion": 6}]),
    ("field_not_text", "sft", [COMPLETION, {"prompt": {"a": 1}, "completion": "x"}]),
    ("field_not_text", "dpo", [PAIR, {**PAIR, "chosen": 5}]),
    ("field_not_text", "dpo", [PAIR, {**PAIR, "prompt": 4}]),
    ("tools_no_list", "sft", [{**CHAT, "tools": 5}] * 2),
    ("tools_no_list", "sft", [{**CHAT, "tools": '{"a": 1}'}] * 2),
    ("tools_no_list", "sft", [{**CHAT, "tools": ["x"]}] * 2),
    ("messages_no_list", "sft", [CHAT, None]),
    ("null_field", "sft", [{"text": "a"}, None]),
    ("null_field", "sft", [COMPLETION, None]),
    ("null_field", "dpo", [PAIR, None]),
]

ELSEWHERE = {"rival_column", "empty_list", "input_ids_column", "labels_column"}

# Which of them it is depends, for some, on the order of a set of keys, hence on the process.
_ERRORS = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, UndefinedError)


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., Any]:
    """Give the trainer of a kind after it prepared rows; nothing is trained."""
    return lambda kind, rows, template=None: _prepare(tmp_path, kind, rows, template)


def _write(directory: Path, rows: list[Any]) -> str:
    path = directory / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def _prepare(directory: Path, kind: str, rows: list[Row], template: str | None) -> Any:
    import datasets
    import trl
    from transformers import AutoTokenizer

    datasets.disable_progress_bars()
    data = datasets.load_dataset(
        "json", data_files=_write(directory, rows), split="train", cache_dir=str(directory / "cache")
    )
    tokenizer = AutoTokenizer.from_pretrained(demo_model_dir())
    tokenizer.chat_template = template or tokenizer.chat_template
    name = {"sft": "SFT", "dpo": "DPO", "kto": "KTO"}[kind]
    settings = getattr(trl, f"{name}Config")(
        output_dir=str(directory / "out"),
        report_to=[],
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=2,
        disable_tqdm=True,
    )
    trainer = getattr(trl, f"{name}Trainer")
    return trainer(model=str(demo_model_dir()), args=settings, train_dataset=data, processing_class=tokenizer)


def _read_trained(trainer: Any) -> Any:
    row = trainer.train_dataset[-1]
    decode = trainer.processing_class.decode
    if "labels" in row:
        return decode([token for token in row["labels"] if token != -100])
    if "label" in row:
        return row["label"]
    return tuple(decode(row[key]) for key in ("prompt_ids", "chosen_ids", "rejected_ids"))


def _find_codes(directory: Path, rows: list[Row]) -> dict[str, str]:
    (report,) = check_datasets([_write(directory, rows)], trainer="trl").trainers
    return {finding.rule.code: finding.rule.effect for finding in report.findings}


@pytest.mark.parametrize("code", CRASHES)
def test_trl_stops_where_the_check_says_it_crashes(code: str, tmp_path: Path, prepare: Callable[..., Any]) -> None:
    kind, rows = CRASHES[code]
    assert _find_codes(tmp_path, rows).get(code) == "crashes"
    with pytest.raises(_ERRORS):
        prepare(kind, rows)


@pytest.mark.parametrize("code", SURPRISES)
def test_trl_trains_what_the_check_calls_a_surprise(code: str, tmp_path: Path, prepare: Callable[..., Any]) -> None:
    kind, rows, trained = SURPRISES[code]
    assert _find_codes(tmp_path, rows).get(code) == "surprise"
    found = _read_trained(prepare(kind, rows))
    # Whether strings beside messages get an end is up to the order of a set, too.
    assert found == trained or (code == "completion_instead_of_messages" and f"{found}<|end|>" == trained)


@pytest.mark.parametrize(("code", "kind", "rows"), MORE_CRASHES)
def test_trl_stops_at_each_variant_of_it(
    code: str, kind: str, rows: list[Row], tmp_path: Path, prepare: Callable[..., Any]
) -> None:
    assert _find_codes(tmp_path, rows).get(code) == "crashes"
    with pytest.raises(_ERRORS):
        prepare(kind, rows)


@pytest.mark.parametrize("tools", [{}, "null", None])
def test_trl_takes_empty_tools_for_none(tools: Any, tmp_path: Path, prepare: Callable[..., Any]) -> None:
    rows = [{**CHAT, "tools": tools}] * 2
    assert set(_find_codes(tmp_path, rows)) == {"trains_on_every_token"}
    assert len(prepare("sft", rows).train_dataset) == 2


def test_trl_fails_on_an_empty_completion_or_drops_it(tmp_path: Path, prepare: Callable[..., Any]) -> None:
    rows = [LISTED, {"prompt": [user("a")], "completion": []}]
    assert _find_codes(tmp_path, rows).get("empty_list") == "crashes"
    try:
        n_left = len(prepare("sft", rows).train_dataset)
    except IndexError:
        n_left = 1
    assert n_left == 1


def test_trl_takes_a_labels_column_for_tokens_and_fails(tmp_path: Path, prepare: Callable[..., Any]) -> None:
    rows = [{**CHAT, "labels": [1, 2]}] * 2
    assert _find_codes(tmp_path, rows).get("labels_column") == "crashes"
    trainer = prepare("sft", rows)
    with pytest.raises(_ERRORS):
        trainer.train()


def test_trl_trains_on_given_tokens_instead_of_messages(tmp_path: Path, prepare: Callable[..., Any]) -> None:
    rows = [{**CHAT, "input_ids": [5, 6]}]
    assert _find_codes(tmp_path, rows).get("input_ids_column") == "surprise"
    assert prepare("sft", rows).train_dataset[0]["input_ids"] == [5, 6]


def test_a_rival_column_stops_trl_or_not_by_the_order_of_a_set(tmp_path: Path) -> None:
    row = {**CHAT, "completion": "x"}
    assert _find_codes(tmp_path, [row]).get("rival_column") == "crashes"
    code = f"from trl.data_utils import is_conversational; print(is_conversational({row!r}))"
    answers = set()
    for seed in range(6):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        )
        answers.add(done.stdout.strip())
        if len(answers) == 2:
            break
    assert answers == {"True", "False"}


def test_a_template_that_takes_null_trains_an_empty_message(tmp_path: Path, prepare: Callable[..., Any]) -> None:
    trainer = prepare("sft", [CHAT, chat(user("a"), assistant(None))], _TOLERANT)
    assert _read_trained(trainer) == "<|user|>a<|end|><|assistant|><|end|>"


def test_a_plain_chat_crashes_nothing_and_drops_nothing(tmp_path: Path, prepare: Callable[..., Any]) -> None:
    assert _find_codes(tmp_path, [CHAT, CHAT]) == {"trains_on_every_token": "surprise"}
    assert len(prepare("sft", [CHAT, CHAT]).train_dataset) == 2


def test_every_rule_for_trl_is_seen_happening_here_or_while_loading() -> None:
    loading = RuleBook("loading")
    add_loading_rules(loading)
    seen = {*CRASHES, *SURPRISES, *ELSEWHERE}
    assert set(load_trainers()["trl"].rules) == seen | set(loading.rules)
