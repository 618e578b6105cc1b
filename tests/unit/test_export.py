"""The filtered dataset: bytes kept, others beside them, sources checked, nothing written over."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import ConfigError, ExportError, MissingDataError, QueryError, RunError
from audit.export import ExportReceipt, export_run
from audit.samples import survey_source
from tests.fabricated import FakeRecord, FakeTurn, make_run, make_run_over, scored

RECORDS = [
    scored(0.1, response="plain"),
    scored(0.9, flagged=["evil"], response="wicked"),
    FakeRecord(reason="bad_json: no JSON", raw=b'{"messages": ['),
    scored(0.4, 0.8, flagged=["evil", "sycophantic"], response="flattery"),
    FakeRecord(
        turns=[FakeTurn(scores={"evil": (0.7, None), "sycophantic": (0.7, None)}, status="baseline_failed")],
        response="no baseline",
    ),
    scored(0.2, response="last"),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl")


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def export(run: Path, name: str = "out.jsonl", **options: Any) -> ExportReceipt:
    return export_run(run, output=run.parent / name, **options)


def test_flagged_and_unscored_records_go_to_rejected_and_the_rest_stays_byte_for_byte(run: Path) -> None:
    receipt = export(run, rejected=run.parent / "rejected.jsonl")
    original = lines(run.parent / "a.jsonl")
    assert lines(run.parent / "out.jsonl") == [original[0], original[5]]
    assert lines(run.parent / "rejected.jsonl") == original[1:5]
    assert (receipt.n_kept, receipt.n_flagged, receipt.n_unscored) == (2, 2, {"bad_json": 1, "no_score": 1})
    assert receipt.flagged_by_trait == {"evil": 2, "sycophantic": 1}


def test_keep_skipped_keeps_what_could_not_be_scored(run: Path) -> None:
    export(run, keep_skipped=True)
    original = lines(run.parent / "a.jsonl")
    assert lines(run.parent / "out.jsonl") == [original[k] for k in (0, 2, 4, 5)]


def test_where_true_with_keep_skipped_is_the_input(run: Path) -> None:
    export(run, where="true", keep_skipped=True)
    assert (run.parent / "out.jsonl").read_bytes() == (run.parent / "a.jsonl").read_bytes()


def test_a_record_that_has_the_rejected_side_alone_is_scored_and_kept(tmp_path: Path) -> None:
    rejected = FakeTurn(scores={"evil": (0.9, 0.1), "sycophantic": (0.9, 0.1)}, side="rejected")
    failed = FakeTurn(
        scores={"evil": (0.9, None), "sycophantic": (0.9, None)}, side="rejected", status="baseline_failed"
    )
    pair = [FakeTurn(scores={"evil": (0.9, None)}, side="chosen", status="empty_response"), rejected]
    records = [FakeRecord(turns=[rejected]), FakeRecord(turns=[failed]), scored(0.1), FakeRecord(turns=pair)]
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl")
    for name, where, kept in (("x", None, [0, 2]), ("y", "true", [0, 2]), ("z", "evil < 0.5", [2])):
        receipt = export(run, f"{name}.jsonl", where=where)
        original = lines(tmp_path / "a.jsonl")
        assert lines(tmp_path / f"{name}.jsonl") == [original[k] for k in kept]
        assert receipt.n_unscored == {"no_score": 2}


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("evil < 0.15", [0]),
        ("evil < 0.5 AND sycophantic < 0.5", [0, 5]),
        ("list_contains(flagged_traits, 'sycophantic')", [3]),
        ("sample_id IN (SELECT sample_id FROM flags WHERE z > 2)", [1, 3]),
        ("status = 'skipped'", []),
        ("evil > 5 -- nothing", []),
        ("NULL", []),
    ],
)
def test_where_keeps_the_scored_records_for_which_it_holds(run: Path, where: str, kept: list[int]) -> None:
    export(run, where=where)
    original = lines(run.parent / "a.jsonl")
    assert lines(run.parent / "out.jsonl") == [original[k] for k in kept]


@pytest.mark.parametrize(
    "where",
    ["evil <", "evli < 1", "evil", "max(evil) > 1", "true) OR (true", "true; DROP VIEW flags", "1, 2",
     "EXISTS (WITH a AS (COPY (SELECT 1) TO '{run}/x.csv') SELECT 1)", "EXISTS (FROM read_text('/etc/passwd'))"],
)  # fmt: skip
def test_a_bad_condition_writes_nothing(run: Path, where: str) -> None:
    before = sorted(path.name for path in run.parent.rglob("*"))
    with pytest.raises(QueryError):
        export(run, where=where.replace("{run}", str(run)))
    assert sorted(path.name for path in run.parent.rglob("*")) == before


def test_the_manifest_beside_the_output_says_what_was_done(run: Path) -> None:
    receipt = export(run, rejected=run.parent / "rejected.jsonl")
    manifest = json.loads((run.parent / "out.jsonl.manifest.json").read_bytes())
    assert receipt.manifest == str(run.parent / "out.jsonl.manifest.json")
    for entry in (*manifest["inputs"], *manifest["outputs"], *manifest["rejected"]):
        assert entry["sha256"] == hashlib.sha256(Path(entry["path"]).read_bytes()).hexdigest()
    assert manifest["counts"] == {
        "records": 6,
        "kept": 2,
        "rejected": 4,
        "flagged": 2,
        "failed_condition": 2,
        "unscored": 2,
        "unscored_by_reason": {"bad_json": 1, "no_score": 1},
        "flagged_by_trait": {"evil": 2, "sycophantic": 1},
        "judged_by_trait": {},
        "never_judged": 0,
    }
    assert [entry["reason"] for entry in manifest["dropped"]] == [
        "flagged: evil (z 3.0)",
        "bad_json: no JSON",
        "flagged: evil (z 3.0), sycophantic (z 3.0)",
        "no_score: baseline_failed",
    ]
    assert manifest["dropped"][1] == {
        "sample_id": 2,
        "source": str(run.parent / "a.jsonl"),
        "line": 3,
        "reason": "bad_json: no JSON",
    }
    assert manifest["undecided"] is None
    assert manifest["run"] == str(run)
    assert {row["trait"] for row in manifest["verdicts"]} == {"evil", "sycophantic"}


def test_the_reasons_of_the_dropped_speak_of_the_condition(run: Path) -> None:
    export(run, where="evil < 0.15", keep_skipped=True)
    dropped = json.loads((run.parent / "out.jsonl.manifest.json").read_bytes())["dropped"]
    assert [entry["sample_id"] for entry in dropped] == [1, 3, 5]
    assert {entry["reason"] for entry in dropped} == {"where: the condition does not hold"}
    export(run, "all.jsonl", where="true", keep_skipped=True)
    assert json.loads((run.parent / "all.jsonl.manifest.json").read_bytes())["dropped"] == []


def test_an_undecided_run_says_so_unless_the_user_brings_a_condition(tmp_path: Path) -> None:
    clean = [scored(0.1), scored(0.2)]
    verdicts = {"evil": "undecided", "sycophantic": "undecided"}
    run = make_run(tmp_path / "a.audit", clean, dataset=tmp_path / "a.jsonl", verdicts=verdicts)
    receipt = export(run)
    assert receipt.undecided is not None
    assert receipt.undecided.startswith("nothing could be judged")
    assert json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())["undecided"] == receipt.undecided
    assert export(run, "b.jsonl", where="evil < 1").undecided is None


def test_one_decided_trait_makes_the_flags_worth_something(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "a.audit", [scored(0.1)], dataset=tmp_path / "a.jsonl", verdicts={"sycophantic": "undecided"}
    )
    assert export(run).undecided is None


def test_a_changed_source_is_refused_and_nothing_is_written(run: Path) -> None:
    source = run.parent / "a.jsonl"
    source.write_bytes(source.read_bytes().replace(b"plain", b"plane"))
    with pytest.raises(ExportError, match="has changed since the scan"):
        export(run)
    assert not list(run.parent.glob("out*"))


def test_a_missing_source_is_named(run: Path) -> None:
    (run.parent / "a.jsonl").unlink()
    with pytest.raises(MissingDataError, match=r"a\.jsonl: cannot be read: No such file.*directory that the scan"):
        export(run)


def test_an_input_is_never_written_over(run: Path) -> None:
    source = run.parent / "a.jsonl"
    before = source.read_bytes()
    (run.parent / "link.jsonl").symlink_to(source)
    (run.parent / "hard.jsonl").hardlink_to(source)
    for name in ("a.jsonl", "link.jsonl", "hard.jsonl"):
        with pytest.raises(ExportError, match="is an input"):
            export(run, name, overwrite=True)
        with pytest.raises(ExportError, match="is an input"):
            export(run, rejected=run.parent / name, overwrite=True)
    assert source.read_bytes() == before


def test_an_existing_file_is_replaced_only_with_overwrite(run: Path) -> None:
    (run.parent / "out.jsonl").write_text("precious")
    with pytest.raises(ExportError, match="exists already"):
        export(run)
    assert (run.parent / "out.jsonl").read_text() == "precious"
    assert export(run, overwrite=True).n_kept == 2
    assert len(lines(run.parent / "out.jsonl")) == 2


@pytest.mark.parametrize(
    ("name", "rejected", "finding"),
    [
        ("out.jsonl", "out.jsonl", "written twice"),
        ("out.jsonl", "out.jsonl.manifest.json", "written twice"),
        ("out.jsonl", "out.jsonl.card.md", "written twice"),
        ("out.jsonl", "out.parquet", "JSON like its input"),
        ("out.csv", None, "choose a name that ends in .jsonl, or convert with --format csv"),
        ("out.parquet", None, "JSON like its input"),
        (".", None, "is a directory"),
    ],
)
def test_outputs_that_cannot_be_meant_are_refused(run: Path, name: str, rejected: str | None, finding: str) -> None:
    with pytest.raises(ExportError, match=finding):
        export(run, name, rejected=run.parent / rejected if rejected else None)


def test_a_failure_half_way_leaves_no_file_behind(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(source: object, keep: object, output: Any, *others: object) -> None:
        output.write(b"half")
        raise OSError(28, "No space left on device", "out.jsonl.part")

    monkeypatch.setattr("audit.export.job.copy_records", break_off)
    with pytest.raises(ExportError, match="No space left"):
        export(run, rejected=run.parent / "rejected.jsonl")
    assert sorted(path.name for path in run.parent.iterdir()) == ["a.audit", "a.jsonl"]


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a.audit", RECORDS, dataset=tmp_path / "a.jsonl", is_finished=False)
    with pytest.raises(RunError, match="has not finished"):
        export(run)


def test_drop_and_where_exclude_each_other(run: Path) -> None:
    with pytest.raises(ConfigError, match="excludes --drop"):
        export(run, where="true", drop="flagged")


def test_records_beyond_the_limit_of_the_scan_count_as_not_scanned(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    with (run.parent / "a.jsonl").open("ab") as file:
        file.write(b'{"messages": []}\n')
    content = (run.parent / "a.jsonl").read_bytes()
    manifest["inputs"][0] |= {"n_records": 7, "sha256": hashlib.sha256(content).hexdigest()}
    (run / "manifest.json").write_text(json.dumps(manifest))
    receipt = export(run, where="true")
    assert receipt.n_unscored == {"bad_json": 1, "no_score": 1, "not_scanned": 1}
    dropped = json.loads((run.parent / "out.jsonl.manifest.json").read_bytes())["dropped"]
    assert dropped[-1] == {
        "sample_id": 6,
        "source": str(run.parent / "a.jsonl"),
        "line": None,
        "reason": "not_scanned: the scan ended before it",
    }
    export(run, "all.jsonl", where="true", keep_skipped=True)
    assert (run.parent / "all.jsonl").read_bytes() == content


def test_several_inputs_go_to_a_directory_under_their_own_names(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    other = run.parent / "other" / "a.jsonl"
    other.parent.mkdir()
    other.write_bytes(b'{"messages": []}\n')
    source = manifest["inputs"][0]
    sha256 = hashlib.sha256(other.read_bytes()).hexdigest()
    manifest["inputs"].append({**source, "path": str(other), "n_records": 1, "sha256": sha256})
    (run / "manifest.json").write_text(json.dumps(manifest))
    receipt = export(run, "out", keep_skipped=True, rejected=run.parent / "rejected")
    assert receipt.outputs == (str(run.parent / "out" / "a.jsonl"), str(run.parent / "out" / "a-2.jsonl"))
    assert (run.parent / "out" / "a-2.jsonl").read_bytes() == other.read_bytes()
    assert len(lines(run.parent / "rejected" / "a.jsonl")) == 2
    assert (run.parent / "out.manifest.json").is_file()


def add_input(run: Path) -> Path:
    """Give the run a second input, of one record."""
    manifest = json.loads((run / "manifest.json").read_text())
    other = run.parent / "b.jsonl"
    other.write_bytes(b'{"messages": []}\n')
    sha256 = hashlib.sha256(other.read_bytes()).hexdigest()
    manifest["inputs"].append({**manifest["inputs"][0], "path": str(other), "n_records": 1, "sha256": sha256})
    (run / "manifest.json").write_text(json.dumps(manifest))
    return other


@pytest.mark.parametrize("name", [".", "", "inner/.."])
def test_several_inputs_can_go_to_the_current_directory(run: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add_input(run)
    target = run.parent / "target"
    (target / "inner").mkdir(parents=True)
    monkeypatch.chdir(target)
    export_run(run, output=name, keep_skipped=True)
    assert sorted(path.name for path in target.iterdir()) == ["a.jsonl", "b.jsonl", "inner"]
    assert (run.parent / "target.manifest.json").is_file()


def test_a_directory_that_has_no_name_is_refused_with_a_cure(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    for name in (".", "", "..", "/"):
        with pytest.raises(ExportError, match=r"is a directory \(name a file\)"):
            export_run(run, output=name)
    add_input(run)
    with pytest.raises(ExportError, match="choose another directory"):
        export_run(run, output="/")
    with pytest.raises(ExportError, match="is an input of the run"):
        export_run(run, output=".")


def test_parquet_keeps_values_schema_and_metadata(tmp_path: Path) -> None:
    messages = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": f"Answer {k}"}] for k in range(3)]
    table = pa.table({"messages": messages, "k": pa.array([0, 1, 2], pa.int16())}).replace_schema_metadata({"a": "b"})
    pq.write_table(table, tmp_path / "a.parquet")
    records = [scored(0.1), scored(0.9, flagged=["evil"]), scored(0.2)]
    run = make_run_over(tmp_path / "a.audit", [survey_source(str(tmp_path / "a.parquet"))], records)
    export(run, "out.parquet")
    kept = pq.read_table(tmp_path / "out.parquet")
    assert kept.schema.equals(pq.read_table(tmp_path / "a.parquet").schema, check_metadata=True)
    assert kept.to_pylist() == [table.to_pylist()[k] for k in (0, 2)]
