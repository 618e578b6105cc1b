"""What a check finds: rules of trainers, the rows they hold for, and the sum of it.

Frozen values only. Knows neither files nor how a trainer works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EFFECTS = ("crashes", "drops", "surprise")
"""What becomes of a row: the run stops at it, it is left out in silence, or it trains something unexpected."""

SCOPES = ("row", "file")


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a trainer does to some rows.

    Attributes:
        trainer: its name.
        code: a short name, unique for the trainer.
        effect: one of `EFFECTS`.
        scope: `row`: something about this row; `file`: the whole file stops or goes unread because of it, or, with
            the effect `surprise`, a default of the trainer that touches every row of a shape.
        place: what is named where it is found: each `line`, or once the `file`, all of whose rows it holds for.
        says: what happens, in one sentence.
        cure: what to do about it.
    """

    trainer: str
    code: str
    effect: str
    scope: str
    says: str
    cure: str
    place: str = "line"

    @property
    def is_default(self) -> bool:
        """Whether this is a setting of the trainer, not a flaw of the rows: listed, but not counted."""
        return self.scope == "file" and self.effect == "surprise"


@dataclass(frozen=True, slots=True)
class Finding:
    """The rows that a rule holds for.

    Attributes:
        n_rows: how many.
        share: of all rows read, 0 to 1.
        first_lines: the first few, as `data.jsonl:17`; of a rule that holds for whole files, their names.
    """

    rule: Rule
    n_rows: int
    share: float
    first_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainerReport:
    """What one trainer would do.

    Attributes:
        version: of the code that the rules were read from.
        assumes: the settings that are taken for granted.
        findings: crashes first, then drops, then surprises; the most rows first.
        n_by_effect: effect → rows that meet it at least once, without the trainer's defaults.
        n_clean: rows that are judged and meet none.
        n_not_judged: rows of families that no rule of the trainer is about; only their loading is judged.
        not_judged: these families.
    """

    trainer: str
    version: str
    assumes: str
    findings: tuple[Finding, ...]
    n_by_effect: Mapping[str, int]
    n_clean: int
    n_not_judged: int = 0
    not_judged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preflight:
    """The result of a check.

    Every row read is of its file's shape, of another one, or unreadable.

    Attributes:
        files: path → what was detected in it.
        n_rows: rows read.
        n_clean: rows that every trainer judges and none minds.
        n_other_shape: rows that are not of the shape of their file.
        n_unreadable: reason code → rows that could not be read at all.
    """

    files: Mapping[str, str]
    n_rows: int
    n_clean: int
    n_other_shape: int
    n_unreadable: Mapping[str, int]
    trainers: tuple[TrainerReport, ...]
