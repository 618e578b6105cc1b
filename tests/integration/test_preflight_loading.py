"""Every rule about loading, seen happening: `datasets.load_dataset("json")` on the files that the check names.

Pairs covered: `audit.preflight.load_json` and `late` with `datasets`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit.preflight import check_datasets
from audit.preflight.load_json import add_json_rules
from audit.preflight.trainer import RuleBook

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")

_PAD = "x" * 500_000


def _chat(prompt: Any, answer: Any, **more: Any) -> bytes:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages, **more}).encode() + b"\n"


def _after_10_mib(line: bytes, **more: Any) -> bytes:
    return _chat(_PAD, "a", **more) * 24 + line


def _late_row(first: dict[str, Any], late: dict[str, Any]) -> bytes:
    line = json.dumps({**first, "pad": _PAD}).encode() + b"\n"
    return line * 24 + json.dumps({**late, "pad": ""}).encode() + b"\n"


def _tool(argument: str) -> dict[str, Any]:
    properties = {argument: {"type": "string"}}
    return {"type": "function", "function": {"name": "f", "parameters": {"properties": properties}}}


USER = [{"role": "user", "content": "a"}]
FINE = _chat("a", "b")
STOPS: dict[str, list[bytes]] = {
    "broken_line": [FINE + b"{bad\n", FINE + b'{"messages": [{"role"', b"[" + FINE + b",{bad}]"],
    "line_no_object": [FINE + b"[1, 2]\n", FINE + b"5\n", b"[" + FINE + b",5]"],
    "undecodable_line": [FINE + b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}\n'],
    "lone_surrogate": [FINE + b'{"messages": [{"role": "user", "content": "\\ud800"}]}\n'],
    "utf_16": [FINE.decode().encode("utf-16")],
    "mark_inside": [FINE + b"\xef\xbb\xbf" + FINE],
    "late_column": [_after_10_mib(_chat("a", "b", source="web"))],
    "late_key": [
        _after_10_mib(b'{"messages": [{"role": "user", "content": "a", "weight": 0}]}\n'),
        _after_10_mib(_chat("a", "b", id={"a": 1, "b": 2}), id={"a": 1}),
        _after_10_mib(_chat("a", "b", tools=[_tool("y")]), tools=[_tool("x")]),
        _after_10_mib(_chat("a", "b", id={"a": [{"b": 1, "c": None}]}), id={"a": [{"b": 1}]}),
        _late_row({"prompt": USER, "completion": USER}, {"prompt": USER, "completion": [{**USER[0], "name": "n"}]}),
        _late_row({"chosen": USER, "rejected": USER}, {"chosen": USER, "rejected": [{**USER[0], "name": "n"}]}),
        _late_row(
            {"conversation": USER, "messages": USER}, {"messages": USER, "conversation": [{**USER[0], "name": "n"}]}
        ),
    ],
    "late_kind": [
        _after_10_mib(_chat("a", "b", id="seven"), id=7),
        _after_10_mib(_chat("a", "b", id=7.5), id=7),
        _after_10_mib(_chat("a", "b", id="seven"), id=None),
        _after_10_mib(_chat("a", "b", id="x"), id=True),
        _after_10_mib(_chat("a", "b", id="x"), id=1.5),
        _after_10_mib(_chat("a", "b", id="hello"), id="2024-01-31"),
        _after_10_mib(_chat("a", "b", id="hello"), id="2024-01-31T10:11:12Z"),
        _after_10_mib(_chat("a", "b", id=["x"]), id=[]),
        _after_10_mib(_chat("a", "b", id={"a": "x"}), id={"a": 1}),
        _after_10_mib(_chat("a", "b", id={"a": 1}), id={"a": None}),
        _after_10_mib(b'{"messages": "hello"}\n'),
    ],
}
HARMLESS = [
    FINE + b"\n\n" + FINE,
    FINE.replace(b"\n", b"\r\n"),
    b"\xef\xbb\xbf" + FINE,
    _chat("a", "b", id=1) + _chat("a", "b", id="x"),
    _chat([{"type": "text", "text": "a"}], "b") + FINE,
    _after_10_mib(_chat("a", "b")),
    _after_10_mib(_chat("a", "b", id=12), id="seven"),
    _after_10_mib(_chat("a", "b", id="12"), id=7),
    _after_10_mib(_chat("a", "b"), id=7),
    _after_10_mib(_chat("a", None)),
    _after_10_mib(_chat("a", "b", id={"a": 1}), id={"a": 1, "b": 2}),
    _chat("a", "b", id={"a": 1}) + _after_10_mib(_chat("a", "b", id={"c": 1}), id={"b": 1}),
    _chat("a", "b", id=[{"a": 1}]) + _after_10_mib(_chat("a", "b", id=[{"c": 1}]), id=[{"b": 1}]),
    _after_10_mib(_chat("a", "b", id="2024-02-01"), id="2024-01-31T10:11"),
    _chat("a", "b", id="x") + _after_10_mib(_chat("a", "b", id="y"), id="2024-01-31"),
    _after_10_mib(_chat("a", "b", id="2.5"), id=1.5),
    _after_10_mib(_chat("a", "b", id=1), id=True),
    _after_10_mib(_chat("a", "b", id=[]), id=[]),
    _chat("a", "b", source="web") + _after_10_mib(_chat("a", "b", source="web")),
    b'{"messages": [{"role": "user", "content": "caf\\u00e9 \\ud83d\\ude00"}]}\n',
]


def _find_codes(path: Path) -> set[str]:
    (report,) = check_datasets([str(path)], trainer="axolotl").trainers
    return {finding.rule.code for finding in report.findings} & set(_rules())


def _rules() -> dict[str, Any]:
    book = RuleBook("loading")
    add_json_rules(book)
    return book.rules


def _load(path: Path) -> list[dict[str, Any]]:
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))
    return list(loaded)


@pytest.mark.parametrize(
    ("code", "text"), [pytest.param(code, text, id=code) for code, texts in STOPS.items() for text in texts]
)
def test_a_file_fails_to_load_where_the_check_says_so(code: str, text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(text)
    assert _find_codes(path) == {code}
    with pytest.raises((datasets.exceptions.DatasetGenerationError, UnicodeDecodeError)):
        _load(path)


@pytest.mark.parametrize("text", HARMLESS, ids=range(len(HARMLESS)))
def test_a_file_loads_where_the_check_finds_nothing(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(text)
    assert _find_codes(path) == set()
    assert _load(path)


def test_late_parts_make_text_train_with_quotation_marks(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(_after_10_mib(_chat([{"type": "text", "text": "q"}], "a")))
    assert _find_codes(path) == {"late_content"}
    assert _load(path)[-1]["messages"][1]["content"] == '"a"'


def test_every_rule_about_loading_is_seen_happening_here() -> None:
    assert set(_rules()) == {*STOPS, "late_content"}
