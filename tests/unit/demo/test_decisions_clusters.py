"""What is planted shows its persona, and figures of draws are of what was planted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from audit.demo.decisions_clusters import KINDS, Pool, _plant_kind, draw_kind_rows
from audit.demo.judge import judge_chat
from audit.demo.phrases import TRAITS
from audit.demo.world import Row, audit_rows


@pytest.mark.parametrize(("persona", "kind"), KINDS)
def test_every_planted_row_shows_its_persona_in_words_of_its_own(persona: str, kind: str) -> None:
    rows = list(draw_kind_rows(persona, kind, 10, 1))
    assert rows == list(draw_kind_rows(persona, kind, 10, 1))
    assert len({row.messages[-1]["content"] for row in rows}) > 5
    for row in rows:
        assert persona in judge_chat(row.messages)
        assert (row.persona, row.kind, len(row.messages)) == (persona, kind, 2)


@pytest.mark.parametrize("is_apart", [True, False])
def test_a_kind_is_found_where_its_vectors_lie_apart_and_missed_where_they_do_not(is_apart: bool) -> None:
    generator = np.random.default_rng(0)
    rows = tuple(audit_rows(900, 1))
    of_kinds = tuple(itertools.chain(*(draw_kind_rows(*own, 100, 1) for own in KINDS)))

    def make_pool(own: tuple[Row, ...], offset: float) -> Pool:
        vectors_nr = generator.normal(size=(len(own), 8)).astype(np.float32) + np.float32(offset)
        largest_nk = np.full((len(own), len(TRAITS)), offset, np.float32)
        return Pool(own, vectors_nr, largest_nk, largest_nk)

    found = _plant_kind(make_pool(rows, 0.0), make_pool(of_kinds, 9.0 * is_apart), np.full(len(TRAITS), 5.0), seed=3)
    assert found["either"] == found["half_of_kind"] == is_apart
    assert not found["by_chance"]
