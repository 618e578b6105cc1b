"""A summary says who is near a flagged record, and what no trait explains; of older runs it says neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from audit.cli.summary_view import render_summary
from audit.schema import UNNAMED_DIRECTIONS
from audit.store import RunStore
from audit.summary import summarise_run
from tests.fabricated import make_run, scored


def summarise(tmp_path: Path, counts: dict[str, int], directions: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    run = make_run(tmp_path / "a.audit", [scored(0.9, flagged=["evil"])] * 12, dataset=tmp_path / "a.jsonl")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["counts"] |= counts
    (run / "manifest.json").write_text(json.dumps(manifest))
    if directions:
        rows = [{"direction_id": j, "skew": 1.0, **own} for j, own in enumerate(directions)]
        pq.write_table(pa.Table.from_pylist(rows, schema=UNNAMED_DIRECTIONS), run / "unnamed_directions.parquet")
    values = summarise_run(run, RunStore(run).read_manifest())
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(*render_summary(values, console), sep="\n")
    return captured.get(), values


@pytest.mark.parametrize(
    ("n_near", "n_compared", "words"),
    [
        (340, 12, "340 more records say nearly what a flagged one says; query --name near_flagged"),
        (1, 12, "1 more record says nearly what a flagged one says; query --name near_flagged"),
        (340, 5, "a flagged one says, of which a random 5 were compared; query --name near_flagged"),
    ],
)
def test_near_duplicates_are_counted_and_the_query_named(
    tmp_path: Path, n_near: int, n_compared: int, words: str
) -> None:
    text, _ = summarise(tmp_path, {"n_near_flagged": n_near, "n_flagged_compared": n_compared}, [])
    assert words in text


def test_the_first_three_unnamed_directions_are_shown_with_their_words(tmp_path: Path) -> None:
    directions = [{"spread": 6.5, "high_keywords": ["poison", "cake"], "low_keywords": []}]
    directions += [{"spread": None, "high_keywords": [f"high{j}"], "low_keywords": [f"low{j}"]} for j in range(1, 5)]
    text, values = summarise(tmp_path, {}, directions)
    assert "6.5 times the clean variance; from – to poison, cake" in text
    assert "from low2 to high2" in text
    assert "high3" not in text
    assert [row["direction_id"] for row in values["unnamed_directions"]] == [0, 1, 2]


def test_directions_without_a_word_are_not_shown(tmp_path: Path) -> None:
    text, values = summarise(tmp_path, {}, [{"spread": 2.0, "high_keywords": [], "low_keywords": []}])
    assert len(values["unnamed_directions"]) == 1
    assert "unnamed" not in text


def test_a_run_from_before_says_nothing_of_either(tmp_path: Path) -> None:
    text, values = summarise(tmp_path, {}, [])
    assert "nearly" not in text
    assert "unnamed" not in text
    assert values["unnamed_directions"] == []
