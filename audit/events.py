"""What a running job tells a listener: stages with progress, notes, warnings. Silent by default.

Jobs call the listener with a frozen event; only the command line knows how events look on a terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins; `total` counts `unit`s, None where it cannot be known."""

    stage: str
    total: int | None
    unit: str = "rows"
    done: int = 0


@dataclass(frozen=True, slots=True)
class StageAdvanced:
    """`n` more units of the stage are done."""

    stage: str
    n: int


@dataclass(frozen=True, slots=True)
class StageFinished:
    """The stage is complete."""

    stage: str


@dataclass(frozen=True, slots=True)
class PartWritten:
    """A part of the run directory is finished and safe on disk."""

    name: str
    n_rows: int


@dataclass(frozen=True, slots=True)
class Noted:
    """Something a user should know and need not act on."""

    message: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a user should act on; the job goes on."""

    message: str


Event = StageStarted | StageAdvanced | StageFinished | PartWritten | Noted | Warned
Listener = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """Drop the event: the listener of a library call that asked for none."""
