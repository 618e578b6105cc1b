"""What an export did, as a value: for those who print it, keep it in a manifest or write a card about it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ExportReceipt:
    """What an export wrote.

    Attributes:
        outputs: the files (or directories of `save_to_disk`) with the kept records, one per input.
        rejected: the files with the others; empty when none were asked for.
        manifest: the file beside the output that says what was done.
        card: the dataset card beside the output, with snippets for trainers.
        condition: the SQL condition that kept a scored record.
        n_flagged: flagged records of the inputs; with `where`, some may be kept.
        n_failed: scored records for which the condition does not hold; without `where`, the flagged ones.
        n_unscored: records that could not be scored, by code; they are rejected unless `keeps_unscored`.
        undecided: why the flags cannot be relied on, when no trait could be judged.
        is_annotated: whether each record got the field `persona_audit`.
        n_unannotated: records that could not be read, hence not be annotated; copied as they are.
        formats: the containers and shapes that were asked for.
        n_left_out: rejected records that could not be converted, hence are in no file.
        dropped_columns: fields of the inputs of which a conversion to another shape keeps nothing.
        notices: what the user should know of the files.
        drop: which kind of `--drop` decided: flagged, judged, both or either; None: a condition.
        judged_by_trait: records that a judge finds a trait in; empty where nobody has judged.
        n_never_judged: where a judge had a part in it, flagged records that it has no number for.
    """

    outputs: tuple[str, ...]
    rejected: tuple[str, ...]
    manifest: str
    card: str
    condition: str
    n_records: int
    n_kept: int
    n_flagged: int
    n_failed: int
    n_unscored: dict[str, int]
    flagged_by_trait: dict[str, int]
    keeps_unscored: bool
    undecided: str | None
    is_annotated: bool = False
    n_unannotated: int = 0
    formats: tuple[str, ...] = ()
    n_left_out: int = 0
    dropped_columns: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    drop: str | None = None
    judged_by_trait: dict[str, int] = field(default_factory=dict)
    n_never_judged: int = 0

    @property
    def n_rejected(self) -> int:
        """Records that were not kept."""
        return self.n_records - self.n_kept
