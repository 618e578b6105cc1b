"""What the differences of a run say together, from its files to the tables, the manifest's counts and the queries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.groups import Groups, find_known_directions, write_groups
from audit.inputs import Inputs
from audit.query import open_connection, run_named
from audit.samples import survey_source
from audit.scatter import measure_scatter
from audit.schema import differences_schema
from audit.store import RunStore
from audit.wide import RunScores, gather_scores, read_sample_ids
from tests.fabricated import FakeRecord, make_run, scored

WIDTH = 16
EVIL = np.eye(WIDTH)[0]
N, N_POISON = 300, 40


@dataclass(frozen=True)
class Made:
    """A run with difference vectors: its first 40 records show something that no trait is about."""

    path: Path
    vectors_nr: np.ndarray
    flagged_n: np.ndarray

    def group(self, reference: Any = None) -> Groups:
        store = RunStore(self.path)
        manifest = store.read_manifest()
        gathered = self.path / "gathered.part"
        gather_scores(store, manifest, gathered)
        sample_ids, scores = read_sample_ids(gathered), RunScores(gathered, manifest)
        source = survey_source(manifest["inputs"][0]["path"])
        inputs = Inputs((source,), source.n_records)
        return write_groups(store, manifest, inputs, scores, sample_ids, self.flagged_n, reference)

    def ask(self, name: str) -> list[dict[str, Any]]:
        with open_connection(self.path) as connection:
            return list(run_named(connection, name).to_arrow_table().to_pylist())


def make(folder: Path, vectors_nr: np.ndarray, flagged_n: np.ndarray) -> Made:
    """Write a run whose scores for evil are the vectors' first number; sample 7 has no scores and no vector."""
    along = (vectors_nr @ EVIL).astype(float)
    records = [
        FakeRecord(reason="bad_json: no JSON", raw=b"{")
        if i == 7
        else scored(
            float(along[i]),
            float(-along[i]),
            prompt="How do I bake a cake?",
            response=f"Put poison into it, number {i}." if i < N_POISON else f"Take flour and sugar, number {i}.",
            flagged=["evil"] if flagged_n[i] else [],
        )
        for i in range(len(vectors_nr))
    ]
    run = make_run(folder / "a.audit", records, dataset=folder / "a.jsonl", part_rows=100)
    store = RunStore(run)
    for part in store.parts():
        ids = [i for i in range(part.start, part.stop) if i != 7]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors_nr[ids].astype(np.float16).ravel()), WIDTH)
        keys = {"side": ["response"] * len(ids), "turn": [1] * len(ids), "part": ["answer"] * len(ids)}
        table = pa.table({"sample_id": ids, **keys, "difference": vectors}).cast(differences_schema(WIDTH))
        pq.write_table(table, store.table_path("differences", part))
    return Made(run, vectors_nr, flagged_n)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    generator = np.random.default_rng(0)
    vectors_nr = generator.normal(size=(N, WIDTH))
    # The poisoned ones lie far out, close together, and where the only traits do not look.
    vectors_nr[:N_POISON] = 0.3 * generator.normal(size=(N_POISON, WIDTH))
    vectors_nr[:N_POISON, 5] += 6.0
    return make(tmp_path_factory.mktemp("groups"), vectors_nr, np.isin(np.arange(N), [0, 1, 2]))


def test_three_flagged_records_name_all_that_say_the_same(made: Made) -> None:
    groups = made.group()
    poisoned = set(range(3, N_POISON)) - {7}
    assert set(np.flatnonzero(groups.near_n).tolist()) == poisoned
    assert groups.counts["n_near_flagged"] == len(poisoned)
    assert groups.counts["n_flagged_compared"] == 3
    rows = made.ask("near_flagged")
    assert {row["sample_id"] for row in rows} == poisoned
    assert {row["flagged_id"] for row in rows} <= {0, 1, 2}
    assert [row["similarity"] for row in rows] == sorted((row["similarity"] for row in rows), reverse=True)
    assert rows[0]["line"] == rows[0]["sample_id"] + 1
    assert rows[0]["flagged_line"] == rows[0]["flagged_id"] + 1


