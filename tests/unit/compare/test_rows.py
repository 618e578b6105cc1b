"""Rows of two runs: what is matched with what, and what is said of the rest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from audit.compare import compare_runs
from audit.schema import SAMPLES
from tests.fabricated import FakeRecord, scored
from tests.unit.compare.versions import change_manifest, change_rows, make_version


def says(text: str, evil: float = 0.1, **options: object) -> FakeRecord:
    return scored(evil, response=text, **options)


def test_a_run_compared_with_itself_has_no_difference(tmp_path: Path) -> None:
    unread = FakeRecord(reason="bad_json: no JSON", raw=b"{")
    for name, records in {"few": [says("a"), unread, says("a", 0.9, flagged=["evil"])], "one": [says("a")]}.items():
        run = make_version(tmp_path / f"{name}.audit", records)
        values = compare_runs(run, run)
        assert values["is_different"] is False
        assert values["way"] == "place"
        assert values["counts"]["n_both"] == len(records)
        assert (values["added"], values["removed"], values["moved"], values["differences"]) == ([], [], [], [])
        assert values["has_drifted"] is False


def test_rows_are_matched_by_what_they_say_wherever_they_stand(tmp_path: Path) -> None:
    a = make_version(tmp_path / "a.audit", [says("one"), says("two"), says("three")])
    b = make_version(tmp_path / "b.audit", [says("three"), says("new"), says("one", flagged=["evil"]), says("newer")])
    values = compare_runs(a, b)
    counts = values["counts"]
    assert values["way"] == "content"
    assert (counts["n_both"], counts["n_added"], counts["n_removed"]) == (2, 2, 1)
    assert (counts["added_share"], counts["removed_share"]) == (0.5, 1 / 3)
    assert [row["sample_id"] for row in values["added"]] == [1, 3]
    assert [(row["sample_id"], row["line"]) for row in values["removed"]] == [(1, 2)]
    assert counts["n_newly_flagged"] == 1
    (move,) = (move for move in values["moved"] if move["flagged_b"])
    assert (move["trait"], move["id_a"], move["id_b"]) == ("evil", 0, 2)


@pytest.mark.parametrize("seed", range(6))
def test_copies_are_matched_one_by_one(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    texts = [[f"text {k}" for k in rng.integers(0, 8, size=rng.integers(1, 25))] for _ in "ab"]
    a, b = (
        make_version(tmp_path / f"{run}.audit", [says(t) for t in own]) for run, own in zip("ab", texts, strict=True)
    )
    counts = compare_runs(a, b)["counts"]
    one, other = map(Counter, texts)
    assert counts["n_both"] == (one & other).total()
    assert counts["n_added"] == (other - one).total()
    assert counts["n_removed"] == (one - other).total()


def test_added_and_removed_rows_are_said_to_be_flagged_or_not_the_flagged_first(tmp_path: Path) -> None:
    old = [says("kept"), says("bad 1", flagged=["evil"]), says("fine 1"), says("fine 2")]
    new = [says("kept"), *(says(f"new {k}", flagged=["evil"] if k in (2, 4) else ()) for k in range(5))]
    z = {0: 0.0, 1: 0.5, 2: 1.0, 3: 3.0, 4: 1.5, 5: 4.0}
    a, b = make_version(tmp_path / "a.audit", old), make_version(tmp_path / "b.audit", new, z=z)
    values = compare_runs(a, b, rows=3)
    assert values["counts"]["n_added_flagged"] == 2
    assert values["counts"]["added_flagged_share"] == 2 / 5
    assert values["counts"]["removed_flagged_share"] == 1 / 3
    assert [row["sample_id"] for row in values["added"]] == [5, 3, 4]
    assert values["added"][0]["flagged_traits"] == ["evil"]
    assert compare_runs(a, b, rows=0)["added"] == []


def test_rows_without_an_id_are_counted_apart_as_nothing_says_what_they_are(tmp_path: Path) -> None:
    unread = FakeRecord(reason="bad_json: no JSON", raw=b"{")
    a = make_version(tmp_path / "a.audit", [says("one"), unread, unread])
    b = make_version(tmp_path / "b.audit", [unread, says("one"), says("two")])
    values = compare_runs(a, b)
    counts = values["counts"]
    assert (counts["n_unread_a"], counts["n_unread_b"], counts["n_both"], counts["n_added"]) == (2, 1, 1, 1)
    assert "2 in run A and 1 in run B" in " ".join(values["notices"])


def test_a_row_that_is_skipped_in_one_run_alone_is_counted(tmp_path: Path) -> None:
    dataset = tmp_path / "data.jsonl"
    a = make_version(tmp_path / "a.audit", [says("one"), says("two")], dataset=dataset)
    skipped = FakeRecord(reason="prompt_too_long: 9 tokens", response="two")
    b = make_version(tmp_path / "b.audit", [says("one"), skipped], dataset=dataset)
    values = compare_runs(a, b)
    assert (values["counts"]["n_newly_skipped"], values["counts"]["n_no_longer_skipped"]) == (1, 0)
    assert values["is_different"] is True


def test_runs_from_before_content_ids_match_by_line_over_the_same_files_else_not_at_all(
    tmp_path: Path,
) -> None:
    a = make_version(tmp_path / "a.audit", [says("one"), says("two")], has_ids=False)
    b = make_version(tmp_path / "b.audit", [says("two"), says("one")], has_ids=False)
    values = compare_runs(a, b)
    assert values["way"] == "none"
    assert values["counts"]["n_both"] is values["counts"]["n_added"] is None
    assert "rows cannot be matched" in " ".join(values["notices"])
    assert values["traits"][0]["shift"] == 0.0
    files = [{"path": "x/one.jsonl", "sha256": "1" * 64}, {"path": "x/two.jsonl", "sha256": "2" * 64}]
    for run, order in ((a, files), (b, files[::-1])):
        change_manifest(run, inputs=[{"n_records": 1, **file} for file in order])
    for run in (a, b):
        rename_sources(run, {0: "a.jsonl", 1: "b.jsonl"} if run is a else {0: "elsewhere/b.jsonl", 1: "a.jsonl"})
    values = compare_runs(a, b)
    assert (values["way"], values["counts"]["n_both"], values["counts"]["n_added"]) == ("line", 2, 0)


def rename_sources(run: Path, names: dict[int, str]) -> None:
    for file in (run / "samples").iterdir():
        change_rows(file, SAMPLES, lambda row: {"source": names[row["sample_id"]], "line": 1})


def test_an_old_run_is_matched_by_place_with_a_new_one_over_the_same_data(tmp_path: Path) -> None:
    records, dataset = [says("one"), says("two")], tmp_path / "data.jsonl"
    a = make_version(tmp_path / "a.audit", records, has_ids=False, dataset=dataset)
    b = make_version(tmp_path / "b.audit", records, dataset=dataset)
    assert compare_runs(a, b)["is_different"] is False
