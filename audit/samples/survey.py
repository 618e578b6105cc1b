"""One pass over an input before anything is scored: its hash, its records, and the family they belong to.

Knows how a family is chosen and what to say when none fits. Does not read a conversation.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from audit.errors import ConfigError, DataError
from audit.samples.decode import Unreadable, parse_record
from audit.samples.families import load_families
from audit.samples.layout import READABLE, find_layout
from audit.samples.messages import clean_text
from audit.samples.records import read_pieces
from audit.samples.source import Layout, Source
from audit.samples.streams import HashedFile
from audit.samples.tables import count_rows, read_rows

N_PROBED = 200
"""First rows that a family is chosen by. Looked at further only as long as none fits."""

_CONTAINERS = {
    "jsonl": "JSON lines",
    "json_array": "a JSON array",
    "json_object": "one JSON object",
    "parquet": "Parquet",
}
_CODECS = {"none": "", "gzip": ", gzip", "zstd": ", zstd"}
_PROMPT_KEYS = ("prompt", "instruction", "question", "query", "input")
_SHOWN_KEYS = 12
_KEY_CHARACTERS = 60


class _Probe:
    """Counts, over the first rows, how many fit each family, and keeps what an error message needs."""

    def __init__(self, wanted: str | None) -> None:
        families = load_families()
        self._families = families if wanted is None else {wanted: families[wanted]}
        self._n_fits = dict.fromkeys(self._families, 0)
        self._unreadable: str | None = None
        self._keys: list[str] | None = None
        self.n_probed = 0

    @property
    def is_done(self) -> bool:
        """Whether enough rows were seen and one of them fits."""
        return self.n_probed >= N_PROBED and any(self._n_fits.values())

    def add(self, fields: dict[str, Any] | Unreadable) -> None:
        self.n_probed += 1
        if isinstance(fields, Unreadable):
            self._unreadable = self._unreadable or fields.reason
            return
        if self._keys is None:
            self._keys = [clean_text(str(key))[:_KEY_CHARACTERS] for key in fields]
        for name, family in self._families.items():
            self._n_fits[name] += family.fits(fields)

    def choose(self, path: str) -> tuple[str, int]:
        """Return the family that most rows fit, the earlier one among equals, and how many fit.

        Raises:
            DataError: none fits any; the message says what was found instead.
        """
        name = max(self._n_fits, key=lambda name: self._n_fits[name])
        if self._n_fits[name] == 0:
            raise self._explain(path)
        return name, self._n_fits[name]

    def _explain(self, path: str) -> DataError:
        if self._keys is None:
            return DataError(path, f"no record can be read; the first: {self._unreadable}", READABLE)
        keys = set(self._keys)
        shown = ", ".join(repr(key) for key in self._keys[:_SHOWN_KEYS]) or "no keys at all"
        wants = "; ".join(family.wants for family in self._families.values())
        if "input_ids" in keys:
            return DataError(
                path, "tokenised data ('input_ids'): there is no text to score", "scan the text it came from"
            )
        if len(self._families) > 1 and keys & set(_PROMPT_KEYS) and len(keys) <= 2:
            return DataError(path, f"prompts without responses (found {shown}): nothing to score", f"wanted: {wants}")
        finding = f"no record of {self.n_probed:,} fits a known shape; found {shown}"
        if len(self._families) == 1:
            finding = f"no record of {self.n_probed:,} fits --format {next(iter(self._families))}; found {shown}"
        return DataError(path, finding, f"rename the fields to one of: {wants}")


def survey_source(path: str, *, format: str | None = None, limit: int | None = None) -> Source:
    """Hash an input, count its records and find out, or check, which family they belong to.

    With a limit, no more than that many records are counted and read; the hash is of the whole file.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is empty, binary or broken, no record fits a shape, or there is nothing to score.
        ConfigError: no reader has the name `format`.
    """
    families = load_families()
    if format is not None and format not in families:
        raise ConfigError("--format", f"there is no reader for {format!r}", f"choose one of {', '.join(families)}")
    layout = find_layout(path)
    probe = _Probe(format)
    survey = _survey_table if layout.container == "parquet" else _survey_text
    n_records, sha256 = survey(path, layout, probe, limit)
    if n_records == 0:
        raise DataError(path, "there is no record in it", "check how it was written")
    name, n_fits = probe.choose(path)
    container = _CONTAINERS[layout.container] + _CODECS[layout.codec]
    return Source(
        path=path,
        container=layout.container,
        codec=layout.codec,
        encoding=layout.encoding,
        sha256=sha256,
        n_records=n_records,
        format=name,
        fit_share=n_fits / probe.n_probed,
        n_probed=probe.n_probed,
        description=f"{families[name].says} in {container} ({n_fits:,} of {probe.n_probed:,} first rows fit)",
    )


def _survey_text(path: str, layout: Layout, probe: _Probe, limit: int | None) -> tuple[int, str]:
    n_records = 0
    with open(path, "rb") as file:
        hashed = HashedFile(file)
        records = (piece for piece in read_pieces(path, layout, hashed) if piece.is_record)
        for piece in islice(records, limit):
            n_records += 1
            if not probe.is_done:
                probe.add(parse_record(piece.raw, layout.encoding))
        return n_records, hashed.finish()


def _survey_table(path: str, layout: Layout, probe: _Probe, limit: int | None) -> tuple[int, str]:
    n_rows = count_rows(path)
    n_records = n_rows if limit is None else min(limit, n_rows)
    for fields in read_rows(path, 0, n_records):
        probe.add(fields)
        if probe.is_done:
            break
    with open(path, "rb") as file:
        return n_records, HashedFile(file).finish()