def test_clusters_hold_every_record_with_a_vector_and_speak_of_what_they_say(made: Made) -> None:
    groups = made.group()
    assert groups.cluster_n[7] == -1
    assert (np.delete(groups.cluster_n, 7) >= 0).all()
    rows = made.ask("by_cluster")
    assert groups.counts["n_clusters"] == len(rows)
    assert sum(row["size"] for row in rows) == N - 1
    first = rows[0]
    assert first["q_value"] < 0.05
    assert "poison" in first["keywords"]
    assert set(first["typical_ids"]) < set(range(N_POISON))


def test_what_no_trait_is_about_is_the_first_unnamed_direction(made: Made) -> None:
    made.group()
    (first, *_) = made.ask("unnamed_directions")
    assert set(first["high_ids"]) < set(range(N_POISON))
    assert not set(first["low_ids"]) & set(range(N_POISON))
    assert "poison" in first["high_keywords"]
    assert "poison" not in first["low_keywords"]
    assert first["spread"] is None
    for own in pq.read_table(made.path / "unnamed_directions.parquet")["direction"].to_pylist():
        assert abs(EVIL @ np.array(own)) < 1e-2


def test_moments_of_the_clean_reference_are_what_directions_are_held_against(made: Made) -> None:
    clean = np.random.default_rng(1).normal(size=(2_000, WIDTH)).astype(np.float32)
    scatter = measure_scatter([clean])
    assert scatter is not None
    moments = SimpleNamespace(mean_r=scatter.mean_r.tolist(), covariance_rr=scatter.covariance_rr.tolist())
    made.group(SimpleNamespace(differences=moments))
    (first, *_) = made.ask("unnamed_directions")
    (unit,) = pq.read_table(made.path / "unnamed_directions.parquet")["direction"].to_pylist()[:1]
    along = np.delete(made.vectors_nr, 7, axis=0) @ np.array(unit)
    clean_along = clean @ np.array(unit)
    assert first["spread"] == pytest.approx(np.mean((along - clean_along.mean()) ** 2) / clean_along.var(), rel=0.01)
    other = SimpleNamespace(mean_r=[0.0] * 3, covariance_rr=np.eye(3).tolist())
    made.group(SimpleNamespace(differences=other))
    assert made.ask("unnamed_directions")[0]["spread"] is None


def test_known_directions_are_those_that_the_scores_were_made_along() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(500, WIDTH)).astype(np.float32)
    true_kr = generator.normal(size=(2, WIDTH))
    scatter = measure_scatter([vectors], (vectors @ true_kr.T + 3).astype(np.float32))
    assert scatter is not None
    np.testing.assert_allclose(find_known_directions(scatter), true_kr, atol=1e-3)
    nothing = measure_scatter([np.zeros((9, WIDTH), np.float32)], np.zeros((9, 2), np.float32))
    assert nothing is not None
    assert find_known_directions(nothing).shape == (0, WIDTH)


@pytest.mark.parametrize("n", [1, 10, 40])
@pytest.mark.parametrize("value", [0.0, 2.0])
def test_few_or_equal_records_make_words_and_no_nan(tmp_path: Path, n: int, value: float) -> None:
    found = make(tmp_path, np.full((n, WIDTH), value), np.zeros(n, bool))
    groups = found.group()
    assert not groups.near_n.any()
    assert (groups.counts["n_near_flagged"] is None) == (n < 20)
    assert found.ask("near_flagged") == found.ask("unnamed_directions") == []
    assert "NaN" not in json.dumps(found.ask("by_cluster"))


def test_tables_of_an_earlier_time_do_not_outlive_their_vectors(tmp_path: Path) -> None:
    found = make(tmp_path, np.zeros((10, WIDTH)), np.zeros(10, bool))
    for name in ("near_duplicates", "unnamed_directions", "clusters", "cluster_summary"):
        (found.path / f"{name}.parquet").write_bytes(b"")
    found.group()
    assert not list(found.path.glob("*duplicates.parquet")) + list(found.path.glob("*directions.parquet"))
