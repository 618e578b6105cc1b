"""The run directory: parts that are written whole or not at all, the manifest, and what is done.

The file name is the state. A part is four tables under one name; `samples/` is renamed last, so a part counts exactly
when its samples file exists. Knows nothing of models, scores or readers.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from audit.errors import AuditError, MissingDataError, RunError
from audit.schema import FORMAT_VERSION

MANIFEST = "manifest.json"
LOCK = "scan.lock"
INPUTS = "inputs"
"""Directory of what came through standard input. It is named by its content, so `--fresh` may leave it there."""

SHEET = "answers.sqlite"
"""Where a scan that works keeps the model's answers; a finished run has none."""

RESPONSES = "responses"
"""Directory of what a scan with `--baseline auto` reads before it knows any y′; a finished run has none."""

PREDICTION = "prediction.npz"
"""How such a scan predicts y′."""

SAMPLE_SCORES = "sample_scores.parquet"
"""The wide table, written when a run's findings are; without it the relation is computed from the parts."""

JUDGE = "judge.parquet"
JUDGE_SHEET = "judge.sqlite"
"""What an LLM said of records, and the numbers as they came, answer by answer."""

ROW_GROUP_ROWS = 122_880
"""Rows of a Parquet row group: what DuckDB works on at a time."""

COMMITTED_LAST = "samples"
PART_TABLES = ("turns", "scores", "differences", "random_evidence", COMMITTED_LAST)
WORKING_FILES = (SHEET, f"{SHEET}-journal", PREDICTION)
RUN_FILES = (
    "flags.parquet",
    "clusters.parquet",
    "cluster_summary.parquet",
    "verdicts.parquet",
    "marks.parquet",
    "near_duplicates.parquet",
    "unnamed_directions.parquet",
    "reference.json",
    SAMPLE_SCORES,
    JUDGE,
    JUDGE_SHEET,
    f"{JUDGE_SHEET}-wal",
    f"{JUDGE_SHEET}-shm",
    *WORKING_FILES,
)

_NAME_BYTES = 255
_SAMPLED_BYTES = 1 << 20
_PART_NAME = re.compile(r"part-(\d{12})-(\d{12})\.parquet")


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """The finished rows [start, stop) of a run, counted over all inputs."""

    start: int
    stop: int

    @property
    def name(self) -> str:
        """The file name that the part has in each table's directory."""
        return f"part-{self.start:012d}-{self.stop:012d}.parquet"

    @property
    def n_rows(self) -> int:
        """Records in the part."""
        return self.stop - self.start


