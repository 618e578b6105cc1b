"""Pools of scored rows that datasets are drawn from, and the report on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audit.demo.decisions_draws import describe_flags
from audit.demo.decisions_pools import Judged, Pool, flag_rows, join, judge_rows, make_reference
from audit.demo.decisions_tables import list_claims
from audit.rules import parse_rule

N_TRAITS = 4


def make_pool(n: int, seed: int, *, shift: float = 0.0) -> Pool:
    """Return n rows of one to three turns; those with a shift show the first trait."""
    generator = np.random.default_rng(seed)
    row_t = np.repeat(np.arange(n), generator.integers(1, 4, size=n))

    def draw() -> np.ndarray:
        values = generator.normal(size=(len(row_t), N_TRAITS))
        values[:, 0] += shift
        return values

    names = ("projection_difference", "orthogonal_difference", "evidence", "evidence_z")
    columns = {name: draw() for name in names} | {"evidence_variance": np.ones((len(row_t), N_TRAITS))}
    labels = np.zeros((n, N_TRAITS), dtype=bool)
    labels[:, 0] = shift > 0
    return Pool(
        row_t=row_t,
        columns=columns,
        random_tr=generator.normal(size=(len(row_t), 32)),
        null_tr=generator.normal(size=(len(row_t), 32)),
        n_tokens_t=np.full(len(row_t), 20.0),
        nll_t=np.ones(len(row_t)),
        difference_nr=generator.normal(size=(n, 8)),
        labels_nk=labels,
        is_fiction_n=np.zeros(n, dtype=bool),
    )


def test_rows_keep_their_own_turns_in_whatever_order_they_are_taken() -> None:
    pool = make_pool(40, 0)
    rows = np.asarray([7, 3, 3, 39, 0])
    taken = pool.take(rows)
    for place, row in enumerate(rows):
        own = pool.columns["evidence_z"][pool.row_t == row]
        np.testing.assert_array_equal(taken.columns["evidence_z"][taken.row_t == place], own)
    expected = np.stack([pool.columns["evidence_z"][pool.row_t == row].max(axis=0) for row in rows])
    np.testing.assert_array_equal(taken.row_maximum(taken.columns["evidence_z"]), expected)
    both = join(taken, pool)
    np.testing.assert_array_equal(both.columns["evidence_z"][both.row_t >= 5], pool.columns["evidence_z"])
    np.testing.assert_array_equal(both.difference_nr[:5], pool.difference_nr[rows])


def test_drawn_rows_are_flagged_and_judged_as_a_run_is() -> None:
    reference = make_reference(make_pool(1_500, 1))
    drawn = join(make_pool(30, 2, shift=6.0), make_pool(270, 3))
    judged = flag_rows(drawn, reference, parse_rule("fdr:0.05"))
    found = describe_flags(judged, drawn)
    assert found["recall"]["evil"] == 1.0
    assert found["clean_share"] < 0.2
    verdicts = [row["verdict"] for row in judge_rows(drawn, reference, judged)]
    assert verdicts[0] == "risk"
    assert "risk" not in verdicts[1:]


def test_precision_and_recall_are_counts_of_rows() -> None:
    pool = make_pool(4, 4)
    labels = np.asarray([[True, False, False, False], [True] * 4, [False] * 4, [False] * 4])
    flagged = np.asarray([[True, True, False, False], [False] * 4, [True, False, False, False], [False] * 4])
    shown = Pool(**{**{name: getattr(pool, name) for name in pool.__dataclass_fields__}, "labels_nk": labels})
    found = describe_flags(Judged(np.zeros((4, 4)), flagged, {}, {}), shown)
    assert found["precision"]["evil"] == 0.5
    assert found["recall"]["evil"] == 0.5
    assert found["n_flagged"] == 2
    assert found["clean_share"] == pytest.approx(0.5)


def test_a_promise_that_is_not_kept_is_said() -> None:
    flags: dict[str, Any] = {"mean_precision": 0.7, "mean_recall": 0.9, "fiction_share_of_flags": 0.3}
    flags["fiction_share_of_data"] = 0.1
    rows = {
        "rule": "fdr:0.05",
        "null": {"n_draws": 200, "n_risk": 11},
        "power": {"0.1": {"evil": {"risk": 94, "n_draws": 100}}},
        "discoveries": {"0.05": {"evil": {"clean_share": 0.06, "standard_error": 0.001, "is_held": False}}},
        "rules": {"fdr:0.05": flags},
    }
    met = [claim["met"] for claim in list_claims({"rows": rows})]
    assert met == [False, False, False, False, True, False]
