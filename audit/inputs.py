"""The inputs of a scan as one row of records: surveyed in order, numbered through, read by range or by choice.

Knows that standard input can be read once only, so that it has to be kept.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from audit.config import ScanConfig
from audit.errors import ConfigError, DataError
from audit.events import Listener, Noted, StageAdvanced, StageFinished, StageStarted
from audit.samples import (
    STDIN,
    Sample,
    SkippedSample,
    Source,
    locate_datasets,
    read_samples,
    suggest_suffix,
    survey_source,
)
from audit.samples.streams import BrokenStream
from audit.store import INPUTS, RunStore, hash_file, replacing

_SPOOLED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Inputs:
    """Surveyed sources, and how many records of them a scan covers (`--limit` may end it early)."""

    sources: tuple[Source, ...]
    n_records: int

    def to_json(self) -> list[dict[str, Any]]:
        """Return the entries that the manifest keeps."""
        return [asdict(source) for source in self.sources]


def survey_inputs(config: ScanConfig, listener: Listener) -> Inputs:
    """Read every dataset once: hash it, count its records, recognise their shape.

    Raises:
        MissingDataError, DataError: a dataset is missing, empty, unreadable, or no record of it fits a shape.
        ConfigError: standard input is named twice, or an option does not apply to a dataset.
        RunError: standard input was named, and the run directory, which keeps it, cannot be written.
    """
    sources = []
    paths = _locate(config)
    listener(StageStarted("reading", len(paths), "files"))
    for path in paths:
        source = _survey(path, config)
        listener(Noted(f"{source.path}: {source.description}"))
        sources.append(source)
        listener(StageAdvanced("reading", 1))
    listener(StageFinished("reading"))
    n_records = sum(source.n_records for source in sources)
    return Inputs(tuple(sources), n_records if config.limit is None else min(n_records, config.limit))


def _locate(config: ScanConfig) -> list[str]:
    paths = locate_datasets(config.datasets)
    if paths.count(STDIN) > 1:
        raise ConfigError("DATASET", "standard input is named twice; it can be read once", "name - once")
    return [_save_stdin(config) if path == STDIN else path for path in paths]


def _survey(path: str, config: ScanConfig) -> Source:
    survey = functools.partial(survey_source, path, format=config.format, keys=config.field_keys, split=config.split)
    try:
        return survey()
    except DataError as error:
        if config.limit is None or not isinstance(error.__cause__, BrokenStream):
            raise
        # A file that breaks off behind the limit can be scanned up to there.
        return survey(limit=config.limit)


def _save_stdin(config: ScanConfig) -> str:
    """Keep what comes through standard input in the run directory, named by its content, and return its path."""
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError(STDIN, "nothing is piped into standard input", "pipe a dataset in, or name a file")
    store = RunStore(config.run_path)
    store.refuse_unwritable()
    made = [path for path in (store.path / INPUTS, store.path) if not path.exists()]
    try:
        (store.path / INPUTS).mkdir(parents=True, exist_ok=True)
        return str(_spool(sys.stdin.buffer, store.path / INPUTS))
    except OSError as error:
        finding = f"cannot be kept in {store.path}: {error.strerror or error}"
        raise DataError(STDIN, finding, "choose another --out") from error
    finally:
        # A refused input leaves no directory behind; one that holds something stays.
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()


def _spool(stream: BinaryIO, folder: Path) -> Path:
    # A name of its own, as another scan may be reading its input into the same directory.
    spool = folder / f"stdin-{os.getpid()}.part"
    try:
        with open(spool, "wb") as file:
            shutil.copyfileobj(stream, file, _SPOOLED_BYTES)
        if spool.stat().st_size == 0:
            raise DataError(STDIN, "standard input is empty", "check the command before the pipe")
        path = folder / f"stdin-{hash_file(spool)[:16]}{suggest_suffix(str(spool))}"
        with replacing(path) as unfinished:
            os.replace(spool, unfinished)
        return path
    finally:
        spool.unlink(missing_ok=True)


def read_range(
    inputs: Inputs, start: int, stop: int, *, turns: str, keep_columns: Sequence[str] = (), strict: bool = False
) -> Iterator[Sample | SkippedSample]:
    """Yield the records [start, stop), counted over all inputs."""
    first = 0
    for source in inputs.sources:
        low, high = max(start - first, 0), min(stop - first, source.n_records)
        if low < high:
            yield from read_samples(
                source,
                first_id=first,
                start=low,
                stop=high,
                turns=turns,
                keep_columns=tuple(keep_columns),
                strict=strict,
            )
        first += source.n_records


def read_chosen(inputs: Inputs, sample_ids: Set[int], *, turns: str) -> Iterator[Sample]:
    """Yield the samples of these ids that can be read, in order; records between them are not parsed."""
    first = 0
    for source in inputs.sources:
        only = frozenset(sample_id - first for sample_id in sample_ids if 0 <= sample_id - first < source.n_records)
        if only:
            for record in read_samples(source, first_id=first, stop=max(only) + 1, turns=turns, only=only):
                if isinstance(record, Sample):
                    yield record
        first += source.n_records
