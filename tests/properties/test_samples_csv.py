"""Whatever the cells hold: a CSV is read as Python's writer wrote it, and its pieces are its bytes."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.samples.pieces import Piece, cut_pieces
from audit.samples.records import open_parser, read_records
from audit.samples.source import Layout, Source

MARKS = {"utf-8": b"", "utf-8-sig": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}

# In UTF-16 the bytes of a line feed or a quote lie across the units of the last ones.
cells = st.text(st.sampled_from([*'ab ,;|\t"\n\r', "✓", "😀", "\u0a41", "\u4100", "\u2241", "\u4122"]), max_size=8)
slow_disk = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)


def chop(data: bytes, n_bytes: int) -> list[bytes]:
    return [data[start : start + n_bytes] for start in range(0, len(data), n_bytes)]


@slow_disk
@given(data=st.data(), encoding=st.sampled_from(sorted(MARKS)), delimiter=st.sampled_from(",;\t|"))
def test_rows_are_read_as_they_were_written(tmp_path: Path, data: st.DataObject, encoding: str, delimiter: str) -> None:
    n_columns = data.draw(st.integers(2, 4))
    header = data.draw(
        st.lists(
            cells.filter(str.strip), min_size=n_columns, max_size=n_columns, unique_by=lambda name: name.strip(" ")
        )
    )
    rows = data.draw(st.lists(st.lists(cells, min_size=n_columns, max_size=n_columns), max_size=6))
    text = io.StringIO(newline="")
    ending = data.draw(st.sampled_from(["\n", "\r\n"]))
    # Python's writer leaves a lone carriage return bare where lines do not end in one.
    is_bare = ending == "\n" and any("\r" in cell for row in [header, *rows] for cell in row)
    quoting = csv.QUOTE_ALL if is_bare or data.draw(st.booleans()) else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=quoting).writerows([header, *rows])
    whole = MARKS[encoding] + text.getvalue().encode(encoding.removesuffix("-sig"))
    path = tmp_path / "data.csv"
    path.write_bytes(whole)
    layout = Layout("csv", "none", encoding, delimiter)
    source = Source(str(path), "csv", "none", encoding, "", 0, "text", 1.0, 0, "", delimiter)
    parse = open_parser(str(path), layout)
    records = list(read_records(source))
    names = [name.strip(" ") for name in header]
    assert [parse(record.raw) for record in records] == [dict(zip(names, row, strict=True)) for row in rows]
    for record in records:
        assert record.byte_offset is not None
        assert whole[record.byte_offset :].startswith(record.raw)


def _is_blank(piece: Piece) -> bool:
    return not piece.is_record and not piece.raw.strip(b"\x00 \r\n")


@slow_disk
@given(
    text=st.text(st.sampled_from(',;"\n\r\ta✓'), max_size=40),
    encoding=st.sampled_from(sorted(MARKS)),
    delimiter=st.sampled_from(",\t"),
    n_bytes=st.sampled_from([1, 2, 3, 7, 1000]),
)
def test_pieces_are_the_text_wherever_chunks_end(text: str, encoding: str, delimiter: str, n_bytes: int) -> None:
    whole = MARKS[encoding] + text.encode(encoding.removesuffix("-sig"))
    layout = Layout("csv", "none", encoding, delimiter)
    pieces = list(cut_pieces(iter(chop(whole, n_bytes)), layout))
    assert MARKS[encoding] + b"".join(piece.raw + piece.ending for piece in pieces) == whole
    # Blank lines between rows may come one by one or several together.
    assert [piece for piece in pieces if not _is_blank(piece)] == [
        piece for piece in cut_pieces(iter([whole]), layout) if not _is_blank(piece)
    ]
    assert not pieces[0].is_record
    assert [p.line for p in pieces if p.is_record] == list(range(1, sum(p.is_record for p in pieces) + 1))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_quote_cut_in_two_by_a_chunk_closes_nothing(encoding: str) -> None:
    text = 'a,b\n"x ""quoted"" \n y",2\n'
    whole = MARKS[encoding] + text.encode(encoding)
    raws = [p.raw.decode(encoding) for p in cut_pieces(iter(chop(whole, 1)), Layout("csv", "none", encoding, ","))]
    assert raws == ["a,b", '"x ""quoted"" \n y",2']
