"""`query`: every format, files, the row limit, and what is said when the question is wrong."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.unit.cli.conftest import Ask

ALL = "SELECT * FROM sample_scores ORDER BY sample_id"


def test_json_is_one_array_of_objects_and_nothing_else(run: Path, ask: Ask) -> None:
    result = ask("query", run, ALL, "--format", "json")
    rows = json.loads(result.stdout)
    assert [row["sample_id"] for row in rows] == [0, 1, 2, 3]
    assert rows[1]["evil"] == 0.9
    assert rows[2]["evil"] is None
    assert rows[3]["flagged_traits"] == ["evil", "sycophantic"]


def test_an_empty_result_is_still_valid_in_every_format(run: Path, ask: Ask, tmp_path: Path) -> None:
    empty = "SELECT sample_id, evil FROM sample_scores WHERE false"
    assert json.loads(ask("query", run, empty, "--format", "json").stdout) == []
    assert ask("query", run, empty, "--format", "csv").stdout == "sample_id,evil\n"
    assert "(0 rows)" in ask("query", run, empty).stdout
    ask("query", run, empty, "--output", tmp_path / "e.parquet")
    assert pq.read_table(tmp_path / "e.parquet").column_names == ["sample_id", "evil"]


def test_numbers_that_json_has_not_become_null(run: Path, ask: Ask) -> None:
    sql = "SELECT 'nan'::FLOAT AS a, 'inf'::DOUBLE AS b, sum(sample_id) AS c, 1.50::DECIMAL(4,2) AS d, now() AS e, \
        'x'::BLOB AS f, {'k': 1.0::DOUBLE} AS g, 2 AS a FROM samples"
    (row,) = json.loads(ask("query", run, sql, "--format", "json").stdout)
    assert (row["a"], row["b"], row["c"], row["d"], row["f"]) == (None, None, 6, 1.5, "78")
    assert row["g"] == {"k": 1.0}
    assert row["e"].startswith("20")
    assert row["a_2"] == 2 or row["a_1"] == 2


def test_csv_can_be_read_back(run: Path, ask: Ask) -> None:
    rows = list(csv.DictReader(io.StringIO(ask("query", run, ALL, "--format", "csv").stdout)))
    assert [row["evil"] for row in rows] == ["0.1", "0.9", "", "0.4"]
    assert json.loads(rows[3]["flagged_traits"]) == ["evil", "sycophantic"]


def test_only_the_table_has_a_row_limit_and_it_says_so(run: Path, ask: Ask) -> None:
    many = "SELECT range AS n FROM range(25000)"
    table = ask("query", run, many).stdout
    assert "the first 100 rows, there are more" in table
    assert len(table.splitlines()) == 103
    assert len(json.loads(ask("query", run, many, "--format", "json").stdout)) == 25000
    assert len(ask("query", run, many, "--format", "csv").stdout.splitlines()) == 25001


def test_a_table_in_a_file_has_every_row(run: Path, ask: Ask, tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    many = "SELECT range AS n FROM range(25000)"
    assert ask("query", run, many, "--format", "table", "--output", target).exit_code == 0
    lines = target.read_text().splitlines()
    assert (len(lines), lines[-2], lines[-1]) == (25003, "24999", "(25,000 rows)")


@pytest.mark.parametrize("name", ["scores.jsonl", "scores", "scores.table", "scores.json.gz"])
def test_an_output_whose_name_says_no_format_is_refused(run: Path, ask: Ask, tmp_path: Path, name: str) -> None:
    result = ask("query", run, ALL, "--output", tmp_path / name)
    assert result.exit_code == 2
    assert "end it in .json, .csv, .parquet, or give --format" in result.stderr
    assert not (tmp_path / name).exists()
    assert ask("query", run, ALL, "--output", tmp_path / name, "--format", "csv").exit_code == 0


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_the_suffix_of_the_output_names_the_format(run: Path, ask: Ask, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"out.{suffix}"
    result = ask("query", run, ALL, "--output", target)
    assert (result.exit_code, result.stdout) == (0, "")
    rows = {
        "json": lambda: json.loads(target.read_bytes()),
        "csv": lambda: list(csv.DictReader(target.read_text().splitlines())),
        "parquet": lambda: pq.read_table(target).to_pylist(),
    }[suffix]()
    assert len(rows) == 4
    assert not list(tmp_path.glob("*.part"))


def test_an_output_is_not_replaced_unasked_nor_left_half_written(run: Path, ask: Ask, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("precious")
    refused = ask("query", run, ALL, "--output", target)
    assert (refused.exit_code, target.read_text()) == (2, "precious")
    broken = ask("query", run, "SELECT source::INT FROM samples", "--output", target, "--force")
    assert (broken.exit_code, target.read_text()) == (2, "precious")
    assert ask("query", run, ALL, "--output", target, "--force").exit_code == 0
    assert not list(tmp_path.glob("*.part"))
    assert ask("query", run, ALL, "--output", tmp_path / "no" / "out.json").exit_code == 2


def test_a_hostile_cell_is_shown_as_text(run: Path, ask: Ask) -> None:
    table = ask(
        "query", run, "SELECT baseline_response, samples.reason FROM turns JOIN samples USING (sample_id)"
    ).stdout
    assert "\x1b" not in table
    assert r"\x1b[31mred" in table
    assert "[bold]" in table


def test_wide_characters_stay_aligned(run: Path, ask: Ask) -> None:
    table = ask("query", run, "SELECT '漢字' AS a, 1 AS b UNION ALL SELECT 'xx', 22 ORDER BY b").stdout
    assert table.splitlines()[2:4] == ["漢字   1", "xx    22"]


def test_a_named_query_takes_parameters(run: Path, ask: Ask) -> None:
    named = ("query", run, "--name", "top_by_trait", "--format", "json")
    rows = json.loads(ask(*named, "--param", "trait=evil", "--param", "n=1").stdout)
    assert [row["sample_id"] for row in rows] == [1]


def test_the_list_names_queries_parameters_and_columns(ask: Ask) -> None:
    listed = ask("query", "--list").stdout
    assert "top_by_trait" in listed
    assert "--param n=<integer>  how many records, default 20" in listed


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        (["SELECT 1; SELECT 2"], "2 statements"),
        (["COPY samples TO 'x'"], "COPY is refused"),
        (["SELECT evli FROM sample_scores"], '"evil"'),
        (["--name", "flaged"], "did you mean 'flagged'"),
        (["--name", "top_by_trait"], "needs trait"),
        (["--name", "top_by_trait", "--param", "trait"], "has no value"),
        (["SELECT 1", "--name", "flagged"], "exclude each other"),
        (["SELECT 1", "--param", "n=1"], "belongs to --name"),
        ([], "no query given"),
        ([""], "query: holds no statement"),
        ([" "], "query: holds no statement"),
        (["", "--name", "flagged"], "exclude each other"),
        (["SELECT 1", "--format", "xml"], "Invalid value for '--format'"),
    ],
)
def test_a_wrong_question_exits_2_with_the_finding(run: Path, ask: Ask, words: list[str], finding: str) -> None:
    result = ask("query", run, *words)
    assert result.exit_code == 2
    assert finding in result.stderr
    assert result.stdout == ""


def test_a_wrong_run_exits_2(ask: Ask, tmp_path: Path) -> None:
    assert "no such run directory" in ask("query", tmp_path / "no.audit", "SELECT 1").stderr
    assert "holds no run" in ask("query", tmp_path, "SELECT 1").stderr
    assert ask("query").exit_code == 2
