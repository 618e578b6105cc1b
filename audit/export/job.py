"""The job: check the sources against the scan, copy, describe, rename.

Sources are hashed first; outputs are written under another name and renamed last, the manifest after all others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audit.errors import AuditError, ConfigError, ExportError
from audit.events import Listener, StageAdvanced, StageFinished, StageStarted, ignore_events
from audit.export.choice import Choice, choose_records
from audit.export.outputs import OutputPlan, plan_outputs, refuse_bad_outputs
from audit.query import open_connection
from audit.samples import Source, copy_records
from audit.store import RunStore, hash_file, replacing

_REPORT_EVERY = 2_000


@dataclass(frozen=True, slots=True)
class ExportReceipt:
    """What an export wrote.

    Attributes:
        outputs: the files with the kept records, one per input.
        rejected: the files with the others; empty when none were asked for.
        manifest: the file beside the output that says what was done.
        condition: the SQL condition that kept a scored record.
        n_flagged: rejected scored records: flagged ones, or those that fail `where`.
        n_unscored: records that could not be scored, by code; they are rejected unless `keeps_unscored`.
        undecided: why the flags cannot be relied on, when no trait could be judged.
    """

    outputs: tuple[str, ...]
    rejected: tuple[str, ...]
    manifest: str
    condition: str
    n_records: int
    n_kept: int
    n_flagged: int
    n_unscored: dict[str, int]
    flagged_by_trait: dict[str, int]
    keeps_unscored: bool
    undecided: str | None

    @property
    def n_rejected(self) -> int:
        """Records that were not kept."""
        return self.n_records - self.n_kept


def export_run(
    run_path: Path | str,
    *,
    output: Path | str,
    where: str | None = None,
    drop: str | None = None,
    rejected: Path | str | None = None,
    keep_skipped: bool = False,
    overwrite: bool = False,
    listener: Listener = ignore_events,
) -> ExportReceipt:
    """Write the records of a run's inputs that are not flagged, or that `where` holds for.

    Args:
        output: a file; a directory when the run has several inputs.
        where: SQL condition over `sample_scores`; instead of `drop`.
        drop: `flagged`, which is also what happens without `where`.
        rejected: file (or directory) for the flagged records and those that could not be scored.
        keep_skipped: keep the records that could not be scored.
        overwrite: replace existing files, never an input.

    Raises:
        RunError: there is no finished run.
        QueryError: `where` is not one condition.
        ExportError: an output exists, is an input or has the wrong suffix, or a source has changed since the scan.
        MissingDataError: a source is gone.
    """
    if where is not None and drop is not None:
        raise ConfigError("--where", "excludes --drop", "give one of them")
    if drop not in (None, "flagged"):
        raise ConfigError("--drop", f"{drop!r} is not known", "choose flagged, or give a condition with --where")
    manifest = RunStore(Path(run_path)).read_finished_manifest()
    sources = [Source.restore(entry) for entry in manifest["inputs"]]
    plan = plan_outputs(sources, Path(output), Path(rejected) if rejected is not None else None)
    refuse_bad_outputs(sources, plan, overwrite=overwrite)
    with open_connection(run_path) as connection:
        choice = choose_records(connection, where, n_records=sum(source.n_records for source in sources))
    _check_sources(sources, listener)
    try:
        receipt = _copy(Path(run_path), manifest, sources, plan, choice, keep_skipped=keep_skipped, listener=listener)
    except OSError as error:
        if isinstance(error, AuditError):
            raise
        place = str(error.filename or output)
        raise ExportError(place, f"cannot be written: {error.strerror or error}", "choose another --output") from error
    return receipt


def _check_sources(sources: Sequence[Source], listener: Listener) -> None:
    listener(StageStarted("checking the inputs", len(sources), "files"))
    for source in sources:
        found = hash_file(
            source.path, cure="export from the directory that the scan was run in, with its files in place"
        )
        if found != source.sha256:
            raise ExportError(
                source.path,
                f"has changed since the scan (sha256 {found[:12]}…, it was {source.sha256[:12]}…)",
                "scan it again, or bring back the file that was scanned",
            )
        listener(StageAdvanced("checking the inputs", 1))
    listener(StageFinished("checking the inputs"))


def _copy(
    run_path: Path,
    manifest: Mapping[str, Any],
    sources: Sequence[Source],
    plan: OutputPlan,
    choice: Choice,
    *,
    keep_skipped: bool,
    listener: Listener,
) -> ExportReceipt:
    kept = choice.kept(keep_unscored=keep_skipped)
    receipt = ExportReceipt(
        outputs=tuple(str(path) for path in plan.outputs),
        rejected=tuple(str(path) for path in plan.rejected),
        manifest=str(plan.manifest),
        condition=choice.condition,
        n_records=len(kept),
        n_kept=kept.count(1),
        n_flagged=choice.n_failed,
        n_unscored=choice.n_unscored,
        flagged_by_trait=choice.flagged_by_trait,
        keeps_unscored=keep_skipped,
        undecided=_undecided(manifest["verdicts"], choice.n_failed) if choice.is_by_flags else None,
    )
    listener(StageStarted("copying", len(kept), "records"))
    with ExitStack() as stack:
        # Left in the opposite order, so the manifest appears after the files that it speaks of.
        described = stack.enter_context(_writing(plan.manifest))
        unfinished = [stack.enter_context(_writing(path)) for path in plan.outputs]
        unfinished_rejected = [stack.enter_context(_writing(path)) for path in plan.rejected]
        first = 0
        for number, source in enumerate(sources):
            own = kept[first : first + source.n_records]
            with ExitStack() as opened:
                output = opened.enter_context(unfinished[number].open("wb"))
                other = opened.enter_context(unfinished_rejected[number].open("wb")) if plan.rejected else None
                counts = copy_records(source, _counted(own, listener), output, other)
            if counts.n_kept != own.count(1) or counts.n_kept + counts.n_rejected != source.n_records:
                raise ExportError(source.path, "holds other records than the scan found", "scan it again")
            listener(StageAdvanced("copying", len(own) - (len(own) - 1) // _REPORT_EVERY * _REPORT_EVERY))
            first += source.n_records
        files = list(zip([*plan.outputs, *plan.rejected], [*unfinished, *unfinished_rejected], strict=True))
        hashes = {str(path): hash_file(part) for path, part in files}
        described.write_bytes(_describe(run_path, manifest, sources, receipt, hashes))
    listener(StageFinished("copying"))
    return receipt


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        yield unfinished


def _counted(kept: bytearray, listener: Listener) -> Callable[[int], bool]:
    def is_kept(index: int) -> bool:
        if index % _REPORT_EVERY == 0 and index:
            listener(StageAdvanced("copying", _REPORT_EVERY))
        return bool(kept[index])

    return is_kept


def _undecided(verdicts: Sequence[Mapping[str, Any]], n_flagged: int) -> str | None:
    if any(row["verdict"] != "undecided" for row in verdicts):
        return None
    reasons = list(dict.fromkeys(str(row["reason"]) for row in verdicts))
    because = f" ({'; '.join(reasons)})" if reasons else ""
    if n_flagged:
        return f"nothing could be judged{because}; {n_flagged} flagged records are dropped all the same"
    return f"nothing could be judged{because}: no record is flagged, so dropping flagged records removes none"


def _describe(
    run_path: Path,
    manifest: Mapping[str, Any],
    sources: Sequence[Source],
    receipt: ExportReceipt,
    hashes: Mapping[str, str],
) -> bytes:
    described = {
        "format_version": 1,
        "tool_version": manifest["tool_version"],
        "run": str(run_path),
        "undecided": receipt.undecided,
        "filter": {"condition": receipt.condition, "keeps_unscored": receipt.keeps_unscored},
        "counts": {
            "records": receipt.n_records,
            "kept": receipt.n_kept,
            "rejected": receipt.n_rejected,
            "flagged": receipt.n_flagged,
            "unscored": sum(receipt.n_unscored.values()),
            "unscored_by_reason": receipt.n_unscored,
            "flagged_by_trait": receipt.flagged_by_trait,
        },
        "inputs": [{"path": source.path, "sha256": source.sha256, "n_records": source.n_records} for source in sources],
        "outputs": [{"path": path, "sha256": hashes[path]} for path in receipt.outputs],
        "rejected": [{"path": path, "sha256": hashes[path]} for path in receipt.rejected],
        "verdicts": manifest["verdicts"],
        "receipt": asdict(receipt),
    }
    return json.dumps(described, indent=1).encode() + b"\n"
