"""`validate`: what is printed, and that hostile text stays text; figures are tested with the library."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import HOSTILE, Ask


def test_scores_flags_and_groups_are_printed_and_hostile_text_stays_text(run: Path, ask: Ask, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    rows = [{"sample_id": n, "traits": ["evil", HOSTILE] if n else [], "kind": HOSTILE} for n in (0, 1, 3)]
    labels.write_text("\n".join(json.dumps(row) for row in rows))
    result = ask("validate", run, "--labels", labels, "--by", "kind", "--k", "2", "--quiet")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    text = result.stdout
    for words in (
        "3 of 4 records labelled, 1 not",
        "evil  2 of 3 labelled records show it",
        "P@2",
        "precision",
        "\\x1b",
    ):
        assert words in text
    assert "no AUC: none of 3 labelled records shows it" in text
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 100


def test_json_holds_the_validation_and_nothing_else(run: Path, ask: Ask, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("sample_id,evil\n0,0\n1,1\n3,1\n")
    found = json.loads(ask("validate", run, "--labels", labels, "--json", "--quiet").stdout)
    assert [row["trait"] for row in found["traits"]] == ["evil"]
    assert found["notices"][0] == "the labels have no column of sycophantic: not validated"
    assert found["traits"][0]["scores"][0]["auc"]["value"] == 1.0


def test_errors_exit_2_with_place_finding_and_cure(run: Path, ask: Ask, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("sample_id,evil\n9,0\n")
    for words, finding in (
        (["--labels", labels], "1 of 1 ids are unknown to the run: 9"),
        (["--labels", tmp_path / "none"], "cannot be read"),
        (["--labels", labels, "--k", "five"], "no list of whole numbers"),
        ([], "Missing option '--labels'"),
    ):
        result = ask("validate", run, *words)
        assert result.exit_code == 2
        assert finding in result.stderr
