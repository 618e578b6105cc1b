"""What a trainer needs to be told to read an export, as a value: blocks of text for a card."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Advice:
    """How one trainer reads an output.

    Attributes:
        blocks: (language, text) in order; empty where it cannot read the output as it is.
        notes: sentences beside them.
    """

    blocks: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())


def convert_first(trainer: str, shape: str, why: str) -> Advice:
    """Return the advice to convert, for a form that the trainer does not read."""
    return Advice(
        notes=(
            f"{trainer} does not read these records as they are ({why}): export them again with `--format {shape}`.",
        )
    )
