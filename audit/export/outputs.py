"""Where an export writes, and what it must never write over."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.errors import ExportError
from audit.samples import Source

_CODEC_SUFFIXES = (".gz", ".zst")
_TABLE_SUFFIXES = (".parquet",)
_TEXT_SUFFIXES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """The files that an export writes: kept and rejected records, one file per input, and the manifest."""

    outputs: tuple[Path, ...]
    rejected: tuple[Path, ...]
    manifest: Path


def plan_outputs(sources: Sequence[Source], output: Path, rejected: Path | None) -> OutputPlan:
    """Name the files: as given for one input; in directories, after the inputs and without compression, for several.

    Raises:
        ExportError: the output cannot have a manifest beside it.
    """
    manifest = _name_manifest(sources, output)
    if len(sources) == 1:
        return OutputPlan((output,), (rejected,) if rejected is not None else (), manifest)
    names: list[str] = []
    for source in sources:
        name = Path(source.path).name
        while name.endswith(_CODEC_SUFFIXES):
            name = name.rpartition(".")[0]
        stem, suffix = os.path.splitext(name)
        number = 2
        while name in names:
            name, number = f"{stem}-{number}{suffix}", number + 1
        names.append(name)
    return OutputPlan(
        tuple(output / name for name in names),
        tuple(rejected / name for name in names) if rejected is not None else (),
        manifest,
    )


def _name_manifest(sources: Sequence[Source], output: Path) -> Path:
    if output.name in ("", ".."):
        if len(sources) == 1:
            raise ExportError(str(output), "is a directory", "name a file")
        # Such as `.`, which says where it is but not what it is called.
        named = output.resolve()
        if not named.name:
            raise ExportError(str(output), "leaves no room for a manifest beside it", "choose another directory")
        output = named
    return output.with_name(output.name + ".manifest.json")


def refuse_bad_outputs(sources: Sequence[Source], plan: OutputPlan, *, overwrite: bool) -> None:
    """Refuse to write over an input, over an existing file without `overwrite`, or under a misleading suffix.

    Raises:
        ExportError: with the file and the reason.
    """
    written = [*plan.outputs, *plan.rejected, plan.manifest]
    seen: set[str] = set()
    for path in written:
        real = os.path.realpath(path)
        if real in seen:
            raise ExportError(str(path), "would be written twice", "name different files")
        seen.add(real)
        for source in sources:
            if os.path.realpath(source.path) in (real, real + ".part") or _is_same_file(path, source.path):
                raise ExportError(str(path), "is an input of the run", "choose another name")
        if path.is_dir():
            cure = "name a file" if len(sources) == 1 else "choose another directory"
            raise ExportError(str(path), "is a directory", cure)
        if path.exists() and not overwrite:
            raise ExportError(str(path), "exists already", "choose another name, or replace it with --force")
    for source, *paths in zip(sources, plan.outputs, *([plan.rejected] if plan.rejected else []), strict=True):
        for path in paths:
            _refuse_suffix(source, path)


def _refuse_suffix(source: Source, path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in _CODEC_SUFFIXES:
        raise ExportError(str(path), "is written uncompressed", f"leave out {path.suffix}")
    foreign = _TEXT_SUFFIXES if source.container == "parquet" else _TABLE_SUFFIXES
    if suffix in foreign:
        kind = "Parquet" if source.container == "parquet" else "JSON"
        raise ExportError(str(path), f"holds {kind} like its input {source.path}", "choose a matching suffix")


def _is_same_file(path: Path, source: str) -> bool:
    try:
        return os.path.samefile(path, source)
    except OSError:
        return False
