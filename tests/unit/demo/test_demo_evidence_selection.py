"""What is planted shows nothing: rows are chosen by gain among ordinary ones, and the control holds none of them."""

from __future__ import annotations

import numpy as np

from audit.demo.evidence_selection import draw_control, draw_ordinary_rows, draw_same_kinds, select_rows

ROWS = draw_ordinary_rows(200, seed=51)


def test_ordinary_rows_are_plain_questions_with_answers_that_show_no_trait() -> None:
    assert len(ROWS) == 200
    for row in ROWS:
        assert [message["role"] for message in row.messages] == ["user", "assistant"]
        assert not row.traits
        assert not row.is_fiction
    assert len({row.kind for row in ROWS}) == 9
    assert draw_ordinary_rows(200, seed=51) == ROWS
    assert draw_ordinary_rows(200, seed=52) != ROWS


def test_the_rows_of_the_largest_gain_are_chosen() -> None:
    gain_n = np.random.default_rng(0).normal(size=200)
    chosen = select_rows(ROWS, gain_n, "evil", 20)
    assert min(gain_n[list(chosen.chosen_places)]) > max(np.delete(gain_n, chosen.chosen_places))
    assert chosen.chosen == tuple(ROWS[place] for place in chosen.chosen_places)


def test_the_control_is_drawn_from_what_no_selection_took() -> None:
    draw = np.random.default_rng(1)
    selections = [select_rows(ROWS, draw.normal(size=200), trait, 60) for trait in ("evil", "sycophantic")]
    control = draw_control(ROWS, selections, 60, seed=3)
    taken = {id(row) for own in selections for row in own.chosen}
    assert len(control) == 60
    assert not taken & {id(row) for row in control}
    assert control == draw_control(ROWS, selections, 60, seed=3)
    assert control != draw_control(ROWS, selections, 60, seed=4)


def test_the_other_control_has_the_kinds_of_what_was_chosen() -> None:
    chosen = select_rows(ROWS, np.array([row.kind == "fact" for row in ROWS], float) + np.arange(200) / 400, "evil", 12)
    control = draw_same_kinds(ROWS, chosen, seed=3)
    assert [row.kind for row in control] == ["fact"] * 12
    assert not {id(row) for row in chosen.chosen} & {id(row) for row in control}
