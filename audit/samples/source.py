"""What is known about an input file, and one record of it as bytes.

Frozen values only. Knows neither how a file is surveyed nor how a record is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

TABLE_CONTAINERS = ("parquet", "arrow")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the bytes of a file are to be taken apart.

    Attributes:
        container: `jsonl`, `json_array`, `json_object` (one record over several lines), `csv`, `parquet` or `arrow`.
        codec: `none`, `gzip` or `zstd`.
        encoding: `utf-8`, `utf-8-sig`, `utf-16-le` or `utf-16-be`; the last three open with a byte order mark.
        delimiter: what parts the cells of a `csv`, which may be a tab; empty otherwise.
    """

    container: str
    codec: str = "none"
    encoding: str = "utf-8"
    delimiter: str = ""

    @property
    def is_table(self) -> bool:
        """Whether records are rows without bytes of their own."""
        return self.container in TABLE_CONTAINERS


@dataclass(frozen=True, slots=True)
class Source:
    """A surveyed input. Every field is a plain value, so a manifest can keep it.

    Attributes:
        path: as the user gave it: a file, a directory of `save_to_disk`, or a hub id.
        container, codec, encoding: see `Layout`.
        sha256: of the file's bytes on disk; of several files, of their hashes in order.
        n_records: lines, elements or rows, unreadable ones included; a blank line is none. With a limit, at most that.
        format: record family, detected or given.
        fit_share: share of the first rows that fit it, 0 to 1.
        n_probed: how many first rows were looked at.
        description: what was detected, to be said aloud.
        delimiter: see `Layout`.
        keys: role → the field that the user named for it, such as `{"messages": "dialogue"}`.
        files: the Arrow files of a directory or a hub dataset, in order; empty where `path` is the file.
        split: of a directory or a hub dataset; empty otherwise.
    """

    path: str
    container: str
    codec: str
    encoding: str
    sha256: str
    n_records: int
    format: str
    fit_share: float
    n_probed: int
    description: str
    delimiter: str = ""
    keys: Mapping[str, str] = field(default_factory=dict, hash=False)
    files: tuple[str, ...] = ()
    split: str = ""

    @classmethod
    def restore(cls, saved: Mapping[str, Any]) -> Source:
        """Return the source as `dataclasses.asdict` saved it; other keys are ignored."""
        known = {field.name: saved[field.name] for field in fields(cls) if field.name in saved}
        return cls(**{**known, "files": tuple(known.get("files", ()))})

    @property
    def layout(self) -> Layout:
        """How the file's bytes are taken apart."""
        return Layout(self.container, self.codec, self.encoding, self.delimiter)

    @property
    def read_files(self) -> tuple[str, ...]:
        """The files on disk that hold the records, in order."""
        return self.files or (self.path,)


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in the file, read or not.

    Attributes:
        index: position in its file, from 0.
        line: line, from 1; row or element number in tables and arrays.
        byte_offset, byte_length: in the decompressed text, without the line ending; None in tables.
        raw: the record's own bytes; empty in tables.
    """

    index: int
    line: int
    byte_offset: int | None
    byte_length: int | None
    raw: bytes
