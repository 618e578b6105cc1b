"""`annotate`: one field more in every record, the same keys everywhere, every other byte as it was."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.errors import ExportError
from audit.export import export_run
from audit.samples import survey_source
from tests.datasets import chat
from tests.fabricated import FakeRecord, FakeTurn, make_run_over, scored

KEYS = ["sample_id", "status", "reason", "score_kind", "flagged", "flagged_traits", "scores"]
FAILED = FakeTurn(scores={"evil": (0.7, None), "sycophantic": (0.7, None)}, status="baseline_failed")
RECORDS = [
    scored(0.1, 0.2),
    scored(0.9, flagged=["evil"]),
    FakeRecord(reason="bad_json: no JSON"),
    FakeRecord(reason="no_shape: found 'x'"),
    FakeRecord(turns=[FAILED]),
]


def annotate(path: Path, output: Path, records: list[FakeRecord] | None = None, **options: Any) -> Any:
    source = survey_source(str(path))
    run = make_run_over(output.parent / f"{output.name}.audit", [source], records)
    return export_run(run, output=output, annotate=True, **{"where": "true", "keep_skipped": True} | options)


LINES = [
    '{"messages": [{"role": "user", "content": "✓😀"}, {"role": "assistant", "content": "a}"}]  }  ',
    ' {"messages":[{"role":"user","content":"b"},{"role":"assistant","content":"\\u2713"}]}',
    '{"messages": [',
    '{"x": NaN}\t',
    "{ }",
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_field_stands_before_the_closing_brace_and_nothing_else_changes(
    tmp_path: Path, encoding: str, ending: str
) -> None:
    mark = "" if encoding == "utf-8" else "\ufeff"
    codec = encoding.removesuffix("-sig")
    (tmp_path / "a.jsonl").write_bytes((mark + ending.join(LINES)).encode(codec))
    receipt = annotate(tmp_path / "a.jsonl", tmp_path / "out.jsonl", RECORDS)
    assert (receipt.is_annotated, receipt.n_unannotated) == (True, 1)
    annotated = (tmp_path / "out.jsonl").read_bytes().decode(codec).removeprefix(mark).split(ending)
    values = []
    for line, original in zip(annotated, LINES, strict=True):
        if original == LINES[2]:
            assert line == original
            continue
        values.append(json.loads(line)["persona_audit"])
        comma = "" if original == "{ }" else ", "
        assert line.replace(f'{comma}"persona_audit": {json.dumps(values[-1])}', "") == original
    assert [list(value) for value in values] == [KEYS] * 4
    assert values[0] == {
        "sample_id": 0,
        "status": "ok",
        "reason": None,
        "score_kind": "difference",
        "flagged": False,
        "flagged_traits": [],
        "scores": {"evil": 0.1, "sycophantic": 0.2},
    }
    assert values[1]["flagged_traits"] == ["evil"]
    assert (values[2]["status"], values[2]["reason"]) == ("skipped", "no_shape: found 'x'")
    assert values[2]["scores"] == values[3]["scores"] == {"evil": None, "sycophantic": None}
    assert (values[3]["status"], values[3]["reason"]) == ("ok", "baseline_failed")


def test_elements_of_arrays_and_single_objects_are_annotated(tmp_path: Path) -> None:
    text = json.dumps([chat("a", "b"), chat("c", "d")], indent=2)
    (tmp_path / "a.json").write_text(text)
    annotate(tmp_path / "a.json", tmp_path / "out.json")
    loaded = json.loads((tmp_path / "out.json").read_text())
    assert [record.pop("persona_audit")["sample_id"] for record in loaded] == [0, 1]
    assert loaded == json.loads(text)
    (tmp_path / "b.json").write_text(json.dumps(chat("a", "b"), indent=2))
    annotate(tmp_path / "b.json", tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text())["persona_audit"]["status"] == "ok"


def test_kept_and_rejected_records_are_annotated(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(LINES))
    annotate(tmp_path / "a.jsonl", tmp_path / "out.jsonl", RECORDS, where=None, rejected=tmp_path / "rejected.jsonl")
    for name, ids in (("out", [0, None, 3, 4]), ("rejected", [1])):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        assert [json.loads(line)["persona_audit"]["sample_id"] if "persona" in line else None for line in lines] == ids


def test_csv_gets_a_last_column_in_its_own_quoting(tmp_path: Path) -> None:
    text = '"prompt";"completion"\r\n"a;b";"c ""d"""\r\n\r\nragged\r\n"e";f'
    (tmp_path / "a.csv").write_text(text, newline="")
    records = [scored(0.1), FakeRecord(reason="bad_csv: 1 cells, the header has 2"), scored(0.2)]
    receipt = annotate(tmp_path / "a.csv", tmp_path / "out.csv", records)
    assert receipt.n_unannotated == 1
    written = (tmp_path / "out.csv").read_bytes().decode()
    assert written.startswith('"prompt";"completion";"persona_audit"\r\n"a;b";"c ""d""";"{""sample_id"": 0')
    rows = list(csv.reader(io.StringIO(written, newline=""), delimiter=";"))
    assert [row[:2] for row in rows] == [["prompt", "completion"], ["a;b", 'c "d"'], [], ["ragged"], ["e", "f"]]
    assert [json.loads(rows[n][2])["sample_id"] for n in (1, 4)] == [0, 2]


