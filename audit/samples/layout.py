"""What kind of file this is, found in its first bytes, whatever its name says.

Knows magic numbers, byte order marks and how JSON begins. Does not know records.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from audit.errors import DataError, MissingDataError
from audit.samples.decode import parse_record
from audit.samples.encoding import BYTE_ORDER_MARKS, align_chunks, find_encoding, view_units
from audit.samples.lines import split_lines
from audit.samples.pieces import OBJECT_BYTES, read_whole
from audit.samples.source import Layout
from audit.samples.streams import BrokenStream, find_codec, read_chunks

READABLE = "JSON lines, a JSON array and Parquet are read; the JSON ones also as .gz or .zst"

_HEAD_BYTES = 1 << 16
_FOREIGN = (
    (b"ARROW1", "an Arrow file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"BZh", "compressed with bzip2"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xff\xfe\x00\x00", "UTF-32 text"),
    (b"\x00\x00\xfe\xff", "UTF-32 text"),
)


def check_file(path: str) -> None:
    """Check that there is a file with bytes in it.

    Raises:
        MissingDataError: nothing is there.
        DataError: it is a directory, no regular file, unreadable or empty.
    """
    place = Path(path)
    if not place.exists():
        raise MissingDataError(path, "no such file", "check the path; it is taken from the working directory")
    if place.is_dir():
        raise _directory_error(path)
    if not place.is_file():
        raise DataError(path, "not a regular file; it is read more than once", "save it to a file first")
    if place.stat().st_size == 0:
        raise DataError(path, "the file is empty", "check how it was written")


def _directory_error(path: str) -> DataError:
    suffixes = (".jsonl", ".ndjson", ".json", ".parquet", ".gz", ".zst")
    names = sorted(found.name for found in Path(path).iterdir() if found.name.endswith(suffixes))
    if not names:
        return DataError(path, "a directory without a dataset file in it", "name a file")
    return DataError(path, "a directory, not a file", f"name the files in it, such as {Path(path, names[0])}")


def find_layout(path: str) -> Layout:
    """Return how the bytes of a file are to be taken apart.

    Raises:
        MissingDataError, DataError: there is no such file, or nothing in it that could be a dataset.
    """
    try:
        check_file(path)
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
        if head.startswith(b"PAR1"):
            return Layout("parquet")
        _refuse_foreign(path, head)
        codec = find_codec(head)
        text = head if codec == "none" else _read_text_head(path, codec)
        _refuse_foreign(path, text)
        return _find_text_layout(path, codec, text)
    except OSError as error:
        if isinstance(error, MissingDataError):
            raise
        raise DataError(path, f"cannot be read: {error.strerror or error}", "check its permissions") from error


def _read_text_head(path: str, codec: str) -> bytes:
    head = b""
    with open(path, "rb") as file:
        try:
            for chunk in read_chunks(file, codec):
                head += chunk
                if len(head) >= _HEAD_BYTES:
                    break
        except BrokenStream as error:
            if not head:
                raise DataError(path, f"{error.finding}, and nothing before that can be read", error.cure) from error
    if not head:
        raise DataError(path, f"the {codec} stream holds nothing", "check how it was written")
    return head


def _refuse_foreign(path: str, head: bytes) -> None:
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            raise DataError(path, f"the file is {name}", READABLE)


def _find_text_layout(path: str, codec: str, head: bytes) -> Layout:
    encoding = find_encoding(head)
    view = view_units(head[len(BYTE_ORDER_MARKS[encoding]) :], encoding).lstrip(b" \t\r\n")
    if (view[:1] not in (b"{", b"[") and b"\0" in view) or view[1:2] == b"\0":
        raise DataError(path, "binary data, not text", f"{READABLE}; UTF-16 needs its byte order mark")
    if view[:1] == b"[":
        return Layout("json_array", codec, encoding)
    if view[:1] == b"{" and _is_one_object(path, codec, encoding):
        return Layout("json_object", codec, encoding)
    return Layout("jsonl", codec, encoding)


def _is_one_object(path: str, codec: str, encoding: str) -> bool:
    """Tell whether the text is one object over several lines: no object on its first line, but one as a whole."""
    try:
        first = next(
            line for line in _read_text(path, codec, encoding, split=True) if view_units(line, encoding).strip()
        )
        if isinstance(parse_record(first, encoding), dict):
            return False
        text = read_whole(_read_text(path, codec, encoding, split=False), OBJECT_BYTES)
    except (BrokenStream, StopIteration):
        return False
    return text is not None and isinstance(parse_record(text, encoding), dict)


def _read_text(path: str, codec: str, encoding: str, *, split: bool) -> Iterator[bytes]:
    with open(path, "rb") as file:
        chunks = align_chunks(read_chunks(file, codec), encoding)
        yield from split_lines(chunks, encoding) if split else chunks
