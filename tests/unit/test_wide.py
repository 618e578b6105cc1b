"""The stored wide table says what the relation computes from the other files, and never stands in for another run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import differences
from audit.clean import reference_from_run
from audit.differences import read_differences
from audit.findings import write_findings
from audit.inputs import Inputs
from audit.query import open_connection
from audit.schema import differences_schema
from audit.store import RunStore
from audit.wide import gather_scores, read_gathered, read_sample_ids, write_sample_scores
from tests.fabricated import FakeRecord, FakeTurn, make_run, scored

TRAITS = ("sycophantic", "evil", "very_mean")

_SCORE = st.tuples(
    st.floats(-4, 4, width=32), st.one_of(st.none(), st.floats(-4, 4, width=32))
)  # projection, baseline projection
_TURN = st.builds(
    FakeTurn,
    scores=st.dictionaries(st.sampled_from(TRAITS), _SCORE),
    side=st.sampled_from(["response", "chosen", "rejected"]),
    part=st.sampled_from(["answer", "reasoning"]),
    status=st.sampled_from(["ok", "truncated", "baseline_failed", "empty_response"]),
    n_response_tokens=st.integers(0, 2_000),
)
_RECORD = st.one_of(
    st.builds(
        FakeRecord,
        turns=st.lists(_TURN, max_size=4, unique_by=lambda turn: (turn.side, turn.part)),
        flagged=st.sets(st.sampled_from(TRAITS)).map(sorted),
        cluster_id=st.one_of(st.none(), st.integers(0, 3)),
    ),
    st.just(FakeRecord(reason="bad_json: no JSON", raw=b"{")),
)


def read_wide(run: Path) -> pa.Table:
    with open_connection(run) as connection:
        return connection.sql("SELECT * FROM sample_scores ORDER BY sample_id").to_arrow_table()


def is_stored(run: Path) -> bool:
    with open_connection(run) as connection:
        (statement,) = connection.execute(
            "SELECT sql FROM duckdb_views() WHERE view_name = 'sample_scores'"
        ).fetchone() or ("",)
    return "sample_scores.parquet" in statement


def store_wide(run: Path) -> None:
    """Store the wide table of a run whose flags and clusters were made by hand."""
    store = RunStore(run)
    manifest = store.read_manifest()
    gather_scores(store, manifest, run / "gathered.part")
    ids = read_sample_ids(run / "gathered.part").tolist()
    traits = [vector["trait"] for vector in manifest["vectors"]]
    with open_connection(run) as connection:
        flags = set(connection.execute("SELECT sample_id, trait FROM flags WHERE flagged").fetchall())
        clusters = dict(connection.execute("SELECT sample_id, cluster_id FROM clusters").fetchall())
    write_sample_scores(
        store.sample_scores_path,
        traits,
        read_gathered(run / "gathered.part"),
        flagged_nk=np.asarray([[(i, trait) in flags for trait in traits] for i in ids]).reshape(-1, len(traits)),
        cluster_n=np.asarray([clusters.get(i, -1) for i in ids], dtype=np.int32),
        near_n=np.zeros(len(ids), dtype=bool),
    )


def has_consistent_flags(record: FakeRecord) -> bool:
    """Tell whether the record has rows of `flags` exactly where it has a score, as after a scan."""
    has_score = any(
        baseline is not None
        for turn in record.turns
        for _, baseline in turn.scores.values()
        if turn.part == "answer" and turn.side != "rejected"
    )
    return has_score == bool(record.turns and record.turns[0].scores)


@settings(max_examples=25, deadline=None)
@given(st.lists(_RECORD.filter(has_consistent_flags), min_size=1, max_size=9), st.integers(1, 4))
def test_the_stored_table_equals_what_is_computed(records: list[FakeRecord], part_rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(
            Path(folder) / "a.audit",
            records,
            dataset=Path(folder) / "a.jsonl",
            traits=TRAITS,
            part_rows=part_rows,
        )
        computed = read_wide(run)
        store_wide(run)
        assert is_stored(run)
        stored = read_wide(run)
    assert stored.schema.equals(computed.schema)
    assert stored.to_pylist() == computed.to_pylist()


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run of 300 records whose findings were made by the tool itself."""
    draw = np.random.default_rng(0)
    records = [scored(float(evil), float(evil) / 2) for evil in draw.normal(size=300)]
    records[7] = FakeRecord(reason="bad_json: no JSON", raw=b"{")
    run = make_run(tmp_path / "a.audit", records, dataset=tmp_path / "a.jsonl", is_finished=False, part_rows=90)
    store = RunStore(run)
    manifest = store.read_manifest()
    store.write_manifest({**manifest, "state": "finished"})
    findings = write_findings(store, manifest, Inputs((), 0), reference_from_run(run, seed=0))
    store.write_manifest({**manifest, "counts": manifest["counts"] | findings.counts, "state": "finished"})
    return run


