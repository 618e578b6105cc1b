"""Progress in plain lines: few of them, with rate and time left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from audit.cli.progress import BarListener, LineListener, listening
from audit.events import Noted, PartWritten, StageAdvanced, StageFinished, StageStarted, Warned


class Clock:
    """A clock that a test winds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_stage_writes_at_most_one_line_every_five_seconds() -> None:
    clock, lines = Clock(), list[str]()
    listener = LineListener(lines.append, clock)
    listener(StageStarted("scoring", 1000))
    for _ in range(100):
        clock.now += 0.11
        listener(StageAdvanced("scoring", 10))
    listener(StageFinished("scoring"))
    assert len(lines) == 3
    assert lines[0] == "scoring: 460 of 1,000 rows, 90.9 rows/s, 5.9 s left"
    assert lines[-1] == "scoring: 1,000 rows done in 11.0 s"


def test_the_rate_leaves_out_what_an_earlier_scan_did() -> None:
    clock, lines = Clock(), list[str]()
    listener = LineListener(lines.append, clock)
    listener(StageStarted("scoring", 1000, done=500))
    clock.now = 10.0
    listener(StageAdvanced("scoring", 100))
    assert lines == ["scoring: 600 of 1,000 rows, 10.0 rows/s, 40.0 s left"]


def test_notes_and_warnings_are_told_apart_and_made_safe() -> None:
    lines: list[str] = []
    listener = LineListener(lines.append, Clock())
    for event in (Noted("fine \x1b[31m"), Warned("take\ncare"), PartWritten("part", 3), StageAdvanced("unknown", 1)):
        listener(event)
    assert lines == [r"note: fine \x1b[31m", r"warning: take\ncare"]


def test_bars_show_rate_and_time_left_and_survive_hostile_names() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None, markup=False)
    with Progress(console=console) as progress:
        listener = BarListener(progress)
        for event in (
            StageStarted("[bold]scoring", 10),
            StageAdvanced("[bold]scoring", 4),
            Warned("[red]careful[/red]"),
            StageFinished("[bold]scoring"),
            StageStarted("loading", None, ""),
            StageFinished("loading"),
        ):
            listener(event)
        (first, _) = progress.tasks
        assert (first.completed, first.total, first.finished) == (10, 10, True)
    assert "[red]careful[/red]" in stream.getvalue()


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(is_quiet=True) as listener:
        listener(Warned("careful"))
    with listening(is_quiet=False) as listener:
        listener(Warned("careful"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "warning: careful\n")
