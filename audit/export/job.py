"""The job: check the sources against the scan, copy or convert, describe, rename.

Sources are hashed first; outputs are written under another name and renamed last, the manifest after all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from audit.errors import AuditError, ConfigError, ExportError
from audit.events import Listener, StageAdvanced, StageFinished, StageStarted, ignore_events
from audit.export.annotations import read_annotations
from audit.export.card import write_card
from audit.export.choice import Choice, choose_records
from audit.export.convert import Conversion, convert_records
from audit.export.drops import FLAGGED, find_condition
from audit.export.files import open_sink, writing
from audit.export.formats import SUFFIXES, read_formats, split_suffix
from audit.export.manifest import write_manifest
from audit.export.outputs import Output, OutputPlan, plan_outputs, refuse_bad_outputs
from audit.export.reasons import read_dropped
from audit.export.receipt import ExportReceipt
from audit.export.saved import ROWS, describe_saved
from audit.judged import read_described
from audit.query import open_connection
from audit.samples import Source, copy_records, hash_source
from audit.samples.splices import AddedField
from audit.store import RunStore, hash_file

_REPORT_EVERY = 2_000
_HASH_CURE = "export from the directory that the scan was run in, with its files in place"


def export_run(
    run_path: Path | str,
    *,
    output: Path | str,
    where: str | None = None,
    drop: str | None = None,
    rejected: Path | str | None = None,
    keep_skipped: bool = False,
    annotate: bool = False,
    formats: Sequence[str] = (),
    overwrite: bool = False,
    listener: Listener = ignore_events,
) -> ExportReceipt:
    """Write the records of a run's inputs that are not flagged, or that `where` holds for.

    Args:
        output: a file; a directory when the run has several inputs, or is of a directory of Arrow files.
        where: SQL condition over `sample_scores`; instead of `drop`.
        drop: `flagged`, which is also what happens without `where`; with a judge's word `judged`, `both` or `either`.
        rejected: file (or directory) for the flagged records and those that could not be scored.
        keep_skipped: keep the records that could not be scored.
        annotate: add the field `persona_audit` with status, flags and scores to every record.
        formats: a container, a record shape or both to convert to; see `audit.export.formats`.
        overwrite: replace existing files, never an input.

    Raises:
        RunError: there is no finished run.
        ConfigError: options that exclude each other, an unknown format, or a `drop` by a judge whom nobody asked.
        QueryError: `where` is not one condition.
        ExportError: an output exists, is an input or has the wrong suffix; a source has changed since the scan; a
            kept record cannot be converted, or has a field `persona_audit` already.
        MissingDataError: a source is gone.
    """
    if where is not None and drop is not None:
        raise ConfigError("--where", "excludes --drop", "give one of them")
    wanted = read_formats(formats)
    manifest = RunStore(Path(run_path)).read_finished_manifest()
    drop = drop or FLAGGED
    find_condition(Path(run_path), drop)
    sources = tuple(Source.restore(entry) for entry in manifest["inputs"])
    with _explained_errors(output):
        plan = plan_outputs(sources, wanted, Path(output), Path(rejected) if rejected is not None else None)
        refuse_bad_outputs(Path(run_path), sources, plan, overwrite=overwrite)
    with open_connection(run_path) as connection:
        choice = choose_records(connection, where, n_records=sum(source.n_records for source in sources), drop=drop)
        _check_sources(sources, listener)
        kept = choice.kept(keep_unscored=keep_skipped)
        export = _Export(
            Path(run_path), manifest, sources, plan, choice, kept, connection, listener, annotate, overwrite
        )
        receipt = _start_receipt(export, keep_skipped=keep_skipped, formats=(wanted.container, wanted.shape))
        with _explained_errors(output):
            return _write_all(export, receipt)


@contextmanager
def _explained_errors(output: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, AuditError):
            raise
        finding = f"cannot be written: {error.strerror or error}"
        raise ExportError(str(error.filename or output), finding, "choose another --output") from error


def _check_sources(sources: Sequence[Source], listener: Listener) -> None:
    listener(StageStarted("checking the inputs", len(sources), "files"))
    for source in sources:
        found = hash_source(source, cure=_HASH_CURE)
        if found != source.sha256:
            raise ExportError(
                source.path,
                f"has changed since the scan (sha256 {found[:12]}…, it was {source.sha256[:12]}…)",
                "scan it again, or bring back the file that was scanned",
            )
        listener(StageAdvanced("checking the inputs", 1))
    listener(StageFinished("checking the inputs"))


@dataclass(frozen=True, slots=True)
class _Export:
    """What is settled before the first byte is written."""

    run_path: Path
    manifest: Mapping[str, Any]
    sources: tuple[Source, ...]
    plan: OutputPlan
    choice: Choice
    kept: bytearray
    connection: duckdb.DuckDBPyConnection
    listener: Listener
    is_annotated: bool
    overwrite: bool


@dataclass(frozen=True, slots=True)
class _Written:
    """What one input came to."""

    n_bare: int = 0
    n_left_out: int = 0
    dropped_columns: tuple[str, ...] = ()


def _start_receipt(export: _Export, *, keep_skipped: bool, formats: tuple[str | None, str | None]) -> ExportReceipt:
    choice, plan = export.choice, export.plan
    return ExportReceipt(
        outputs=tuple(str(output.path) for output in plan.outputs),
        rejected=tuple(str(output.path) for output in plan.rejected),
        manifest=str(plan.manifest),
        card=str(plan.card),
        condition=choice.condition,
        n_records=len(export.kept),
        n_kept=export.kept.count(1),
        n_flagged=choice.n_flagged,
        n_failed=choice.n_failed,
        n_unscored=choice.n_unscored,
        flagged_by_trait=choice.flagged_by_trait,
        keeps_unscored=keep_skipped,
        undecided=_undecided(export.manifest["verdicts"], choice.n_failed) if choice.is_by_flags else None,
        is_annotated=export.is_annotated,
        formats=tuple(name for name in formats if name is not None),
        notices=(*_notice_judge(choice), *_notice_compression(plan)),
        drop=choice.drop,
        judged_by_trait=choice.judged_by_trait,
        n_never_judged=choice.n_never_judged,
    )


def _notice_judge(choice: Choice) -> Iterator[str]:
    if choice.n_never_judged:
        kept = "kept" if choice.drop != "either" else "dropped for their flag alone"
        of = "flagged record was" if choice.n_never_judged == 1 else "flagged records were"
        yield f"{choice.n_never_judged:,} {of} never judged: {kept}"


def _notice_compression(plan: OutputPlan) -> Iterator[str]:
    packed = [output for output in plan.outputs if output.codec != "none"]
    if packed:
        yield f"LLaMA-Factory reads no compressed files: unpack {packed[0].path.name} for it"


def _write_all(export: _Export, receipt: ExportReceipt) -> ExportReceipt:
    plan = export.plan
    export.listener(StageStarted("copying", len(export.kept), "records"))
    with ExitStack() as stack:
        # Left in the opposite order, so the manifest appears after the files that it speaks of.
        described = stack.enter_context(writing(plan.manifest, overwrite=export.overwrite))
        card = stack.enter_context(writing(plan.card, overwrite=export.overwrite))
        outputs = [(output, _enter(stack, output, export)) for output in plan.outputs]
        rejected = [(output, _enter(stack, output, export)) for output in plan.rejected]
        first = 0
        written = []
        for number, source in enumerate(export.sources):
            others = rejected[number] if rejected else None
            written.append(_write_source(export, source, first, outputs[number], others))
            first += source.n_records
        receipt = replace(
            receipt,
            n_unannotated=sum(each.n_bare for each in written),
            n_left_out=sum(each.n_left_out for each in written),
            dropped_columns=tuple(dict.fromkeys(name for each in written for name in each.dropped_columns)),
        )
        judged = read_described(export.run_path) if receipt.drop not in (None, FLAGGED) else {}
        card.write_bytes(
            write_card(export.run_path, export.manifest, export.sources, plan, receipt, export.kept, judged)
        )
        hashes = {str(output.path): _hash_output(output, part) for output, part in (*outputs, *rejected)}
        places = [(source.path, source.n_records) for source in export.sources]
        dropped = read_dropped(export.connection, export.choice, export.kept, places)
        with described.open("wb") as sink:
            write_manifest(sink, export.run_path, export.manifest, export.sources, receipt, hashes, dropped)
    export.listener(StageFinished("copying"))
    return receipt


def _enter(stack: ExitStack, output: Output, export: _Export) -> Path:
    is_directory = output.target.is_directory
    return stack.enter_context(writing(output.path, overwrite=export.overwrite, is_directory=is_directory))


def _hash_output(output: Output, unfinished: Path) -> str:
    """Return the hash of a file; of a directory, that of its rows."""
    return hash_file(unfinished / ROWS if output.target.is_directory else unfinished)


def _write_source(
    export: _Export,
    source: Source,
    first: int,
    output: tuple[Output, Path],
    rejected: tuple[Output, Path] | None,
) -> _Written:
    own = export.kept[first : first + source.n_records]
    target = output[0].target
    progress = _Progress(export.listener)
    sides = (output, *([rejected] if rejected else []))
    with ExitStack() as opened:
        sinks = [
            opened.enter_context(open_sink(part / ROWS if each.target.is_directory else part, each.codec))
            for each, part in sides
        ]
        other = sinks[1] if rejected else None
        if target.is_copy:
            counts = copy_records(source, progress.counting(own), sinks[0], other, _open_added(export, first))
            written = _Written(n_bare=counts.n_bare)
            n_kept, n_rejected = counts.n_kept, counts.n_rejected
            for sink, n_records, (each, _) in zip(sinks, (n_kept, n_rejected), sides, strict=False):
                if n_records == 0 and _is_lone_object(each):
                    # No bytes are no JSON; an array of nothing is.
                    sink.write("[]\n".encode(source.encoding.removesuffix("-sig")))
        else:
            conversion = Conversion(source, target, own, rejected is not None, lambda: _open_added(export, first))
            converted = convert_records(conversion, sinks[0], other, progress.advance)
            written = _Written(n_left_out=converted.n_left_out, dropped_columns=converted.dropped_columns)
            n_kept, n_rejected = converted.n_kept, converted.n_rejected
    if n_kept != own.count(1) or n_kept + n_rejected != source.n_records:
        raise ExportError(source.path, "holds other records than the scan found", "scan it again")
    progress.finish()
    for each, part in sides:
        if each.target.is_directory:
            identity = f"{source.sha256} {each.path} {hash_file(part / ROWS)}"
            describe_saved(part, source, identity, _open_added(export, first), is_copy=target.is_copy)
    return written


def _is_lone_object(output: Output) -> bool:
    suffix = split_suffix(output.path.name)[1].lower()
    return output.target.container == "json_object" and SUFFIXES.get(suffix) != "jsonl"


def _open_added(export: _Export, first: int) -> AddedField | None:
    """Return the field that the records from `first` on get, if they get one."""
    if not export.is_annotated:
        return None
    # A cursor of its own: a second reading must not end the first.
    added = read_annotations(export.connection.cursor(), len(export.kept))
    return replace(added, values=islice(added.values, first, None))


class _Progress:
    """Tells the listener how many records were passed, not for each of them."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._n_untold = 0

    def advance(self, n_records: int) -> None:
        self._n_untold += n_records
        if self._n_untold >= _REPORT_EVERY:
            self.finish()

    def finish(self) -> None:
        self._listener(StageAdvanced("copying", self._n_untold))
        self._n_untold = 0

    def counting(self, kept: bytearray) -> Callable[[int], bool]:
        def is_kept(index: int) -> bool:
            self.advance(1)
            # A file that has grown is found out by the counts.
            return index < len(kept) and bool(kept[index])

        return is_kept


def _undecided(verdicts: Sequence[Mapping[str, Any]], n_flagged: int) -> str | None:
    if any(row["verdict"] != "undecided" for row in verdicts):
        return None
    reasons = list(dict.fromkeys(str(row["reason"]) for row in verdicts))
    because = f" ({'; '.join(reasons)})" if reasons else ""
    if n_flagged:
        return f"nothing could be judged{because}; {n_flagged} flagged records are dropped all the same"
    return f"nothing could be judged{because}: no record is flagged, so dropping flagged records removes none"