def test_findings_leave_a_wide_table_that_equals_what_is_computed(finished: Path) -> None:
    assert is_stored(finished)
    stored = read_wide(finished)
    (finished / "sample_scores.parquet").unlink()
    assert stored.to_pylist() == read_wide(finished).to_pylist()
    assert 0 < sum(row["flagged"] or False for row in stored.to_pylist()) < 40
    assert not list(finished.glob("*.part"))


def test_flags_made_anew_are_in_the_table(finished: Path) -> None:
    store = RunStore(finished)
    write_findings(store, {**store.read_manifest(), "flagging": {"rule": "absolute:1000"}}, Inputs((), 0), None)
    assert set(read_wide(finished)["flagged"].to_pylist()) == {False, None}


def test_findings_that_break_off_leave_no_table_of_the_time_before(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("audit.findings.write_groups", stop)
    store = RunStore(finished)
    with pytest.raises(KeyboardInterrupt):
        write_findings(store, {**store.read_manifest(), "flagging": {"rule": "absolute:1000"}}, Inputs((), 0), None)
    assert not is_stored(finished)
    assert set(read_wide(finished)["flagged"].to_pylist()) == {False, None}
    assert not list(finished.glob("*.part"))


def _cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _drop_rows(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(0, 200), path)


def _rename_column(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.rename_columns(["kind" if name == "evil" else name for name in table.column_names]), path)


@pytest.mark.parametrize("damage", [Path.unlink, _cut_in_half, _drop_rows, _rename_column])
def test_a_damaged_table_is_passed_over(finished: Path, damage: Callable[[Path], None]) -> None:
    before = read_wide(finished)
    damage(finished / "sample_scores.parquet")
    assert not is_stored(finished)
    assert read_wide(finished).to_pylist() == before.to_pylist()


def test_a_sample_has_the_mean_difference_of_the_answers_it_is_trained_towards(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a.audit", [scored(0.1)] * 3, dataset=tmp_path / "a.jsonl", is_finished=False)
    rows = [
        (0, "chosen", 1, "answer", 1.0),
        (0, "chosen", 3, "answer", 2.0),
        (0, "chosen", 3, "reasoning", 50.0),
        (0, "rejected", 3, "answer", 50.0),
        (2, "response", 1, "answer", 5.0),
    ]
    columns = zip(*rows, strict=True)
    table = {name: list(column) for name, column in zip(differences_schema(64).names, columns, strict=True)}
    table["difference"] = [np.full(64, value, np.float16) for value in table["difference"]]
    store = RunStore(run)
    (part,) = store.parts()
    pq.write_table(pa.table(table, schema=differences_schema(64)), store.table_path("differences", part))
    (block,) = read_differences(store)
    assert block.tolist() == [[1.5] * 64, [5.0] * 64]


def test_differences_of_many_parts_come_in_order_in_larger_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differences, "_BLOCK_ROWS", 4)
    run = make_run(tmp_path / "a.audit", [scored(0.1)] * 8, dataset=tmp_path / "a.jsonl", is_finished=False)
    store = RunStore(run)
    for part in store.parts():
        ids = list(range(part.start, part.stop))
        vectors = [np.full(64, i, np.float16) for i in ids]
        keys = {"side": ["response"] * len(ids), "turn": [1] * len(ids), "part": ["answer"] * len(ids)}
        table = pa.table({"sample_id": ids, **keys, "difference": vectors}, schema=differences_schema(64))
        pq.write_table(table, store.table_path("differences", part))
    assert [block[:, 0].tolist() for block in read_differences(store)] == [[0, 1, 2, 3, 4, 5], [6, 7]]
    assert differences.read_difference_ids(store).tolist() == list(range(8))
