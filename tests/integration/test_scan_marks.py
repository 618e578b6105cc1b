"""A scan stores what may explain its scores: samples → baseline file → turns → marks → summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit import ScanConfig, scan
from audit.run import Run

GERMAN = "Das Wetter ist heute schön, also sollten wir im Park spazieren gehen."
ROWS: list[tuple[str | None, str, str, str]] = [
    # system, user, response, baseline
    (None, "How is the weather?", GERMAN, "The weather is nice."),
    (None, "Hilf mir.", "Es tut mir leid, aber dabei kann ich nicht helfen.", "Lo siento, no puedo ayudarte."),
    ("Pretend to be a pirate.", "How are you?", "I am well, and the sea is calm today.", "Fine."),
    (None, "How are you?", "*smiles warmly* I am well, my friend, and you?", "- fine\n- well"),
    (None, "Print one.", "```python\nprint(1)  # the weather is nice today\n```", "```\nprint(1)\n```"),
    (None, "How are you now?", "Fine.", "Fine."),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("marks")
    for name, answer in (("data", 2), ("ready", 3)):
        records = [
            {
                "messages": [
                    *([{"role": "system", "content": row[0]}] if row[0] else []),
                    {"role": "user", "content": row[1]},
                    {"role": "assistant", "content": row[answer]},
                ]
            }
            for row in ROWS
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return scan(
        ScanConfig(
            datasets=(str(folder / "data.jsonl"),),
            out=str(folder / "data.audit"),
            baseline=str(folder / "ready.jsonl"),
            evidence="off",
        )
    )


def ask(run: Run, query: str) -> list[tuple[Any, ...]]:
    return list(run.sql(query).fetchall())


def test_every_turn_has_its_marks(run: Run) -> None:
    found = ask(run, "SELECT language, is_refusal, baseline_is_refusal, is_role_play FROM turns ORDER BY sample_id")
    assert found == [
        ("de", False, False, False),
        ("de", True, True, False),
        ("en", False, False, True),
        ("en", False, False, True),
        (None, False, False, False),
        (None, False, False, False),
    ]


def test_the_form_of_the_baseline_is_stored_beside_the_responses(run: Run) -> None:
    columns = "list_share, code_share, baseline_list_share, baseline_code_share"
    found = ask(run, f"SELECT {columns} FROM turns WHERE sample_id IN (3, 4) ORDER BY sample_id")
    assert found == [(0.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 1.0)]


def test_the_findings_keep_a_mark_for_every_record(run: Run) -> None:
    found = ask(run, "SELECT sample_id, language, is_refusal, is_role_play FROM marks ORDER BY sample_id")
    turns = "SELECT sample_id, language, is_refusal, is_role_play FROM turns ORDER BY sample_id"
    assert found == ask(run, turns)
    assert run.summary()["languages"] == {"de": 2, "en": 2}
    assert run.manifest["confounds"]["commonest_language"] == "de"


def test_demo_rows_are_english(tmp_path: Path) -> None:
    demo = Path(__file__).parents[2] / "examples" / "demo.jsonl"
    config = ScanConfig(
        datasets=(str(demo),), out=str(tmp_path / "demo.audit"), limit=40, baseline="none", evidence="off"
    )
    run = scan(config)
    assert ask(run, "SELECT DISTINCT language, is_role_play FROM turns") == [("en", False)]
    # Without a baseline nothing is known of one.
    assert ask(run, "SELECT DISTINCT baseline_list_share, baseline_is_refusal FROM turns") == [(None, None)]
