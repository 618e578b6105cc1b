"""What is known of turns before their y′ is: the stored tables give back what was put in."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from audit.known import KnownTurns, ResponseTable, read_response_tables
from audit.store import RESPONSES, Part, RunStore, write_table

K, W, R, F = 6, 2, 3, 5


def table(n_evidence: int) -> ResponseTable:
    draw = np.random.default_rng(0)
    keys = [(0, "response", 1, "answer"), (2, "chosen", 1, "answer"), (2, "chosen", 3, "reasoning")]
    widths = (K, K, R, F, W, n_evidence)
    values = [draw.normal(size=(len(keys), width)).astype(np.float32) for width in widths]
    if n_evidence:
        values[-1][1, 0] = np.nan
    return ResponseTable(keys, np.array([4, 5, 6]), *values)


@pytest.mark.parametrize("n_evidence", [0, 11])
def test_a_table_comes_back_as_it_was(tmp_path: Path, n_evidence: int) -> None:
    store, own = RunStore(tmp_path), table(n_evidence)
    (tmp_path / RESPONSES).mkdir()
    write_table(store.table_path(RESPONSES, Part(0, 3)), own.to_arrow())
    (found,) = read_response_tables(store, K, R)
    assert found.keys == own.keys
    for field in fields(ResponseTable)[1:]:
        np.testing.assert_array_equal(getattr(found, field.name), getattr(own, field.name), err_msg=field.name)
    known = KnownTurns(store, K, R, None).find(own.keys[1])
    assert known is not None
    np.testing.assert_array_equal(known.evidence_v, own.evidence_nv[1])
    np.testing.assert_array_equal(known.own_k, own.own_nk[1])
    np.testing.assert_array_equal(known.window_w, own.window_nw[1])
    assert (len(known.predicted_k), len(known.predicted_r)) == (K, R)
