"""The card beside an export: valid, honest, safe against hostile names, with snippets that fit the records."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from huggingface_hub import DatasetCard

from audit.export import export_run
from audit.export.fences import code, fence, prose, quote
from audit.samples import survey_source
from tests.cards import blocks, load_by_card
from tests.datasets import chat, write_lines
from tests.fabricated import FakeRecord, make_run_over, scored

HOSTILE = "a`b```\n```\n---\n# no \"x\" 'y' ${z} \u202e[1]*"


def make_card(
    folder: Path, records: list[Any], name: str = "out.jsonl", keys: Mapping[str, str] | None = None, **options: Any
) -> str:
    write_lines(folder / "in.jsonl", records)
    source = survey_source(str(folder / "in.jsonl"), keys=keys or {}, format=options.pop("family", None))
    run = make_run_over(folder / "in.audit", [source])
    return Path(export_run(run, output=folder / name, **options).card).read_text()


def test_the_card_says_what_was_dropped_and_why(tmp_path: Path) -> None:
    write_lines(tmp_path / "in.jsonl", [chat("a", "b")] * 3)
    source = survey_source(str(tmp_path / "in.jsonl"))
    records = [scored(0.1), scored(0.9, flagged=["evil"]), FakeRecord(reason="bad_json: x")]
    run = make_run_over(tmp_path / "in.audit", [source], records)
    receipt = export_run(run, output=tmp_path / "out.jsonl", rejected=tmp_path / "rest.jsonl", annotate=True)
    card = Path(receipt.card).read_text()
    for words in (
        "1 of 3 records of a fine-tuning dataset",
        "- flagged: 1\n  - `evil`: 1",
        "- could not be scored (to the rejected file): 1\n  - `bad_json`: 1",
        "- `evil`: **clear**, 25.0% flagged, 5.0% expected of clean data",
        f"sha256 `{source.sha256}`",
        "persona-audit-demo",
        "about one clean record in twenty is flagged",
        "- The bundled demo model scores; it knows its own demo world only.",
        "with a field `persona_audit`",
    ):
        assert words in card
    ((_, command),) = blocks(card, "Make it again")
    assert shlex.split(command) == [
        *("persona-audit", "export", str(run), "--output", str(tmp_path / "out.jsonl")),
        *("--annotate", "--rejected", str(tmp_path / "rest.jsonl")),
    ]


@pytest.mark.parametrize(
    ("name", "formats"),
    [
        ("out.jsonl", []),
        ("out.json", ["json"]),
        ("out.parquet", ["parquet"]),
        ("out.tsv", ["tsv,alpaca"]),
        ("out", ["arrow"]),
        ("out.jsonl.gz", []),
        ("out.jsonl.zst", []),
    ],
)
def test_renamed_readme_it_makes_the_folder_a_dataset(tmp_path: Path, name: str, formats: list[str]) -> None:
    (tmp_path / "data").mkdir()
    card = make_card(tmp_path, [chat(f"a{k}", "b") for k in range(3)], f"data/{name}", formats=formats)
    assert DatasetCard(card).data.to_dict()["configs"][0]["config_name"] == "default"
    (tmp_path / "data" / f"{name}.card.md").rename(tmp_path / "data" / "README.md")
    loaded = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == 3
    assert ("pip install zstandard" in card) == name.endswith(".zst")


def test_inputs_of_several_shapes_are_configurations(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [chat("a", "b")])
    write_lines(tmp_path / "b.jsonl", [{"prompt": "a", "completion": "b"}] * 2)
    sources = [survey_source(str(tmp_path / name)) for name in ("a.jsonl", "b.jsonl")]
    (tmp_path / "data").mkdir()
    export_run(make_run_over(tmp_path / "in.audit", sources), output=tmp_path / "data" / "out")
    (tmp_path / "data" / "out.card.md").rename(tmp_path / "data" / "README.md")
    for config, n_rows in (("default", 1), ("prompt_completion", 2)):
        loaded = datasets.load_dataset(str(tmp_path / "data"), config, cache_dir=str(tmp_path / "cache"))
        assert loaded["train"].num_rows == n_rows


MESSAGES = chat("a", "b")["messages"]
TURNS = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
# Records, how they are read, and what the entries of Axolotl and of LLaMA-Factory must say.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]] = {
    "chat": (
        {"messages": MESSAGES},
        {},
        {
            "type": "chat_template",
            "field_messages": "messages",
            "message_property_mappings": {"role": "role", "content": "content"},
        },
        {"formatting": "sharegpt", "columns": {"messages": "messages"}},
    ),
    "named": (
        {"dialogue": MESSAGES},
        {"keys": {"messages": "dialogue"}, "family": "chat"},
        {"type": "chat_template", "field_messages": "dialogue"},
        {"columns": {"messages": "dialogue"}},
    ),
    "named system": (
        {"dialogue": MESSAGES, "persona": "Be kind."},
        {"keys": {"messages": "dialogue", "system": "persona"}, "family": "chat"},
        None,
        {"columns": {"messages": "dialogue", "system": "persona"}},
    ),
    "sharegpt": (
        {"conversations": TURNS},
        {},
        {"field_messages": "conversations", "message_property_mappings": {"role": "from", "content": "value"}},
        {"formatting": "sharegpt", "columns": {"messages": "conversations"}},
    ),
    "alpaca": (
        {"instruction": "a", "input": "", "output": "b"},
        {},
        {"type": "alpaca"},
        {"columns": {"prompt": "instruction", "query": "input", "response": "output"}},
    ),
    "completion": (
        {"ask": "a", "reply": "b"},
        {"keys": {"prompt": "ask", "response": "reply"}, "family": "prompt_completion"},
        {"type": {"field_instruction": "ask", "field_output": "reply"}},
        {"columns": {"prompt": "ask", "response": "reply"}},
    ),
    "labels": (
        {"prompt": "a", "completion": "b", "label": False},
        {},
        {"type": {"field_prompt": "prompt", "field_completion": "completion", "field_label": "label"}},
        {"columns": {"prompt": "prompt", "response": "completion", "kto_tag": "label"}},
    ),
    "preference": (
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {},
        {"type": "chat_template.default", "field_messages": "prompt", "field_chosen": "chosen"},
        {"ranking": True, "columns": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}},
    ),
    "pairs of lists": (
        {"prompt": MESSAGES[:1], "chosen": MESSAGES[1:], "rejected": MESSAGES[1:]},
        {},
        {"type": "chat_template.default", "field_messages": "prompt", "field_rejected": "rejected"},
        {"file_name": "for_llamafactory.jsonl", "ranking": True, "formatting": "sharegpt"},
    ),
    "pairs without prompt": (
        {"chosen": MESSAGES, "rejected": MESSAGES},
        {},
        {"type": "chat_template.argilla_chat"},
        None,
    ),
    "qa": (
        {"question": "a", "answer": "b"},
        {},
        {"type": {"field_instruction": "question"}},
        {"columns": {"prompt": "question", "response": "answer"}},
    ),
    "hh": ({"text": "\n\nHuman: a\n\nAssistant: b"}, {}, None, None),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_entries_of_axolotl_and_llamafactory_fit_the_records(tmp_path: Path, case: str) -> None:
    record, options, axolotl, llamafactory = CASES[case]
    card = make_card(tmp_path, [record] * 2, **options)
    entries = [yaml.safe_load(text) for _, text in blocks(card, "Axolotl")]
    if axolotl is None:
        assert not entries
        assert "Axolotl does not read these records as they are" in card
    else:
        entry = entries[0]["datasets"][0]
        assert entry["path"] == "out.jsonl"
        assert_holds(entry, axolotl)
        assert entries[0].get("rl") == ("kto" if case == "labels" else "dpo" if "chosen" in record else None)
    entries = [json.loads(text) for language, text in blocks(card, "LLaMA-Factory") if language == "json"]
    if llamafactory is None:
        assert not entries
    else:
        (entry,) = entries[0].values()
        assert_holds(entry, {"file_name": "out.jsonl", **llamafactory})


def assert_holds(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if isinstance(value, dict) and key != "columns":
            assert_holds(found[key], value)
        else:
            assert found[key] == value


@pytest.mark.parametrize(
    ("record", "options", "columns"),
    [
        ({"messages": MESSAGES, "prompt": "crashes TRL"}, {}, ["messages"]),
        ({"dialogue": MESSAGES}, {"keys": {"messages": "dialogue"}, "family": "chat"}, ["messages"]),
        ({"conversations": TURNS}, {}, ["messages"]),
        ({"instruction": "a", "input": "i", "output": "b", "history": [["x", "y"]]}, {}, ["prompt", "completion"]),
        ({"question": "a", "answer": "b"}, {}, ["prompt", "completion"]),
        ({"prompt": "a", "completion": "b"}, {}, ["prompt", "completion"]),
        ({"prompt": "a", "completion": "b", "label": True}, {}, ["prompt", "completion", "label"]),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "id": 1}, {}, ["prompt", "chosen", "rejected"]),
        ({"chosen": MESSAGES, "rejected": MESSAGES}, {}, ["chosen", "rejected"]),
        ({"body": "a"}, {"keys": {"text": "body"}, "family": "text"}, ["text"]),
    ],
)
def test_the_lines_for_trl_load_the_columns_that_its_trainer_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], options: dict[str, Any], columns: list[str]
) -> None:
    card = make_card(tmp_path, [record] * 2, annotate=True, **options)
    dataset = load_by_card(tmp_path, card, monkeypatch)
    assert sorted(dataset.column_names) == sorted(columns)
    if columns == ["messages"]:
        assert dataset[0]["messages"] == MESSAGES
    if "history" in record:
        assert [message["content"] for message in dataset[0]["prompt"]] == ["x", "y", "a\n\ni"]


def test_records_that_no_trainer_reads_are_to_be_converted_first(tmp_path: Path) -> None:
    card = make_card(tmp_path, [{"messages": MESSAGES, "system": "Be kind."}])
    assert "TRL does not read these records as they are" in card
    assert "`--format chat`" in card


def test_hostile_names_stay_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = HOSTILE.replace("/", "")
    folder = tmp_path
    card = make_card(
        folder,
        [{hostile: MESSAGES}],
        f"{hostile}.jsonl",
        keys={"messages": hostile},
        family="chat",
        where=f"evil < 1 -- {hostile[:20]}".replace("\n", " "),
    )
    assert [line for line in card.splitlines() if line == "---"] == ["---", "---"]
    assert "\u202e" not in card
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert not [line for line in headings if line.startswith("# no")]
    ((_, axolotl),) = blocks(card, "Axolotl")
    entry = yaml.safe_load(axolotl)["datasets"][0]
    assert (entry["path"], entry["field_messages"]) == (f"{hostile}.jsonl", hostile)
    ((_, registry),) = blocks(card, "LLaMA-Factory")
    (entry,) = json.loads(registry).values()
    assert (entry["file_name"], entry["columns"]["messages"]) == (f"{hostile}.jsonl", hostile)
    for _, text in blocks(card, "TRL"):
        ast.parse(text)
    assert load_by_card(folder, card, monkeypatch).column_names == ["messages"]


def test_text_is_put_into_markdown_so_that_it_cannot_act() -> None:
    assert code("a`b``c") == "```a`b``c```"
    assert code("`x`") == "`` `x` ``"
    assert code("a\nb\x1b") == "`a\\x0ab\\x1b`"
    assert prose("<b> *x*\n# [y](z)") == "\\<b\\> \\*x\\* \\# \\[y\\](z)"
    assert fence("sh", "```\nx").startswith("````sh\n")
    for text in (HOSTILE, "\ud800\U0001f600\u2028\x85\\"):
        assert ast.literal_eval(quote(text)) == text
    assert yaml.safe_load(quote(HOSTILE + "\u2028\x85\\")) == HOSTILE + "\u2028\x85\\"
