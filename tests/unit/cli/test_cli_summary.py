"""`summary`: the answer first; plain and the same every time off a terminal; JSON and nothing else with --json."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from audit.cli.console import open_console, print_blocks
from audit.cli.summary_view import render_summary
from audit.store import RunStore
from audit.summary import summarise_run
from tests.fabricated import make_run, scored
from tests.unit.cli.conftest import Ask


def test_the_summary_names_share_verdicts_run_and_what_to_type_next(run: Path, ask: Ask) -> None:
    text = ask("summary", run).stdout
    assert text.splitlines()[0] == "▲ RISK: training on this data would likely shift the model (evil)"
    for words in ("▲ risk", "◆ watch", "2 of 3 judged (66.7%)", "+0.300 to +0.500", "1 skipped (1 bad_json)"):
        assert words in text
    assert f"run  {run}" in text
    assert f"persona-audit show {run} --top evil" in text


def test_off_a_terminal_it_is_plain_narrow_and_always_the_same(run: Path, ask: Ask) -> None:
    text = ask("summary", run).stdout
    assert "\x1b" not in text
    assert text == ask("summary", run).stdout
    lines = [line for line in text.splitlines() if str(run.parent) not in line]
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)


def test_json_holds_every_part_and_nothing_else_is_printed(run: Path, ask: Ask) -> None:
    values = json.loads(ask("summary", run, "--json").stdout)
    assert values["state"] == "finished"
    assert [row["verdict"] for row in values["verdicts"]] == ["risk", "watch"]
    assert values["counts"]["n_flagged"] == 2


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["--fail-on", "verdict.evil == 'risk' or n_skipped > 5"], 1, "verdict.evil is risk"),
        (["--fail-on", "verdict.evil == 'clear'", "--fail-on", "n_flagged > 99"], 0, ""),
        (["--fail-on", "verdict.evli == 'risk'"], 2, "there is no trait 'evli'"),
        (["--fail-on", "verdict.evil = 'risk'"], 2, "== compares"),
        (["--fail-on", "n_near_flagged > 5"], 1, "counts as passed"),
        (["--fail-on", "n_near_flagged > 5", "--allow-undecided"], 0, ""),
    ],
)
def test_a_limit_decides_the_exit_code(run: Path, ask: Ask, words: list[str], code: int, complaint: str) -> None:
    result = ask("summary", run, *words)
    assert result.exit_code == code
    assert complaint in result.stderr
    assert bool(result.stderr) == (code != 0)
    assert ("RISK" in result.stdout) == (code != 2)


def test_json_says_which_limits_were_passed(run: Path, ask: Ask) -> None:
    result = ask("summary", run, "--json", "--fail-on", "n_flagged > 1")
    assert json.loads(result.stdout)["limits_passed"] == ["n_flagged > 1: it is 2"]


def test_limits_take_a_finished_run(tmp_path: Path, ask: Ask) -> None:
    run = make_run(tmp_path / "a.audit", [scored(0.1)] * 2, dataset=tmp_path / "a.jsonl", is_finished=False)
    result = ask("summary", run, "--fail-on", "risk")
    assert result.exit_code == 2
    assert "has not finished" in result.stderr


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path, ask: Ask) -> None:
    run = make_run(tmp_path / "a.audit", [scored(0.1)] * 2, dataset=tmp_path / "a.jsonl", is_finished=False)
    result = ask("summary", run)
    assert result.exit_code == 0
    assert result.stdout.startswith("UNFINISHED: 2 of 2 records stored")


@pytest.mark.parametrize(
    ("verdicts", "headline"),
    [
        (("clear", "clear"), "✓ CLEAR"),
        (("clear", "undecided"), "✓ CLEAR: no trait stands out from clean data; undecided: sycophantic"),
        (("watch", "clear"), "◆ WATCH: a small but real shift (evil)"),
        (("watch", "risk"), "▲ RISK: training on this data would likely shift the model (sycophantic)"),
        (("undecided", "undecided"), "? UNDECIDED: nothing could be judged"),
    ],
)
def test_the_headline_is_the_worst_verdict(tmp_path: Path, ask: Ask, verdicts: tuple[str, str], headline: str) -> None:
    named = dict(zip(("evil", "sycophantic"), verdicts, strict=True))
    run = make_run(tmp_path / "a.audit", [scored(0.1)], dataset=tmp_path / "a.jsonl", verdicts=named)
    assert ask("summary", run).stdout.splitlines()[0].startswith(headline)


def change(run: Path, **values: Any) -> dict[str, Any]:
    manifest = RunStore(run).read_manifest()
    return {**summarise_run(run, manifest), **values}


def render(values: dict[str, Any], *, width: int = 100) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, markup=False, emoji=False, highlight=False)
    print_blocks(render_summary(values, console), console)
    return stream.getvalue()


def test_missing_numbers_have_a_dash_and_missing_parts_no_line(run: Path) -> None:
    values = change(run, reference=None, domain=None, correlations={}, timing={}, notices=[])
    for row in values["verdicts"]:
        row |= {"cohens_d": None, "ci_low": None, "ci_high": None, "mean_difference": None, "n": 0}
        row |= {"expected_false_flags": None, "n_flagged": 0}
    values["counts"] |= {"expected_false_flags": None, "flagged_share": None}
    text = render(values)
    assert "–" in text
    assert "none, and no scores that can stand in for one" in text
    assert "goes with" not in text


def test_the_flagged_share_is_of_the_judged_records_where_they_were_counted(run: Path) -> None:
    values = change(run)
    values["counts"] |= {"n_judged": None, "flagged_share": None}
    assert "2 of 3 scored (–)" in render(values)
    values["counts"] |= {"n_judged": 4000, "flagged_share": 2 / 4000}
    assert "2 of 4,000 judged (0.1%)" in render(values)
    values["counts"] |= {"n_judged": 0, "n_flagged": 0, "flagged_share": None}
    assert "0 of 0 judged (–)" in render(values)


def test_the_reference_is_said_to_be_clean_once(run: Path) -> None:
    text = render(change(run, reference={"source": "clean rows of the demo world, seed 8100", "n": 3000}))
    assert "reference  clean rows of the demo world, seed 8100 (3,000 records)" in text


def test_notices_of_hostile_data_stay_text(run: Path) -> None:
    text = render(change(run, notices=["\x1b[31m[bold]OUT OF DOMAIN[/bold]"]))
    assert r"! \x1b[31m[bold]OUT OF DOMAIN[/bold]" in text


def test_a_narrow_terminal_breaks_lines_not_the_program(run: Path) -> None:
    at_80 = render(change(run), width=80)
    assert all(words in at_80 for words in ("▲ risk", "+0.400", "+0.80", "+0.300 to +0.500"))
    assert "▲ RISK" in render(change(run), width=30)


def test_evidence_stands_beside_the_verdicts_or_where_that_is_narrow_on_a_line(run: Path) -> None:
    values = change(run)
    assert "band" not in render(values)
    for row, found in zip(values["verdicts"], ((6.21, 2.34), (None, None)), strict=True):
        row |= dict(zip(("evidence_z_pooled", "evidence_band"), found, strict=True))
    (header, row) = (line for line in render(values).splitlines() if "Z (band)" in line or "+6.2 (2.3)" in line)
    assert header.index("Z (band)") + len("Z (band)") == row.index("+6.2 (2.3)") + len("+6.2 (2.3)")
    for width in (80, 95):
        text = render(values, width=width)
        assert "Z (band) " not in text
        assert "evidence   pooled Z (band of random directions): evil +6.2 (2.3), sycophantic" in text
    # A run written by an older version has no such fields.
    for row in values["verdicts"]:
        del row["evidence_z_pooled"], row["evidence_band"]
    assert "band" not in render(values)


def test_json_holds_what_evidence_says(run: Path, ask: Ask) -> None:
    store = RunStore(run)
    manifest = store.read_manifest()
    for row in manifest["verdicts"]:
        row |= {"evidence_z_pooled": 6.5, "evidence_band": 2.0, "mean_evidence_z": 0.5}
    store.write_manifest({**manifest, "evidence": {"level": "full", "n_directions": 32}})
    values = json.loads(ask("summary", run, "--json").stdout)
    assert values["verdicts"][0]["evidence_z_pooled"] == 6.5
    assert values["evidence"]["level"] == "full"


def test_answers_that_are_drawn_are_counted_and_said_to_be_so(run: Path) -> None:
    values = change(run)
    assert "the model's own answer to each prompt" in render(values, width=200)
    values["baseline"] |= {"n_prompts": 10, "n_generated": 6, "n_generated_tokens": 90, "n_cached": 18, "n_failed": 1}
    values["baseline"] |= {"samples": 4, "generator": "server: llama"}
    values["baseline"]["auto"] = {
        "r2": {"evil": 0.5},
        "has_reference": True,
        "confidence": 0.95,
        "expected_misses": 1.0,
        "n_found": 9,
        "miss_bound": 0.04,
    }
    text = render(values, width=200)
    assert "the mean over 4 drawn answers of the model's own to each prompt, from a server: llama" in text
    assert "10 distinct prompts, 4 answers each: 6 made with 90 tokens, 18 from the cache, 1 failed" in text
    # 24 of 40 answers are there: four of the ten prompts have a predicted baseline.
    assert "40.0% of the answers" in text


def test_what_a_score_goes_with_is_named_from_three_tenths_on(run: Path) -> None:
    text = render(
        change(run, correlations={"evil": {"n_response_tokens": 0.31, "list_share": -0.29, "is_refusal": None}})
    )
    assert "evil with n_response_tokens (r = +0.31)" in text
    assert "list_share" not in text


def test_a_mark_that_tells_the_flagged_rows_is_named(run: Path) -> None:
    known = {"auc": 0.874, "low": 0.843, "high": 0.9, "direction": "less"}
    found = {"n_response_tokens": known, "list_share": {**known, "low": 0.69, "direction": "more"}}
    predictors = {"evil": {"of": "flagged", "n_flagged": 40, "n_others": 900, "marks": found}}
    text = render(change(run, predictors=predictors, languages={"en": 900, "de": 40}))
    assert "told by" in text
    assert "evil flags by length (short responses), AUC .87 (.84-.90)" in text
    assert "list format" not in text
    assert "languages" in text
    assert "900 en, 40 de" in text
    predictors["evil"]["of"] = "top"
    assert "evil at the top by length" in render(change(run, predictors=predictors))
    # One language is no news, and a run from before knows none of it.
    assert "languages" not in render(change(run, languages={"en": 900}))
    assert "told by" not in render(change(run, predictors={}))


def test_the_flagged_share_by_turns_is_shown_where_conversations_differ(run: Path) -> None:
    rows = [
        {"n_scored_turns": 1, "n_records": 4_019, "n_flagged": 200},
        {"n_scored_turns": 10, "n_records": 50, "n_flagged": 10},
    ]
    text = " ".join(render(change(run, flagged_by_turns=rows)).split())
    assert "flagged share by scored turns: 1: 5.0% of 4,019, 10 or more: 20.0% of 50" in text
    assert "by turns" not in render(change(run, flagged_by_turns=rows[:1]))
    assert "by turns" not in render(change(run, flagged_by_turns=[{**row, "n_flagged": 0} for row in rows]))


def test_no_color_and_dumb_terminals_get_no_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert open_console().color_system is not None
    monkeypatch.setenv("NO_COLOR", "1")
    assert open_console().color_system is None
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not open_console().is_terminal
