"""`check_datasets`: every row is accounted for, rules of all trainers at once, places, limits."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from audit.errors import ConfigError, DataError, MissingDataError
from audit.events import Event, StageAdvanced, StageFinished, StageStarted
from audit.preflight import EFFECTS, Preflight, TrainerReport, check_datasets, find_met_limits, load_trainers

FINE = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
UNFINISHED = {"messages": [*FINE["messages"], {"role": "user", "content": "c"}]}


def _write(path: Path, *rows: Any) -> str:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def _report(preflight: Preflight, trainer: str) -> TrainerReport:
    return next(report for report in preflight.trainers if report.trainer == trainer)


def test_every_row_is_fine_minded_or_unreadable(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", FINE, "", UNFINISHED, "{bad", {"text": "x"}, "[1]", FINE)
    preflight = check_datasets([path])
    assert preflight.n_rows == 6
    assert preflight.n_other_shape == 1
    assert preflight.n_unreadable == {"bad_json": 1, "no_shape": 1}
    assert preflight.n_clean == 2
    assert [report.trainer for report in preflight.trainers] == ["trl", "axolotl", "llamafactory"]
    assert _report(preflight, "trl").n_clean == 3


def test_first_lines_are_those_of_the_file_and_five_at_most(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", FINE, "", *[UNFINISHED] * 7)
    (finding,) = _report(check_datasets([path]), "llamafactory").findings
    assert (finding.rule.code, finding.n_rows, finding.share) == ("ends_with_user", 7, 7 / 8)
    assert finding.first_lines == tuple(f"{path}:{line}" for line in range(3, 8))


def test_a_row_that_meets_two_rules_of_an_effect_counts_once(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": None}, {"content": "b"}]}
    report = _report(check_datasets([_write(tmp_path / "a.jsonl", row, FINE)]), "trl")
    assert sum(finding.rule.effect == "crashes" for finding in report.findings) == 2
    assert report.n_by_effect["crashes"] == 1


def test_crashes_come_first_and_defaults_last(tmp_path: Path) -> None:
    weighted = {"messages": [FINE["messages"][0], {"role": "assistant", "content": "b", "weight": 0}]}
    path = _write(tmp_path / "a.jsonl", FINE, weighted, weighted, {"messages": []})
    codes = [finding.rule.code for finding in _report(check_datasets([path]), "trl").findings]
    assert codes == ["empty_messages", "weight_ignored", "trains_on_every_token"]


def test_a_default_of_the_trainer_is_listed_and_not_counted(tmp_path: Path) -> None:
    preflight = check_datasets([_write(tmp_path / "a.jsonl", FINE)], trainer="trl")
    (report,) = preflight.trainers
    assert [finding.rule.code for finding in report.findings] == ["trains_on_every_token"]
    assert report.n_by_effect == dict.fromkeys(EFFECTS, 0)
    assert (report.n_clean, preflight.n_clean) == (1, 1)


def test_named_fields_are_judged_as_though_the_trainer_knew_them(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", {"dialogue": FINE["messages"]})
    assert check_datasets([path], trainer="axolotl", keys={"messages": "dialogue"}).n_clean == 1


def test_several_files_are_one_check_and_the_limit_counts_rows_of_all(tmp_path: Path) -> None:
    first, second = _write(tmp_path / "a.jsonl", FINE, FINE), _write(tmp_path / "b.jsonl", UNFINISHED, FINE)
    preflight = check_datasets([first, second], limit=3)
    assert preflight.n_rows == 3
    assert list(preflight.files) == [first, second]
    (finding,) = _report(preflight, "llamafactory").findings
    assert finding.first_lines == (f"{second}:1",)


def test_a_pattern_names_files(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", FINE)
    _write(tmp_path / "b.jsonl", FINE)
    assert check_datasets([str(tmp_path / "*.jsonl")]).n_rows == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_are_read_and_counted_whatever_they_end_with(tmp_path: Path, encoding: str, ending: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(ending.join([json.dumps(FINE), "", json.dumps(UNFINISHED)]).encode(encoding))
    preflight = check_datasets([str(path)], trainer="llamafactory")
    assert preflight.n_rows == 2
    assert preflight.trainers[0].findings[0].first_lines == (f"{path}:3",)


def test_compressed_lines_arrays_and_tables_are_checked_alike(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    packed, array, table = tmp_path / "a.jsonl.gz", tmp_path / "a.json", tmp_path / "a.parquet"
    packed.write_bytes(gzip.compress(f"{json.dumps(FINE)}\n{json.dumps(UNFINISHED)}\n".encode()))
    array.write_text(json.dumps([FINE, UNFINISHED]), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([FINE, UNFINISHED]), table)
    for path in (packed, array, table):
        preflight = check_datasets([str(path)])
        codes = {finding.rule.code for finding in _report(preflight, "llamafactory").findings}
        assert preflight.n_rows == 2
        assert codes == {"ends_with_user"} | ({"file_name"} if path == packed else set())


def test_a_shape_that_first_appears_late_is_found(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", *[{"x": 1}] * 300, FINE)
    assert check_datasets([path]).n_other_shape == 300


def test_progress_is_told_and_adds_up(tmp_path: Path) -> None:
    events: list[Event] = []
    check_datasets([_write(tmp_path / "a.jsonl", *[FINE] * 6_000)], listener=events.append)
    assert isinstance(events[0], StageStarted)
    assert isinstance(events[-1], StageFinished)
    assert sum(event.n for event in events if isinstance(event, StageAdvanced)) == 6_000


def test_what_cannot_be_checked_is_an_error_that_names_the_cure(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", FINE)
    with pytest.raises(ConfigError, match="choose one of trl, axolotl, llamafactory"):
        check_datasets([path], trainer="unsloth")
    with pytest.raises(ConfigError, match="--limit"):
        check_datasets([path], limit=0)
    with pytest.raises(ConfigError, match="standard input"):
        check_datasets(["-"])
    with pytest.raises(MissingDataError):
        check_datasets([str(tmp_path / "none.jsonl")])
    with pytest.raises(DataError):
        check_datasets([_write(tmp_path / "b.jsonl", {"x": 1})])


def test_rules_are_sentences_with_a_cure() -> None:
    for trainer in load_trainers().values():
        for code, rule in trainer.rules.items():
            assert rule.code == code
            assert (rule.trainer, rule.effect in EFFECTS) == (trainer.name, True)
            assert rule.says.endswith(".")
            assert rule.cure
            assert not rule.cure.endswith(".")


def test_limits_are_met_by_any_row_a_count_or_a_share(tmp_path: Path) -> None:
    preflight = check_datasets([_write(tmp_path / "a.jsonl", *[FINE] * 9, UNFINISHED)])
    met = ["drops", "drop", "drops>0", "drops>=1", "drops>9%", "drops>=10%", "llamafactory.drops", "crashes, drops"]
    not_met = ["crashes", "drops>1", "drops>10%", "trl.drops", "surprise"]
    assert [len(find_met_limits(preflight, [limit])) for limit in met] == [1] * len(met)
    assert find_met_limits(preflight, not_met) == ()


@pytest.mark.parametrize("limit", ["", "loses", "drops<3", "drops>", "drops>-1", "unsloth.drops", "drops>5%%"])
def test_a_limit_that_cannot_be_read_is_refused(limit: str, tmp_path: Path) -> None:
    preflight = check_datasets([_write(tmp_path / "a.jsonl", FINE)])
    with pytest.raises(ConfigError, match="--fail-on"):
        find_met_limits(preflight, [limit])
