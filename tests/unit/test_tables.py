"""Difference vectors on their way into half precision and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit.groups import read_differences
from audit.samples import Message, Place, SkippedSample, Turn
from audit.states import ScoringJob, TurnState
from audit.store import Part, RunStore
from audit.tables import make_tables

WIDTH = 6
LARGEST = 65_504.0
"""The largest finite number of half precision."""


def store_differences(vectors_nr: np.ndarray) -> pa.Table:
    """Return the table of one turn a vector, and of one without a difference."""
    model: Any = None
    job = ScoringJob(
        model=model,
        units={"evil": (2, np.ones(WIDTH, dtype=np.float32))},
        baseline="none",
        max_tokens=64,
        batch_tokens=64,
        seed=0,
        reduction=np.zeros((WIDTH, WIDTH), dtype=np.float32),
        is_nll_for_all=False,
    )
    turn = Turn("response", 1, "answer", (), "a", Message("assistant", "a"))
    states = [TurnState(n, 0, turn, difference_r=vector_r.astype(np.float32)) for n, vector_r in enumerate(vectors_nr)]
    records = [SkippedSample(n, Place("data.jsonl", n, None, None), "chat", "") for n in range(len(states) + 1)]
    return make_tables(records, [*states, TurnState(len(states), 0, turn)], job)["differences"]


def read_back(tmp_path: Path, table: pa.Table) -> np.ndarray:
    (tmp_path / "differences").mkdir()
    store = RunStore(tmp_path)
    part = Part(0, table.num_rows)
    pq.write_table(table, store.table_path("differences", part))
    store.parts = lambda: [part]  # type: ignore[assignment]
    (found_nr,) = read_differences(store)
    return found_nr


def test_differences_come_back_within_half_precision(tmp_path: Path) -> None:
    vectors_nr = np.random.default_rng(0).normal(size=(20, WIDTH)) * np.logspace(-3, 3, 20)[:, None]
    table = store_differences(vectors_nr)
    assert table["difference"].type == pa.list_(pa.float16(), WIDTH)
    assert table["sample_id"].to_pylist() == list(range(20))
    found_nr = read_back(tmp_path, table)
    assert found_nr.dtype == np.float32
    np.testing.assert_allclose(found_nr, vectors_nr, rtol=2**-10, atol=2**-24)


def test_a_difference_beyond_half_precision_stays_finite_and_keeps_its_direction(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    vectors_nr = draw.normal(size=(12, WIDTH)) * np.logspace(3, 37, 12)[:, None]
    vectors_nr[0] = [LARGEST, -LARGEST, 1, 0, 0, 0]
    vectors_nr[1] = 0
    found_nr = read_back(tmp_path, store_differences(vectors_nr)).astype(np.float64)
    assert np.isfinite(found_nr).all()
    assert np.abs(found_nr).max() <= LARGEST
    assert found_nr[0].tolist() == vectors_nr[0].tolist()
    assert not found_nr[1].any()
    for own_r, wanted_r in zip(found_nr[2:], vectors_nr[2:], strict=True):
        cosine = own_r @ wanted_r / np.sqrt(own_r @ own_r) / np.sqrt(wanted_r @ wanted_r)
        assert cosine > 1 - 1e-6
