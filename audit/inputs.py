"""The inputs of a scan as one row of records: surveyed in order, numbered through, read by range or by choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

from audit.config import ScanConfig
from audit.errors import DataError
from audit.events import Listener, Noted, StageAdvanced, StageFinished, StageStarted
from audit.samples import Sample, SkippedSample, Source, read_samples, survey_source


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
    """
    sources = []
    listener(StageStarted("reading", len(config.datasets), "files"))
    for path in config.datasets:
        source = _survey(path, config)
        listener(Noted(f"{source.path}: {source.description}"))
        sources.append(source)
        listener(StageAdvanced("reading", 1))
    listener(StageFinished("reading"))
    n_records = sum(source.n_records for source in sources)
    return Inputs(tuple(sources), n_records if config.limit is None else min(n_records, config.limit))


def _survey(path: str, config: ScanConfig) -> Source:
    try:
        return survey_source(path, format=config.format)
    except DataError:
        if config.limit is None:
            raise
        # A file that breaks off behind the limit can be scanned up to there.
        return survey_source(path, format=config.format, limit=config.limit)


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
