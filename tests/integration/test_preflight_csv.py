"""Every rule about CSV, seen happening: `datasets.load_dataset("csv")` on the files that the check names.

Pairs covered: `audit.preflight.load_csv` with `datasets` and its pandas.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit.preflight import check_datasets
from audit.preflight.load_csv import add_csv_rules
from audit.preflight.trainer import RuleBook

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")

HEAD = b"prompt,completion,source\n"
FINE = b"a,b,web\n"
NUMBERS = b"".join(b"a,b,%d\n" % n for n in range(10_000))
STOPS: dict[str, list[bytes]] = {
    "csv_extra_cell": [HEAD + FINE + b"c,d,e,f\n", HEAD + FINE + b"c,d,e,\n", HEAD + FINE * 10_001 + b"c,d,e,f\n"],
    "csv_undecodable": [HEAD + FINE + "é,b,web\n".encode("latin-1")],
    "csv_utf_16": [(HEAD + FINE).decode().encode("utf-16")],
    "csv_open_quote": [HEAD + FINE + b'"a,b,web\n'],
    "csv_late_kind": [HEAD + NUMBERS + b"a,b,web\n", HEAD + b"a,b,\n" * 10_000 + FINE, HEAD + NUMBERS + b"a,b,1.5\n"],
}
# What the last row loads as.
LOADS: dict[str, list[tuple[bytes, Any]]] = {
    "csv_delimiter": [
        (b"prompt;completion\na;b\n", {"prompt;completion": "a;b"}),
        (b"prompt\tcompletion\na\tb\n", {"prompt\tcompletion": "a\tb"}),
    ],
    "csv_first_row_longer": [
        (
            b"prompt,completion\na,b,\nc,d\n",
            {"prompt": "d", "completion": None, "__index_level_0__": "c"},
        )
    ],
    "csv_missing_cell": [(HEAD + FINE + b"a\n", {"prompt": "a", "completion": None, "source": None})],
    "csv_null_word": [
        (HEAD + FINE + f"a,{word},web\n".encode(), {"prompt": "a", "completion": None, "source": "web"})
        for word in ("NA", "null", "None", '"n/a"')
    ],
    "csv_numbers": [
        (HEAD + b"a,1,web\na,2,web\n", {"prompt": "a", "completion": 2, "source": "web"}),
        (HEAD + b"a,1,web\na,,web\na,2.5,web\n", {"prompt": "a", "completion": 2.5, "source": "web"}),
        (HEAD + b"a,True,web\na,false,web\n", {"prompt": "a", "completion": False, "source": "web"}),
    ],
}
HARMLESS = [
    (HEAD + FINE, {"prompt": "a", "completion": "b", "source": "web"}),
    (b"\xef\xbb\xbf" + HEAD + FINE, {"prompt": "a", "completion": "b", "source": "web"}),
    (HEAD + FINE + b"\n" + FINE, {"prompt": "a", "completion": "b", "source": "web"}),
    (HEAD + FINE + b"5,6,7\n", {"prompt": "5", "completion": "6", "source": "7"}),
    (HEAD + FINE + b"a,none,NA\n", {"prompt": "a", "completion": "none", "source": None}),
    (HEAD + FINE + b'a,"x, ""y""\nz",web\n', {"prompt": "a", "completion": 'x, "y"\nz', "source": "web"}),
    (HEAD + FINE * 10_000 + b"a,b,7\n", {"prompt": "a", "completion": "b", "source": "7"}),
    (HEAD + NUMBERS + b"a,b,\n", {"prompt": "a", "completion": "b", "source": None}),
]


def _rules() -> dict[str, Any]:
    book = RuleBook("csv")
    add_csv_rules(book)
    return book.rules


def _find_codes(path: Path) -> set[str]:
    (report,) = check_datasets([str(path)], trainer="llamafactory", format="prompt_completion").trainers
    return {finding.rule.code for finding in report.findings} & set(_rules())


def _load(path: Path) -> list[dict[str, Any]]:
    datasets.disable_progress_bars()
    cache = str(path.parent / "cache")
    return list(datasets.load_dataset("csv", data_files=str(path), split="train", cache_dir=cache))


def _write(directory: Path, text: bytes) -> Path:
    path = directory / "rows.csv"
    path.write_bytes(text)
    return path


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in STOPS.items() for text in texts])
def test_a_file_fails_to_load_where_the_check_says_so(code: str, text: bytes, tmp_path: Path) -> None:
    path = _write(tmp_path, text)
    assert _find_codes(path) == {code}
    with pytest.raises((datasets.exceptions.DatasetGenerationError, UnicodeDecodeError)):
        _load(path)


@pytest.mark.parametrize(("code", "text", "row"), [(code, *case) for code, cases in LOADS.items() for case in cases])
def test_cells_load_as_something_else_where_the_check_says_so(
    code: str, text: bytes, row: dict[str, Any], tmp_path: Path
) -> None:
    path = _write(tmp_path, text)
    assert _find_codes(path) == {code}
    assert _load(path)[-1] == row


@pytest.mark.parametrize(("text", "row"), HARMLESS, ids=range(len(HARMLESS)))
def test_a_file_loads_as_written_where_the_check_finds_nothing(
    text: bytes, row: dict[str, Any], tmp_path: Path
) -> None:
    path = _write(tmp_path, text)
    assert _find_codes(path) == set()
    assert _load(path)[-1] == row


def test_a_trainer_meets_the_null_or_the_number_that_a_cell_became(tmp_path: Path) -> None:
    path = _write(tmp_path, HEAD + b"1,,web\n2,c,web\n")
    (report,) = check_datasets([str(path)], trainer="trl").trainers
    rows = {finding.rule.code: finding.n_rows for finding in report.findings}
    assert rows == {"null_field": 1, "field_not_text": 1, "csv_numbers": 2}


def test_a_limit_does_not_change_what_a_column_is(tmp_path: Path) -> None:
    path = _write(tmp_path, HEAD + b"1,b,web\na,b,web\n")
    assert check_datasets([str(path)], limit=1).n_clean == 0
    (report,) = check_datasets([str(path)], limit=1, trainer="trl").trainers
    assert report.n_clean == 1


def test_every_rule_about_csv_is_seen_happening_here() -> None:
    assert set(_rules()) == {*STOPS, *LOADS}
