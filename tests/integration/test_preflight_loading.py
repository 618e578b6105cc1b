"""Every rule about loading, seen happening: `datasets.load_dataset("json")` on the files that the check names.

Pairs covered: `audit.preflight.loading` with `datasets`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit.preflight import check_datasets
from audit.preflight.loading import add_loading_rules
from audit.preflight.trainer import RuleBook

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")

_PAD = "x" * 500_000


def _chat(prompt: Any, answer: Any, **more: Any) -> bytes:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages, **more}).encode() + b"\n"


def _after_10_mib(line: bytes, **more: Any) -> bytes:
    return _chat(_PAD, "a", **more) * 24 + line


FINE = _chat("a", "b")
STOPS: dict[str, list[bytes]] = {
    "broken_line": [FINE + b"{bad\n", FINE + b'{"messages": [{"role"', b"[" + FINE + b",{bad]"],
    "line_no_object": [FINE + b"[1, 2]\n", FINE + b"5\n", b"[" + FINE + b",5]"],
    "undecodable_line": [FINE + b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}\n'],
    "lone_surrogate": [FINE + b'{"messages": [{"role": "user", "content": "\\ud800"}]}\n'],
    "utf_16": [FINE.decode().encode("utf-16")],
    "mark_inside": [FINE + b"\xef\xbb\xbf" + FINE],
    "late_column": [_after_10_mib(_chat("a", "b", source="web"))],
    "late_message_key": [
        _after_10_mib(b'{"messages": [{"role": "user", "content": "a", "weight": 0}]}\n'),
    ],
    "late_kind": [
        _after_10_mib(_chat("a", "b", id="seven"), id=7),
        _after_10_mib(_chat("a", "b", id=7.5), id=7),
        _after_10_mib(_chat("a", "b", id="seven"), id=None),
        _after_10_mib(_chat("a", "b", id={"a": 1, "b": 2}), id={"a": 1}),
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
    _chat("a", "b", source="web") + _after_10_mib(_chat("a", "b", source="web")),
    b'{"messages": [{"role": "user", "content": "caf\\u00e9 \\ud83d\\ude00"}]}\n',
]


def _find_codes(path: Path) -> set[str]:
    (report,) = check_datasets([str(path)], trainer="axolotl").trainers
    return {finding.rule.code for finding in report.findings} & set(_rules())


def _rules() -> dict[str, Any]:
    book = RuleBook("loading")
    add_loading_rules(book)
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
