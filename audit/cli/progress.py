"""Listeners: a job's events as progress bars on a terminal, and as a few plain lines elsewhere.

All of it goes to standard error, so that standard output holds results only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from audit.cli.console import is_terminal, open_console
from audit.cli.text import format_seconds, one_line
from audit.events import (
    Event,
    Listener,
    Noted,
    PartWritten,
    StageAdvanced,
    StageFinished,
    StageStarted,
    Warned,
    ignore_events,
)

LINE_EVERY_S = 5.0
_NOT_A_RATE_BEFORE_S = 0.2


@contextmanager
def listening(*, is_quiet: bool) -> Iterator[Listener]:
    """Give a listener for the time of a job."""
    if is_quiet:
        yield ignore_events
    elif is_terminal(sys.stderr):
        with _progress() as progress:
            yield BarListener(progress)
    else:
        yield LineListener(lambda line: click.echo(line, err=True))


class _Stage:
    """How far a stage is, and since when."""

    def __init__(self, event: StageStarted, now: float) -> None:
        self.total = event.total
        self.unit = event.unit
        self.done = self.first = event.done
        self.began = self.last_line = now

    def rate(self, now: float) -> float | None:
        """Return units a second in this process; None before it can be told."""
        elapsed = now - self.began
        return (self.done - self.first) / elapsed if elapsed > _NOT_A_RATE_BEFORE_S and self.done > self.first else None

    def describe(self, now: float) -> str:
        """Return `200 of 1,000 rows, 53.2 rows/s, 15.0 s left`."""
        of_total = f" of {self.total:,}" if self.total is not None else ""
        words = [f"{self.done:,}{of_total} {self.unit}".rstrip()]
        rate = self.rate(now)
        if rate is not None:
            words.append(f"{rate:,.1f} {self.unit}/s")
            if self.total is not None and self.total > self.done:
                words.append(f"{format_seconds((self.total - self.done) / rate)} left")
        return ", ".join(words)


class LineListener:
    """Writes a line when a stage has run for five seconds, every five seconds after, and when it ends."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._stages: dict[str, _Stage] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        now = self._clock()
        match event:
            case StageStarted():
                self._stages[event.stage] = _Stage(event, now)
            case StageAdvanced(stage=name) if name in self._stages:
                stage = self._stages[name]
                stage.done += event.n
                if now - stage.last_line >= LINE_EVERY_S:
                    stage.last_line = now
                    self._write(f"{name}: {stage.describe(now)}")
            case StageFinished(stage=name) if name in self._stages:
                stage = self._stages.pop(name)
                done = f"{stage.done:,} {stage.unit} " if stage.done else ""
                self._write(f"{name}: {done}done in {format_seconds(now - stage.began)}")
            case Noted(message=message):
                self._write(f"note: {one_line(message)}")
            case Warned(message=message):
                self._write(f"warning: {one_line(message)}")
            case PartWritten() | _:
                pass


class BarListener:
    """Shows a bar with rate and time left for every stage; notes and warnings scroll above."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._stages: dict[str, _Stage] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case StageStarted():
                stage = self._stages[event.stage] = _Stage(event, time.monotonic())
                self._tasks[event.stage] = self._progress.add_task(
                    event.stage, total=event.total, completed=event.done, detail=stage.describe(stage.began)
                )
            case StageAdvanced(stage=name) if name in self._stages:
                stage = self._stages[name]
                stage.done += event.n
                self._progress.update(
                    self._tasks[name], completed=stage.done, detail=self._detail(stage, time.monotonic())
                )
            case StageFinished(stage=name) if name in self._stages:
                stage = self._stages.pop(name)
                total = stage.total if stage.total is not None else max(stage.done, 1)
                took = format_seconds(time.monotonic() - stage.began)
                detail = f"{stage.done:,} {stage.unit} in {took}" if stage.done else took
                self._progress.update(self._tasks.pop(name), total=total, completed=total, detail=detail)
            case Noted(message=message):
                self._progress.console.print(Text(one_line(message), style="dim"))
            case Warned(message=message):
                self._progress.console.print(Text.assemble(("! ", "bold yellow"), one_line(message)))
            case PartWritten() | _:
                pass

    def _detail(self, stage: _Stage, now: float) -> str:
        rate = stage.rate(now)
        of_total = f" / {stage.total:,}" if stage.total is not None else ""
        per_second = f"  {rate:,.1f} {stage.unit}/s" if rate is not None else ""
        return f"{stage.done:,}{of_total} {stage.unit}{per_second}"


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=open_console(is_stderr=True),
        transient=True,
    )
