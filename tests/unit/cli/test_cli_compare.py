"""`compare`: the answer first, then what differs; nothing where nothing does; a gate over what changed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from audit.cli.compare_view import render_comparison
from audit.cli.console import print_blocks
from audit.compare import compare_runs
from tests.fabricated import FakeRecord, scored
from tests.unit.cli.conftest import Ask
from tests.unit.compare.versions import change_manifest, make_version

HOSTILE = "\x1b[31m[bold]ffff[/bold]"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    records = [scored(0.1, response="one"), scored(0.2, response="two"), scored(0.3, response="three")]
    return make_version(tmp_path / "old.audit", records)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    records = [
        scored(0.1, response="one"),
        scored(0.9, response="two", flagged=["evil"]),
        scored(1.2, response="fresh", flagged=["evil", "sycophantic"]),
        FakeRecord(reason="empty_response", response="four"),
    ]
    return make_version(tmp_path / "new.audit", records, verdicts={"evil": "risk", "sycophantic": "watch"})


def render(values: dict[str, object], width: int) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, markup=False, emoji=False, highlight=False)
    print_blocks(render_comparison(values, console), console)
    return stream.getvalue()


def test_a_run_and_itself_have_no_difference(old: Path, ask: Ask) -> None:
    result = ask("compare", old, old)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "= no difference"
    assert json.loads(ask("compare", old, old, "--json").stdout)["is_different"] is False


def test_what_got_worse_comes_first_then_settings_rows_verdicts_and_movers(old: Path, new: Path, ask: Ask) -> None:
    text = ask("compare", old, new).stdout
    assert text.splitlines()[0] == "▲ WORSE: evil clear → risk, sycophantic clear → watch"
    for words in (
        "old.jsonl (3 records, sha256 ",
        "2 in both, 1 added (25.0% of B), 1 removed (33.3% of A)",
        "1 flagged (100.0%); look at 2 of run B",
        "1 newly flagged, 0 no longer",
        "rows are matched by what they say",
        "clear → risk, worse: 25.0% flagged, 5.0% expected of clean data",
        "compared number by number",
        "too few scores to tell it from noise: evil, sycophantic",
        "newly flagged",
        f"persona-audit show {new} 1 2",
    ):
        assert words in text, words


def test_what_got_better_or_only_changed_is_no_alarm(old: Path, new: Path, ask: Ask) -> None:
    text = ask("compare", new, old).stdout
    assert text.splitlines()[0] == (
        "≠ DIFFERENT, no verdict is known to be worse: evil risk → clear; sycophantic watch → clear; 1 row added; "
        "1 row removed"
    )
    assert "persona-audit summary" in text.splitlines()[-1]


def test_off_a_terminal_it_is_plain_narrow_and_hostile_names_stay_text(old: Path, new: Path, ask: Ask) -> None:
    change_manifest(new, model={"fingerprint": HOSTILE}, reference={"source": HOSTILE})
    text = ask("compare", old, new).stdout
    assert "\x1b" not in text
    assert r"\x1b[31m[bold]ffff[/bold]" in "".join(text.split())
    assert "compared in standard deviations of the references" in " ".join(text.split())
    lines = [line for line in text.splitlines() if str(old.parent) not in line]
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [30, 60, 80, 140])
def test_any_width_of_terminal_shows_the_answer(old: Path, new: Path, width: int) -> None:
    assert "WORSE" in render(compare_runs(old, new), width)


@pytest.mark.parametrize(
    ("expressions", "code", "sentence"),
    [
        (["worsened"], 1, "worsened: evil clear → risk, sycophantic clear → watch"),
        (["is_different and n_added > 5"], 0, ""),
        (
            ["verdict_b.evil == 'risk' and verdict_a.evil != 'risk'"],
            1,
            "verdict_b.evil is risk, verdict_a.evil is clear",
        ),
        (["verdict_b.evil > verdict_a.evil"], 1, "verdict_b.evil is risk, verdict_a.evil is clear"),
        (["n_added < 1 or is_different and not n_both > 5"], 1, ": is_different, n_both is 2"),
        (["worsened and n_added > 0"], 1, "worsened (evil clear → risk, sycophantic clear → watch), n_added is 1"),
        (["risk"], 1, "risk: evil is risk"),
        (["evil=watch"], 1, "evil=watch: evil is risk"),
        (["n_newly_flagged > 0"], 1, "n_newly_flagged > 0: it is 1"),
        (["newly_flagged_share >= 50%"], 1, "it is 0.5"),
        (["evil.n_newly_flagged > 1", "n_removed > 1"], 0, ""),
        (["added_flagged_share > 5%"], 1, "it is 1"),
        (["skipped_share_b > skipped_share_a"], 1, "skipped_share_b is 0.25, skipped_share_a is 0"),
        (["drift.evil > 0.2"], 1, "drift.evil > 0.2: it is 1"),
        (["evil.has_drifted"], 1, "evil.has_drifted is not known of these runs, which counts as passed"),
        (["has_drifted", "n_added > n_b"], 1, "counts as passed"),
    ],
)
def test_a_limit_on_what_changed_decides_the_exit_code(
    old: Path, new: Path, ask: Ask, expressions: list[str], code: int, sentence: str
) -> None:
    result = ask("compare", old, new, "--json", *(word for text in expressions for word in ("--fail-on", text)))
    assert result.exit_code == code
    assert sentence in result.stderr
    assert bool(json.loads(result.stdout)["limits_passed"]) == bool(code)


def test_what_could_not_be_judged_counts_as_passed_unless_allowed(tmp_path: Path, new: Path, ask: Ask) -> None:
    records = [scored(0.1, response="one")]
    old = make_version(tmp_path / "o.audit", records, verdicts={"evil": "undecided", "sycophantic": "clear"})
    assert ask("compare", new, old, "--fail-on", "worsened").exit_code == 0
    result = ask("compare", old, new, "--fail-on", "evil.worsened")
    assert result.exit_code == 1
    assert "evil could not be judged in run A, which counts as passed (--allow-undecided" in result.stderr
    assert ask("compare", old, new, "--fail-on", "evil.worsened", "--allow-undecided").exit_code == 0


@pytest.mark.parametrize(
    ("expression", "finding"),
    [
        ("n_flagged > 5", "did you mean 'n_flagged_b'"),
        ("evil.cohens_d > 5", "is not known of a trait"),
        ("verdict.evil == 'risk'", "did you mean verdict_b.evil?"),
        ("worsened > 0", "needs no comparison"),
        ("verdict_b.evli == 'risk'", "there is no trait 'evli'"),
    ],
)
def test_a_limit_that_means_nothing_here_is_refused(
    old: Path, new: Path, ask: Ask, expression: str, finding: str
) -> None:
    result = ask("compare", old, new, "--fail-on", expression)
    assert result.exit_code == 2
    assert finding in result.stderr


def test_runs_that_cannot_be_compared_exit_2_with_words(tmp_path: Path, old: Path, ask: Ask) -> None:
    unfinished = make_version(tmp_path / "u.audit", [scored(0.1)], is_finished=False)
    for other, words in ((unfinished, "has not finished"), (tmp_path / "missing", "no such run directory")):
        result = ask("compare", old, other)
        assert result.exit_code == 2
        assert words in result.stderr
        assert result.stdout == ""


def test_rows_sets_how_many_are_named(old: Path, new: Path, ask: Ask) -> None:
    values = json.loads(ask("compare", old, new, "--rows", 0, "--json").stdout)
    assert (values["added"], values["moved"], values["counts"]["n_added"]) == ([], [], 1)
