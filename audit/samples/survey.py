"""One pass over an input before anything is scored: its hash, its records, and the family they belong to.

Knows what a path may name: a file, a saved dataset, an id on the hub. Does not read a conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from audit.errors import ConfigError, DataError, MissingDataError
from audit.samples.hub import fetch_hub_files, is_hub_id
from audit.samples.layout import find_layout
from audit.samples.probe import Probe, choose_candidates
from audit.samples.records import open_parser, read_pieces
from audit.samples.saved import SplitFiles, find_saved_files, is_saved_dataset
from audit.samples.source import Layout, Source
from audit.samples.streams import HashedFile, hash_files
from audit.samples.tables import count_rows, read_rows
from audit.samples.text import clean_text

_CONTAINERS = {
    "jsonl": "JSON lines",
    "json_array": "a JSON array",
    "json_object": "one JSON object",
    "csv": "CSV",
    "parquet": "Parquet",
    "arrow": "Arrow",
}
_CODECS = {"none": "", "gzip": ", gzip", "zstd": ", zstd"}
_DELIMITERS = {"": "", ",": "", "\t": " (tabs)", ";": " (semicolons)", "|": " (bars)"}


def survey_source(
    path: str,
    *,
    format: str | None = None,
    limit: int | None = None,
    keys: Mapping[str, str] | None = None,
    split: str | None = None,
    has_options: bool = True,
) -> Source:
    """Hash an input, count its records and find out, or check, which family they belong to.

    With a limit, no more than that many records are counted and read; the hash is of the whole file. `keys` is role →
    the field that the user named for it, `split` that of a saved dataset or one on the hub. `has_options` tells whether
    errors may advise the options for these.

    Raises:
        MissingDataError: there is no such file, nor a dataset of that id on the hub.
        DataError: it is empty, binary or broken, no record fits a shape, or there is nothing to score; or its name
            is not UTF-8.
        ConfigError: no reader has the name `format` or all the roles in `keys`; or a file has no splits to choose from.
    """
    keys = dict(keys or {})
    candidates = choose_candidates(format, keys)
    _refuse_undecodable_name(path)
    layout, found = _find_files(path, split, has_options)
    probe = Probe(candidates, is_given=format is not None, keys=keys, has_options=has_options)
    if layout.is_table:
        n_records, sha256 = _survey_table(found.files or (path,), layout, probe, limit)
    else:
        n_records, sha256 = _survey_text(path, layout, probe, limit)
    if n_records == 0:
        raise DataError(path, "there is no record in it", "check how it was written")
    name, n_fits = probe.choose(path, layout)
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
        description=f"{candidates[name].says} in {_describe_container(layout, found.split)} "
        f"({probe.describe_fit(name)})",
        delimiter=layout.delimiter,
        keys=keys,
        files=found.files,
        split=found.split,
    )


def hash_source(source: Source, *, cure: str = "check the path") -> str:
    """Return the SHA-256 that a source has now, as its survey took it.

    Raises:
        MissingDataError: a file of it is gone or cannot be read.
    """
    try:
        return hash_files(source.read_files)
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else source.path
        raise MissingDataError(place, f"cannot be read: {error.strerror}", cure) from error


def _refuse_undecodable_name(path: str) -> None:
    # Python keeps the bytes of such a name as lone surrogates, which no table and no report can hold.
    if clean_text(path) != path:
        raise DataError(clean_text(path), "its name is not UTF-8", "rename it")


def _find_files(path: str, split: str | None, has_options: bool) -> tuple[Layout, SplitFiles]:
    if is_saved_dataset(path):
        return Layout("arrow"), find_saved_files(path, split, has_options=has_options)
    if is_hub_id(path):
        return Layout("arrow"), fetch_hub_files(path, split, has_options=has_options)
    layout = find_layout(path)
    if split is not None:
        raise ConfigError("--split", f"{path} is a file, which has no splits", "leave it out")
    return layout, SplitFiles((), "")


def _describe_container(layout: Layout, split: str) -> str:
    name = _CONTAINERS[layout.container] + _DELIMITERS[layout.delimiter] + _CODECS[layout.codec]
    return f"{name}, split {split}" if split else name


def _survey_text(path: str, layout: Layout, probe: Probe, limit: int | None) -> tuple[int, str]:
    parse = open_parser(path, layout)
    n_records = 0
    with open(path, "rb") as file:
        hashed = HashedFile(file)
        records = (piece for piece in read_pieces(path, layout, hashed) if piece.is_record)
        for piece in islice(records, limit):
            n_records += 1
            if not probe.is_done:
                probe.add(parse(piece.raw))
        return n_records, hashed.finish()


def _survey_table(files: tuple[str, ...], layout: Layout, probe: Probe, limit: int | None) -> tuple[int, str]:
    n_rows = count_rows(files, layout.container)
    n_records = n_rows if limit is None else min(limit, n_rows)
    for fields in read_rows(files, layout.container, 0, n_records):
        probe.add(fields)
        if probe.is_done:
            break
    return n_records, hash_files(files)