class RunStore:
    """One run directory on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def manifest_path(self) -> Path:
        """Where the manifest lies."""
        return self.path / MANIFEST

    @property
    def sheet_path(self) -> Path:
        """Where the answers lie while a scan works."""
        return self.path / SHEET

    @property
    def sample_scores_path(self) -> Path:
        """Where the wide table of a finished run lies."""
        return self.path / SAMPLE_SCORES

    def table_path(self, table: str, part: Part) -> Path:
        """Return where `part` of `table` lies once it is finished."""
        return self.path / table / part.name

    def exists(self) -> bool:
        """Tell whether the directory holds a run."""
        return self.manifest_path.is_file()

    @contextmanager
    def opened_for_writing(self, *, fresh: bool) -> Iterator[None]:
        """Hold the directory against a second scan and make it ready; with `fresh`, remove an earlier run.

        The lock belongs to the process, so a killed scan leaves none behind.

        Raises:
            RunError: the path is a file, holds something that is no run, cannot be written, or is being written.
        """
        self.refuse_unwritable()
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise RunError(
                str(self.path), "another scan is writing here", "wait for it, or choose another --out"
            ) from error
        try:
            with self._explained_errors():
                # Parts without a manifest are nobody's: what they were scored with is not known.
                if fresh or not self.exists():
                    self._remove_run()
                for table in PART_TABLES:
                    (self.path / table).mkdir(exist_ok=True)
                self._remove_unfinished()
            yield
        finally:
            lock.release()

    def refuse_foreign(self) -> None:
        """Refuse a path that is a file or a directory of something else; nothing is tried out, so nothing is written.

        Raises:
            RunError: with what was found there.
        """
        with self._explained_errors():
            self._refuse_foreign()

    def refuse_unwritable(self) -> None:
        """Refuse a path that is a file, a directory of something else, or cannot be written.

        Raises:
            RunError: with what was found there.
        """
        with self._explained_errors():
            self._refuse_foreign()
            is_new = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable.part"
            probe.touch()
            probe.unlink()
            if is_new:
                self.path.rmdir()

    @contextmanager
    def _explained_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, AuditError):
                raise
            raise RunError(
                str(self.path), f"cannot be written: {error.strerror or error}", "choose another --out"
            ) from error

    def _refuse_foreign(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunError(str(self.path), "is a file, not a run directory", "choose another --out")
        if self.path.is_dir() and not self.exists():
            foreign = _foreign_entries(self.path)
            if foreign:
                raise RunError(
                    str(self.path),
                    f"is no run directory: it holds {foreign[0]!r}",
                    "choose an empty or new directory with --out",
                )

    def parts(self, table: str = COMMITTED_LAST) -> list[Part]:
        """Return the finished parts, by position; those of a `table` that is written by itself, if one is named.

        Raises:
            RunError: two parts overlap, so the directory was not written by one run.
        """
        folder = self.path / table
        matches = [_PART_NAME.fullmatch(name) for name in os.listdir(folder)] if folder.is_dir() else []
        parts = sorted(Part(int(match[1]), int(match[2])) for match in matches if match)
        for before, after in itertools.pairwise(parts):
            if after.start < before.stop:
                raise RunError(str(self.path), f"{before.name} and {after.name} overlap", "start over with --fresh")
        return parts

    def write_part(self, part: Part, tables: Mapping[str, pa.Table]) -> None:
        """Write the tables of a part, samples last: after a crash the part is there whole or not at all."""
        for table in PART_TABLES:
            write_table(self.table_path(table, part), tables[table])

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest.

        Raises:
            RunError: there is none, it is damaged, or it has another format version.
        """
        try:
            manifest = json.loads(self.manifest_path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            finding = "holds no run" if self.path.is_dir() else "no such run directory"
            raise RunError(
                str(self.path), finding, "`persona-audit scan DATASET` makes one and prints its path"
            ) from error
        except (OSError, ValueError) as error:
            raise RunError(str(self.manifest_path), f"cannot be read: {error}", "start over with --fresh") from error
        version = manifest.get("format_version") if isinstance(manifest, dict) else None
        if version != FORMAT_VERSION:
            raise RunError(
                str(self.manifest_path),
                f"has format version {version}, this tool reads {FORMAT_VERSION}",
                "scan again with this version, or read it with the tool that wrote it",
            )
        return dict(manifest)

    def read_finished_manifest(self) -> dict[str, Any]:
        """Return the manifest of a finished run.

        Raises:
            RunError: as `read_manifest`, or the scan has not finished.
        """
        manifest = self.read_manifest()
        if manifest["state"] != "finished":
            raise RunError(
                str(self.path), "the scan has not finished", "run the same scan command again to continue it"
            )
        return manifest

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest as a whole."""
        write_bytes(self.manifest_path, json.dumps(manifest, indent=1, allow_nan=False).encode() + b"\n")

    def remove_working_files(self) -> None:
        """Remove what only a scan that works needs: its tables hold what came of it."""
        for name in WORKING_FILES:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / RESPONSES, ignore_errors=True)

    def _remove_run(self) -> None:
        # The manifest goes first: without it what is left is neither read nor continued.
        for name in (MANIFEST, *RUN_FILES):
            (self.path / name).unlink(missing_ok=True)
        for table in (*PART_TABLES, RESPONSES):
            if (self.path / table).is_dir():
                shutil.rmtree(self.path / table)

    def _remove_unfinished(self) -> None:
        done = {part.name for part in self.parts()}
        for leftover in self.path.rglob("*.part"):
            leftover.unlink(missing_ok=True)
        for table in PART_TABLES:
            for file in (self.path / table).glob("part-*.parquet"):
                if file.name not in done:
                    file.unlink()


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file under another name, make it durable, and rename it."""
    with replacing(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd", compression_level=3, row_group_size=ROW_GROUP_ROWS)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under another name, make it durable, and rename it."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(data)


def hash_file(path: str | Path, *, cure: str = "check the path") -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        MissingDataError: there is no such file.
    """
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise MissingDataError(str(path), f"cannot be read: {error.strerror}", cure) from error


def identify_directory(path: str | Path) -> str | None:
    """Return a digest that changes when a file of a directory is replaced: names, sizes, first and last mebibyte.

    Cheap enough for a model of many gigabytes. None where the path is no directory (an id on a hub).
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(entry for entry in folder.iterdir() if entry.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode("utf-8", "surrogateescape"))
        with file.open("rb") as handle:
            digest.update(handle.read(_SAMPLED_BYTES))
            handle.seek(max(size - _SAMPLED_BYTES, 0))
            digest.update(handle.read(_SAMPLED_BYTES))
    return digest.hexdigest()


def name_unfinished(path: Path) -> Path:
    """Return a name beside `path` that nobody can have thought of; it ends in `.part` and is not too long."""
    mark = f".{os.getpid()}-{secrets.token_hex(8)}.part"
    stem = os.fsencode(path.name)[: _NAME_BYTES - len(mark)]
    # A character that was cut through would be an illegal name where names must be UTF-8.
    return path.with_name(stem.decode(errors="ignore") + mark)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new, empty file to write to; when the block ends well, make it durable and rename it to `path`.

    When it does not, what was written is removed and `path` stays as it was. The file is this call's alone: no other
    file, of the user's or of another process, is written over or removed.
    """
    unfinished = name_unfinished(path)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield unfinished
        with open(unfinished, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(unfinished, path)
    finally:
        # After the rename there is nothing of this name left to remove.
        unfinished.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _foreign_entries(path: Path) -> list[str]:
    known = {MANIFEST, LOCK, INPUTS, RESPONSES, *PART_TABLES, *RUN_FILES}
    return sorted(name for name in os.listdir(path) if name not in known and not name.endswith(".part"))
