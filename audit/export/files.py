"""Outputs opened under another name, compressed where their name says so, and renamed when all is written.

Knows nothing of records.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from audit.errors import ExportError
from audit.store import name_unfinished, replacing


@contextmanager
def writing(path: Path, *, overwrite: bool, is_directory: bool = False) -> Iterator[Path]:
    """Give a name to write to, a file's or that of a new directory; rename it when the block ends well.

    Raises:
        ExportError: another process has written `path` in the meantime, and it is not to be replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing_directory(path) if is_directory else replacing(path) as unfinished:
        yield unfinished
        if not overwrite and os.path.lexists(path):
            finding = "was written by something else while the export ran"
            raise ExportError(str(path), finding, "choose another name, or replace it with --force")


@contextmanager
def _replacing_directory(path: Path) -> Iterator[Path]:
    unfinished = name_unfinished(path)
    unfinished.mkdir()
    try:
        yield unfinished
        for entry in unfinished.iterdir():
            with entry.open("rb+") as handle:
                os.fsync(handle.fileno())
        _exchange(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _exchange(unfinished: Path, path: Path) -> None:
    if not path.exists():
        os.replace(unfinished, path)
        return
    # A directory with something in it cannot be renamed over; it goes when the new one is in its place.
    earlier = name_unfinished(path)
    os.rename(path, earlier)
    try:
        os.replace(unfinished, path)
    except OSError:
        os.rename(earlier, path)
        raise
    shutil.rmtree(earlier)


@contextmanager
def open_sink(path: Path, codec: str) -> Iterator[BinaryIO]:
    """Open a file to write; what is written is compressed, and the same bytes give the same file."""
    with ExitStack() as opened:
        file: BinaryIO = opened.enter_context(path.open("wb"))
        if codec == "gzip":
            # Neither name nor time, so that a second export is the same.
            file = opened.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0))  # type: ignore[assignment]
        elif codec == "zstd":
            file = opened.enter_context(pa.CompressedOutputStream(pa.PythonFile(file, mode="w"), "zstd"))
        yield file
