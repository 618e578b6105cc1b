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


def digits_note(trainer: str) -> str:
    """Return what to do about a CSV whose texts look like numbers."""
    return (
        f"{trainer} would read a column that holds only digits, or only `true` and `false`, as numbers or booleans: "
        "export again with `--format jsonl`."
    )


def say_encoding(trainer: str, container: str) -> Advice:
    """Return the advice for a file in UTF-16, which a copy stays."""
    # Converting writes UTF-8, and the container that the file has already would be a copy again.
    wanted = "jsonl" if container in ("json", "csv", "tsv") else "json"
    return Advice(
        notes=(f"{trainer} reads UTF-8, and this is UTF-16 like its input: export with `--format {wanted}`.",)
    )