def features() -> datasets.Features:
    message = {"role": datasets.Value("string"), "content": datasets.Value("string")}
    return datasets.Features({"messages": datasets.List(message), "label": datasets.ClassLabel(names=["bad", "good"])})


def test_tables_get_a_struct_column_that_datasets_knows(tmp_path: Path) -> None:
    records = [{**chat("Hi", f"Answer {k}"), "label": k % 2} for k in range(3)]
    dataset = datasets.Dataset.from_list(records, features=features())
    dataset.to_parquet(str(tmp_path / "a.parquet"))
    dataset.save_to_disk(str(tmp_path / "saved"))
    runs = [scored(0.1), FakeRecord(reason="no_shape: x"), scored(0.3)]
    annotate(tmp_path / "a.parquet", tmp_path / "out.parquet", runs)
    annotate(tmp_path / "saved", tmp_path / "out", runs)
    table = pq.read_table(tmp_path / "out.parquet")
    original = pq.read_table(tmp_path / "a.parquet")
    assert table.drop_columns("persona_audit").equals(original)
    column = table["persona_audit"].to_pylist()
    assert [list(value) for value in column] == [KEYS] * 3
    assert column[1]["scores"] == {"evil": None, "sycophantic": None}
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert loaded.features["label"] == features()["label"]
    assert loaded.features == datasets.Features.from_arrow_schema(table.schema)
    assert loaded[2]["persona_audit"]["scores"]["evil"] == pytest.approx(0.3)


def test_a_table_without_features_keeps_its_other_metadata(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["a"], "completion": ["b"]}).replace_schema_metadata({"origin": "a test"})
    pq.write_table(table, tmp_path / "a.parquet")
    annotate(tmp_path / "a.parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").schema.metadata == {b"origin": b"a test"}


@pytest.mark.parametrize("container", ["jsonl", "csv", "parquet", "json"])
def test_a_field_of_that_name_is_not_written_over(tmp_path: Path, container: str) -> None:
    record = {"prompt": "a", "completion": "b", "persona_audit": "mine"}
    path = tmp_path / f"a.{container}"
    if container == "parquet":
        pq.write_table(pa.Table.from_pylist([record]), path)
    elif container == "csv":
        path.write_text(",".join(record) + "\n" + ",".join(record.values()))
    else:
        path.write_text(json.dumps([record] if container == "json" else record))
    for formats in ([], ["jsonl" if container == "json" else "json"]):
        output = tmp_path / f"out.{formats[0] if formats else container}"
        with pytest.raises(
            ExportError, match=r"has a field 'persona_audit' already \(export without --annotate, or rename"
        ):
            annotate(path, output, formats=formats)
        assert not output.exists()


def test_records_beyond_the_scan_say_so(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(chat("a", "b")) + "\n" for _ in range(2)))
    source = survey_source(str(tmp_path / "a.jsonl"))
    run = make_run_over(tmp_path / "a.audit", [source])
    part = next((run / "samples").iterdir())
    pq.write_table(pq.read_table(part).slice(0, 1), part)
    export_run(run, output=tmp_path / "out.jsonl", annotate=True, keep_skipped=True)
    last = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[1])["persona_audit"]
    assert list(last) == KEYS
    assert (last["status"], last["scores"]["evil"]) == ("not_scanned", None)
