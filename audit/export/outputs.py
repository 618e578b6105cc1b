"""Where an export writes, and what it must never write over."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.errors import ExportError
from audit.export.formats import (
    CODECS,
    Target,
    Wanted,
    choose_target,
    data_suffix,
    find_container,
    is_copied,
    split_suffix,
)
from audit.export.saved import is_saved
from audit.samples import Source


@dataclass(frozen=True, slots=True)
class Output:
    """One file, or directory of `save_to_disk`, that is written from one input."""

    path: Path
    target: Target

    @property
    def codec(self) -> str:
        """How it is compressed, by its name."""
        return CODECS.get(split_suffix(self.path.name)[2].lower(), "none")


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """What an export writes: kept and rejected records, one each per input, the manifest and the card."""

    outputs: tuple[Output, ...]
    rejected: tuple[Output, ...]
    manifest: Path
    card: Path


def plan_outputs(sources: Sequence[Source], wanted: Wanted, output: Path, rejected: Path | None) -> OutputPlan:
    """Name the files: as given for one input; in directories, after the inputs and without compression, for several.

    Raises:
        ExportError: the output cannot have a manifest beside it, or its suffix does not fit what it would hold.
    """
    named = _name_whole(sources, output)
    manifest, card = (named.with_name(named.name + suffix) for suffix in (".manifest.json", ".card.md"))
    if len(sources) == 1:
        kept = Output(output, choose_target(sources[0], wanted, output))
        return OutputPlan((kept,), _plan_rejected(sources[0], wanted, rejected, kept), manifest, card)
    outputs: list[Output] = []
    for source in sources:
        name = _name_after(source, wanted, [done.path.name for done in outputs])
        outputs.append(Output(output / name, choose_target(source, wanted, Path(name))))
    others = () if rejected is None else tuple(Output(rejected / done.path.name, done.target) for done in outputs)
    return OutputPlan(tuple(outputs), others, manifest, card)


def _plan_rejected(source: Source, wanted: Wanted, path: Path | None, kept: Output) -> tuple[Output, ...]:
    if path is None:
        return ()
    target = choose_target(source, wanted, path)
    if target != kept.target:
        finding = f"would not be of the same kind as {kept.path}"
        raise ExportError(str(path), finding, "give both the same suffix")
    return (Output(path, target),)


def _name_after(source: Source, wanted: Wanted, taken: Sequence[str]) -> str:
    # A hub id may name a configuration after a colon; a directory may be given as `.`.
    name = Path(source.path).name or Path(source.path).resolve().name
    name = name.replace(":", "-")
    stem, suffix, _ = split_suffix(name)
    container = wanted.container or find_container(source)
    if source.files:
        # A name of a directory may hold a full stop.
        stem, suffix = name, "" if container == "arrow" else data_suffix(container)
    elif not is_copied(source, container, wanted.shape):
        suffix = data_suffix(container)
    name, number = stem + suffix, 2
    while name in taken:
        name, number = f"{stem}-{number}{suffix}", number + 1
    return name


def _name_whole(sources: Sequence[Source], output: Path) -> Path:
    if output.name in ("", ".."):
        if len(sources) == 1:
            raise ExportError(str(output), "is a directory", "name a file")
        # Such as `.`, which says where it is but not what it is called.
        named = output.resolve()
        if not named.name:
            raise ExportError(str(output), "leaves no room for a manifest beside it", "choose another directory")
        return named
    return output


def refuse_bad_outputs(run_path: Path, sources: Sequence[Source], plan: OutputPlan, *, overwrite: bool) -> None:
    """Refuse to write over, into or around an input or the run, or over what exists without `overwrite`.

    Raises:
        ExportError: with the file and the reason.
    """
    directories = {output.path for output in (*plan.outputs, *plan.rejected) if output.target.is_directory}
    run = os.path.realpath(run_path)
    seen: set[str] = set()
    for path in (*(output.path for output in (*plan.outputs, *plan.rejected)), plan.manifest, plan.card):
        real = os.path.realpath(path)
        if real in seen:
            raise ExportError(str(path), "would be written twice", "name different files")
        seen.add(real)
        for source in sources:
            _refuse_input(path, real, source, is_directory=path in directories)
        if _is_within(real, run):
            raise ExportError(str(path), f"lies inside the run directory, {run_path}", "choose another place")
        _refuse_existing(path, len(sources), is_directory=path in directories, overwrite=overwrite)


def _is_within(real: str, folder: str) -> bool:
    return real == folder or real.startswith(folder.rstrip(os.sep) + os.sep)


def _refuse_input(path: Path, real: str, source: Source, *, is_directory: bool) -> None:
    names = (source.path, *source.files)
    if any(os.path.realpath(name) == real or _is_same_file(path, name) for name in names):
        raise ExportError(str(path), "is an input of the run", "choose another name")
    for name in names:
        if is_directory and _is_within(os.path.realpath(name), real):
            raise ExportError(str(path), f"holds an input of the run, {name}", "choose another name")
    folders = {os.path.realpath(os.path.dirname(name)) for name in source.files}
    if source.files and os.path.isdir(source.path):
        folders.add(os.path.realpath(source.path))
    inside = next((folder for folder in folders if _is_within(real, folder)), None)
    if inside is not None:
        raise ExportError(str(path), f"lies inside an input of the run, {inside}", "choose another place")


def _refuse_existing(path: Path, n_sources: int, *, is_directory: bool, overwrite: bool) -> None:
    if path.is_dir() and not (is_directory and is_saved(path)):
        if is_directory:
            raise ExportError(str(path), "is a directory of something else", "choose another name")
        raise ExportError(str(path), "is a directory", "name a file" if n_sources == 1 else "choose another directory")
    if not os.path.lexists(path):
        return
    if not path.is_dir() and not path.is_file():
        raise ExportError(str(path), "is no regular file", "choose another name")
    if not overwrite:
        raise ExportError(str(path), "exists already", "choose another name, or replace it with --force")
    if is_directory and path.is_file():
        raise ExportError(str(path), "is a file, and a directory would be written", "choose another name")


def _is_same_file(path: Path, source: str) -> bool:
    try:
        return os.path.samefile(path, source)
    except OSError:
        return False
