"""`summary --by`: a table that fits, words for what is at risk, JSON, and errors with a cure."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from audit.cli.breakdown_view import render_breakdown
from audit.cli.console import print_blocks

Ask = Callable[..., Result]


def row(trait: str, verdict: str, **options: Any) -> dict[str, Any]:
    return {
        "trait": trait,
        "n": 400,
        "mean_difference": 0.41,
        "cohens_d": 0.81,
        "cohens_d_low": 0.7,
        "cohens_d_high": 0.92,
        "evidence_z_pooled": 6.2,
        "evidence_band": 2.3,
        "n_flagged": 60,
        "flagged_share": 0.15,
        "verdict": verdict,
        "reason": f"why {trait} is {verdict}; in numbers",
        **options,
    }


def group(value: str | None, *verdicts: dict[str, Any], **options: Any) -> dict[str, Any]:
    worst = next(name for name in ("risk", "watch", "undecided", "clear") if name in {v["verdict"] for v in verdicts})
    return {"value": value, "is_rest": False, "n_records": 400, "verdict": worst, "verdicts": list(verdicts), **options}


VALUES: dict[str, Any] = {
    "run": "demo.audit",
    "column": "teacher",
    "is_banded": False,
    "n_groups": 53,
    "n_lumped": 50,
    "alarm_level": 0.01,
    "groups": [
        group("llama\x1b[31m", row("evil", "clear"), row("kind", "clear")),
        group("mistral", row("evil", "risk"), row("kind", "watch")),
        group(None, row("evil", "undecided", cohens_d=None, flagged_share=None), row("kind", "undecided")),
        group(None, row("evil", "clear"), row("kind", "clear"), is_rest=True),
    ],
    "notices": ["its clean reference cannot be used: \x1b[5m"],
}


def render(values: dict[str, Any], width: int) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, markup=False, emoji=False, highlight=False)
    print_blocks(render_breakdown(values, console), console)
    return stream.getvalue()


def test_the_worst_group_comes_first_with_its_reasons() -> None:
    text = render(VALUES, 120)
    assert text.splitlines()[0] == "▲ BY teacher: 1 risk, 1 undecided, 2 clear"
    assert text.index("mistral") < text.index("(none)") < text.index("llama") < text.index("(the other 50)")
    assert "mistral, evil  why evil is risk; in numbers" in text
    assert "why kind is watch" in text
    assert "why evil is clear" not in text
    # Of what is undecided the cause is enough.
    assert "why evil is undecided\n" in text
    assert "60 (15.0%)" in text
    assert "+0.81 (+0.70 to +0.92)" in text
    assert "+6.2 (2.3)" in text
    assert "53 values of teacher; the 3 largest one by one, the other 50 together" in text
    assert "one alarm level of 1% (Bonferroni)" in " ".join(text.split())


@pytest.mark.parametrize("width", [40, 80, 100, 120])
def test_it_fits_any_terminal_and_hostile_values_stay_text(width: int) -> None:
    text = render(VALUES, width)
    assert "\x1b" not in text
    assert all(len(line) <= width for line in text.splitlines() if not line.startswith(("run", "all", "▲")))
    for words in ("mistral", "risk"):
        assert words in text


def test_bands_stay_in_the_order_of_their_numbers() -> None:
    groups = [group(f"{low} to {low + 9}", row("evil", "risk" if low == 20 else "clear")) for low in (0, 10, 20)]
    text = render({**VALUES, "groups": groups, "is_banded": True, "n_groups": 3, "n_lumped": 0}, 100)
    assert text.index("0 to 9") < text.index("10 to 19") < text.index("20 to 29")
    assert "3 bands of about as many records each" in text


def test_no_groups_at_all_are_said() -> None:
    text = render({**VALUES, "groups": [], "n_groups": 0, "n_lumped": 0}, 80)
    assert "no records" in text


def test_the_command_prints_groups_of_a_run_or_their_json(run: Path, ask: Ask) -> None:
    result = ask("summary", run, "--by", "status")
    assert result.exit_code == 0, result.output
    assert "BY status" in result.stdout
    values = json.loads(ask("summary", run, "--by", "status", "--json").stdout)
    assert [(group["value"], group["n_records"]) for group in values["groups"]] == [("ok", 3), ("skipped", 1)]
    assert [len(group["verdicts"]) for group in values["groups"]] == [2, 2]


def test_an_unknown_column_names_those_there_are(run: Path, ask: Ask) -> None:
    result = ask("summary", run, "--by", "nothing")
    assert result.exit_code == 2
    assert "the run has no such column (it has source, line" in str(result.output) + str(result.exception)


def test_help_shows_how_to_ask(ask: Ask) -> None:
    text = ask("summary", "--help").stdout
    assert "--by COLUMN" in text
    assert "summary demo.audit --by source" in text
