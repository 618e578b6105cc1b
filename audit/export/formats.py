"""What an export can be asked to write: containers and record shapes by name, and the suffixes that go with them.

Knows names only; where a file lies and how it is written is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audit.errors import ConfigError, ExportError
from audit.samples import Source

CONTAINERS = ("jsonl", "json", "parquet", "csv", "tsv", "arrow")
SHAPES = ("chat", "prompt_completion", "preference", "sharegpt", "alpaca")

CODECS = {".gz": "gzip", ".zst": "zstd"}
SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".arrow": "arrow",
}
_SAYS = {
    "jsonl": "JSON lines",
    "json": "a JSON array",
    "json_object": "one JSON object",
    "parquet": "Parquet",
    "csv": "CSV",
    "tsv": "tab-separated values",
    "arrow": "Arrow",
}
_JSON = ("jsonl", "json", "json_object")
_TABLES = ("parquet", "arrow")
_LISTS = ("chat", "sharegpt")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `--format` asked for; None is what the input has."""

    container: str | None = None
    shape: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What is written for one input.

    Attributes:
        container: one of `CONTAINERS`, or `json_object`, which only an input is.
        shape: the family that records are converted to; None keeps their fields.
        is_copy: whether records are copied as they are, not converted.
        is_directory: whether Arrow is written as a directory of `save_to_disk`.
    """

    container: str
    shape: str | None = None
    is_copy: bool = True
    is_directory: bool = False

    @property
    def is_table(self) -> bool:
        """Whether records are rows without bytes of their own."""
        return self.container in _TABLES

    @property
    def delimiter(self) -> str:
        """What parts the cells."""
        return "\t" if self.container == "tsv" else ","


def read_formats(names: Iterable[str]) -> Wanted:
    """Read the values of `--format`: at most one container and one shape, in any order, commas allowed.

    Raises:
        ConfigError: an unknown name, or two of a kind.
    """
    given = [name for value in names for part in value.split(",") if (name := part.strip())]
    for name in given:
        if name not in (*CONTAINERS, *SHAPES):
            known = f"containers: {', '.join(CONTAINERS)}; shapes: {', '.join(SHAPES)}"
            raise ConfigError("--format", f"{name!r} is not known", known)
    found = []
    for kind, known_names in (("containers", CONTAINERS), ("record shapes", SHAPES)):
        of_kind = [name for name in dict.fromkeys(given) if name in known_names]
        if len(of_kind) > 1:
            raise ConfigError("--format", f"names two {kind}: {' and '.join(of_kind)}", "give one of them")
        found.append(of_kind[0] if of_kind else None)
    return Wanted(*found)


def split_suffix(name: str) -> tuple[str, str, str]:
    """Return the stem of a file name, its data suffix and its compression suffix; each may be empty."""
    codec = next((suffix for suffix in CODECS if name.lower().endswith(suffix)), "")
    name, codec = name[: len(name) - len(codec)], name[len(name) - len(codec) :]
    suffix = Path(name).suffix
    if suffix.lower() not in SUFFIXES:
        suffix = ""
    return name[: len(name) - len(suffix)], suffix, codec


def find_container(source: Source) -> str:
    """Return the container of an input as `--format` names it."""
    if source.container == "csv":
        return "tsv" if source.delimiter == "\t" else "csv"
    return "json" if source.container == "json_array" else source.container


def is_copied(source: Source, container: str, shape: str | None) -> bool:
    """Tell whether records go out as they came in."""
    return shape is None and container == find_container(source)


def choose_target(source: Source, wanted: Wanted, path: Path) -> Target:
    """Return what is written for an input to a path.

    A directory of Arrow files that goes to a file is converted to what the file's suffix says.

    Raises:
        ExportError: the suffix of the path says something else.
    """
    _, suffix, codec = split_suffix(path.name)
    named = SUFFIXES.get(suffix.lower())
    container = wanted.container or (named if source.files and named else find_container(source))
    is_directory = container == "arrow" and not suffix
    target = Target(container, wanted.shape, is_copied(source, container, wanted.shape), is_directory)
    if codec and target.is_table:
        raise ExportError(str(path), f"{_SAYS[container]} is not compressed as a whole", f"leave out {codec}")
    if target.shape in _LISTS and container in ("csv", "tsv"):
        finding = f"would hold {wanted.shape}, lists of messages, and a cell of {_SAYS[container]} holds one text"
        raise ExportError(str(path), finding, f"choose --format jsonl,{wanted.shape}, or parquet; or --format alpaca")
    if named is not None and named not in _fitting_suffixes(source, target):
        _refuse_suffix(path, source, target, named)
    return target


def _fitting_suffixes(source: Source, target: Target) -> tuple[str, ...]:
    if target.container == "json" and not target.is_copy:
        return ("json",)
    if target.container in _JSON:
        return ("jsonl", "json")
    _, own, _ = split_suffix(Path(source.path).name)
    # Tabs in a file named .csv are common; a copy may be named like its input.
    also = (SUFFIXES[own.lower()],) if target.is_copy and target.container in ("csv", "tsv") and own else ()
    return (target.container, *also)


def _refuse_suffix(path: Path, source: Source, target: Target, named: str) -> None:
    says = "JSON" if target.container in _JSON and target.is_copy else _SAYS[target.container]
    like = f" like its input {source.path}" if target.container == find_container(source) else ""
    cure = f"choose a name that ends in {data_suffix(target.container)}, or convert with --format {named}"
    raise ExportError(str(path), f"would hold {says}{like}", cure)


def data_suffix(container: str) -> str:
    """Return the suffix that a file gets where it is named after its input."""
    return next(suffix for suffix, name in SUFFIXES.items() if name == container.removesuffix("_object"))
