"""What kind of file this is, found in its first bytes; of a name only `.csv` and `.tsv` say anything.

Knows magic numbers, byte order marks, how JSON begins and what parts a CSV. Does not know records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from audit.errors import DataError, MissingDataError
from audit.samples.arrow import FILE_MAGIC, STREAM_MAGIC
from audit.samples.csv_lines import DELIMITERS, find_delimiter, split_rows
from audit.samples.decode import Unreadable, parse_json, parse_record
from audit.samples.encoding import BYTE_ORDER_MARKS, align_chunks, find_encoding, view_units
from audit.samples.lines import split_lines
from audit.samples.pieces import OBJECT_BYTES, read_whole
from audit.samples.source import Layout
from audit.samples.streams import BrokenStream, find_codec, read_chunks

READABLE = "JSON lines, JSON arrays, .csv, .tsv, Parquet and Arrow are read; the texts also as .gz or .zst"

_HEAD_BYTES = 1 << 16
_TABLES = ((b"PAR1", "parquet"), (FILE_MAGIC, "arrow"), (STREAM_MAGIC, "arrow"))
_CSV_NAME = re.compile(r"\.([ct]sv)(\.(gz|zst))?\Z", re.IGNORECASE)
_JSON_OPENING = re.compile(rb'\{\s*["}]|\[\s*["\[{\]]')
_SUFFIXES = {"jsonl": ".jsonl", "csv": ".csv", "parquet": ".parquet", "arrow": ".arrow"}
_CODEC_SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".gz", ".zst")
_FOREIGN = (
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
    names = sorted(found.name for found in Path(path).iterdir() if has_data_suffix(found.name))
    if not names:
        return DataError(path, "a directory without a dataset file in it", "name a file")
    pattern = Path(path, f"*{Path(names[0]).suffix}")
    cure = f"name the files in it, such as {Path(path, names[0])}, or several by a pattern: '{pattern}'"
    return DataError(path, "a directory, not a file", cure)


def has_data_suffix(path: str) -> bool:
    """Tell whether a name ends as those of dataset files do."""
    return path.lower().endswith(_DATA_SUFFIXES)


def find_layout(path: str) -> Layout:
    """Return how the bytes of a file are to be taken apart.

    Raises:
        MissingDataError, DataError: there is no such file, or nothing in it that could be a dataset.
    """
    try:
        check_file(path)
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
        table = _find_table(head)
        if table is not None:
            return Layout(table)
        _refuse_foreign(path, head)
        codec = find_codec(head)
        text = head if codec == "none" else _read_text_head(path, codec)
        _refuse_foreign(path, text)
        return _find_text_layout(path, codec, text)
    except OSError as error:
        if isinstance(error, MissingDataError):
            raise
        raise DataError(path, f"cannot be read: {error.strerror or error}", "check its permissions") from error


def suggest_suffix(path: str) -> str:
    """Return the suffix that a file without a telling name should have: what begins like JSON is JSON lines.

    Raises:
        DataError: its compressed stream is damaged from the beginning.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    table = _find_table(head)
    if table is not None:
        return _SUFFIXES[table]
    codec = find_codec(head)
    text = head if codec == "none" else _read_text_head(path, codec)
    is_json = _view_head(text, find_encoding(text))[:1] in (b"{", b"[")
    return _SUFFIXES["jsonl" if is_json else "csv"] + _CODEC_SUFFIXES[codec]


def _find_table(head: bytes) -> str | None:
    return next((container for magic, container in _TABLES if head.startswith(magic)), None)


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


def _view_head(head: bytes, encoding: str) -> bytes:
    return view_units(head[len(BYTE_ORDER_MARKS[encoding]) :], encoding).lstrip(b" \t\r\n")


def _find_text_layout(path: str, codec: str, head: bytes) -> Layout:
    if _find_table(head) is not None:
        raise DataError(path, f"a table compressed as a whole ({codec}) cannot be read row by row", "decompress it")
    encoding = find_encoding(head)
    view = _view_head(head, encoding)
    if (view[:1] not in (b"{", b"[") and b"\0" in view) or view[1:2] == b"\0":
        raise DataError(path, "binary data, not text", f"{READABLE}; UTF-16 needs its byte order mark")
    name = _CSV_NAME.search(path)
    if name is not None and not _JSON_OPENING.match(view):
        is_tsv = name[1].lower() == "tsv"
        return Layout("csv", codec, encoding, "\t" if is_tsv else _find_delimiter(path, codec, encoding))
    if view[:1] == b"[" and not _is_list_on_a_line(path, codec, encoding, view):
        return Layout("json_array", codec, encoding)
    if view[:1] == b"{" and _is_one_object(path, codec, encoding):
        return Layout("json_object", codec, encoding)
    return Layout("jsonl", codec, encoding)


def _find_delimiter(path: str, codec: str, encoding: str) -> str:
    """Return what parts the header of a CSV, which is the first line that is not blank."""
    try:
        rows = split_rows(_read_text(path, codec, encoding), encoding, "".join(DELIMITERS))
        views = (view_units(row, encoding) for row in rows)
        return find_delimiter(next((view for view in views if view.strip()), b""))
    except BrokenStream:
        # The survey meets it again, and can say how far it got.
        return DELIMITERS[0]


def _is_list_on_a_line(path: str, codec: str, encoding: str, view: bytes) -> bool:
    """Tell whether the text is JSON lines though its first is a list: a whole one, and more than blanks follow."""
    if b"\n" not in view:
        return False
    try:
        lines = (line for line in _read_lines(path, codec, encoding) if view_units(line, encoding).strip())
        first = parse_json(next(lines), encoding)
        return not isinstance(first, Unreadable) and next(lines, None) is not None
    except BrokenStream:
        return False


def _is_one_object(path: str, codec: str, encoding: str) -> bool:
    """Tell whether the text is one object over several lines: no object on its first line, but one as a whole."""
    try:
        first = next(line for line in _read_lines(path, codec, encoding) if view_units(line, encoding).strip())
        if isinstance(parse_record(first, encoding), dict):
            return False
        text = read_whole(_read_text(path, codec, encoding), OBJECT_BYTES)
    except (BrokenStream, StopIteration):
        return False
    return text is not None and isinstance(parse_record(text, encoding), dict)


def _read_lines(path: str, codec: str, encoding: str) -> Iterator[bytes]:
    return split_lines(_read_text(path, codec, encoding), encoding)


def _read_text(path: str, codec: str, encoding: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from align_chunks(read_chunks(file, codec), encoding)
