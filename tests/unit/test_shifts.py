"""The band of random directions: what it is, what it grows with, and its measurement over parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit import shifts
from audit.schema import differences_schema
from audit.shifts import DifferenceMoments, find_random_bands, measure_moments, random_shift_band
from audit.store import RunStore
from tests.fabricated import FakeRecord, make_run, scored


def moments(values_nr: np.ndarray) -> DifferenceMoments:
    return DifferenceMoments(values_nr.mean(axis=0), np.cov(values_nr, rowvar=False), len(values_nr))


def test_the_band_is_the_quantile_of_d_along_seeded_directions() -> None:
    draw = np.random.default_rng(0)
    spread = np.linspace(0.2, 3.0, 12)
    clean, own = draw.normal(size=(400, 12)) * spread, draw.normal(size=(150, 12)) * spread + 0.3
    found = random_shift_band(moments(own), moments(clean), seed=5)
    # The definition, of many other directions: Cohen's d of the projections themselves.
    d = []
    for _ in range(4_000):
        direction = draw.normal(size=12)
        a, b = own @ direction, clean @ direction
        pooled = np.sqrt((149 * a.var(ddof=1) + 399 * b.var(ddof=1)) / 548)
        d.append((a.mean() - b.mean()) / pooled)
    # The quantile of 200 directions is known to some seven percent.
    assert found == pytest.approx(np.quantile(np.abs(d), 0.95), rel=0.2)
    assert found == random_shift_band(moments(own), moments(clean), seed=5)


def test_without_a_shift_the_band_is_what_noise_gives() -> None:
    draw = np.random.default_rng(1)
    clean = moments(draw.normal(size=(5_000, 64)))
    found = [random_shift_band(moments(draw.normal(size=(500, 64))), clean, seed=0) for _ in range(20)]
    assert np.mean(found) == pytest.approx(1.96 * np.sqrt(1 / 500 + 1 / 5_000), rel=0.1)


def test_there_is_no_band_where_spaces_differ_nothing_varies_or_rows_are_few() -> None:
    draw = np.random.default_rng(2)
    clean = moments(draw.normal(size=(100, 8)))
    assert random_shift_band(moments(draw.normal(size=(100, 9))), clean, seed=0) is None
    assert random_shift_band(moments(draw.normal(size=(19, 8))), clean, seed=0) is None
    same = moments(np.ones((100, 8)))
    assert random_shift_band(same, same, seed=0) is None


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunStore, np.ndarray]:
    """Return a run of 90 records with stored differences of two answers each, and the records' means [n, 4]."""
    n = 90
    path = make_run(tmp_path / "a.audit", [scored(0.1)] * n, dataset=tmp_path / "a.jsonl", part_rows=7)
    store = RunStore(path)
    vectors = np.random.default_rng(3).normal(size=(n, 2, 4)).astype(np.float16)
    for part in store.parts():
        rows = [
            {"sample_id": i, "side": side, "turn": turn, "part": kind, "difference": list(vector)}
            for i in range(part.start, part.stop)
            for side, turn, kind, vector in (
                ("response", 1, "answer", vectors[i, 0]),
                ("response", 3, "answer", vectors[i, 1]),
                ("response", 3, "reasoning", np.full(4, 99, np.float16)),
                ("rejected", 3, "answer", np.full(4, 99, np.float16)),
            )
        ]
        table = pa.Table.from_pylist(rows, schema=differences_schema(4))
        pq.write_table(table, store.table_path("differences", part))
    return store, vectors.astype(np.float64).mean(axis=1)


def test_moments_are_those_of_each_groups_records_over_answers_trained_towards(
    run: tuple[RunStore, np.ndarray],
) -> None:
    store, mean_nr = run
    group_n = np.arange(90) % 3 - 1
    found = measure_moments(store, np.arange(90), group_n, 3, seed=0)
    assert found[2] is None
    for group in (0, 1):
        own, each = mean_nr[group_n == group], found[group]
        assert each is not None
        assert each.n == 30
        np.testing.assert_allclose(each.mean_r, own.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(each.covariance_rr, np.cov(own, rowvar=False), rtol=1e-6, atol=1e-12)


def test_of_a_large_group_a_seeded_part_is_measured_and_all_of_a_small_one(
    run: tuple[RunStore, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = run
    monkeypatch.setattr(shifts, "MAX_MEASURED", 60)
    group_n = np.where(np.arange(90) < 22, 1, 0)
    first, again = (measure_moments(store, np.arange(90), group_n, 2, seed=0) for _ in range(2))
    assert first[0] is not None
    assert first[1] is not None
    assert again[0] is not None
    assert 20 <= first[0].n <= 45
    assert first[1].n == 22
    np.testing.assert_array_equal(first[0].mean_r, again[0].mean_r)


def test_a_run_without_difference_vectors_has_no_band(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a.audit", [scored(0.1)] * 30, dataset=tmp_path / "a.jsonl")
    assert measure_moments(RunStore(run), np.arange(30), np.zeros(30, np.int64), 1, seed=0) == [None]
    assert find_random_bands(RunStore(run), None, np.arange(30), np.zeros(30, np.int64), 2, seed=0) == [None, None]
    skipped = [FakeRecord(reason="bad_json: x")] * 3
    empty = make_run(tmp_path / "b.audit", skipped, dataset=tmp_path / "b.jsonl")
    assert measure_moments(RunStore(empty), np.arange(3), np.full(3, -1), 1, seed=0) == [None]
