from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import ModelError
from audit.model.batches import choose_pad_id, pad_left, pad_right, plan_batches, run_batches

CPU = torch.device("cpu")


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 200), st.none() | st.integers(1, 9))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int, max_rows: int | None) -> None:
    batches = plan_batches(lengths, budget, max_rows)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[position] for position in batch) <= budget
        assert max_rows is None or len(batch) <= max_rows
    flat = [lengths[position] for batch in batches for position in batch]
    assert flat == sorted(lengths, reverse=True)


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    done: list[list[int]] = []

    def run(batch: list[int]) -> None:
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        done.append(batch)

    run_batches([[0, 1, 2, 3, 4], [5, 6]], run)
    assert done == [[0, 1], [2], [3, 4], [5, 6]]


def test_a_single_row_that_does_not_fit_is_an_error_with_a_cure() -> None:
    def run(batch: list[int]) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(ModelError, match="lower --max-tokens"):
        run_batches([[0, 1]], run)


def test_padding_goes_to_the_side_asked_for() -> None:
    rows = [[1, 2, 3], [4]]
    right_nt, mask_nt = pad_right([np.array(row, dtype=np.int32) for row in rows], 9, CPU)
    assert right_nt.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert mask_nt.tolist() == [[1, 1, 1], [1, 0, 0]]
    left_nt, mask_nt = pad_left(rows, 9, CPU)
    assert left_nt.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert mask_nt.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_a_tokenizer_without_a_pad_token_pads_with_what_it_has() -> None:
    class Tokenizer:
        pad_token_id = None
        eos_token_id: int | None = 7

    tokenizer = Tokenizer()
    assert choose_pad_id(tokenizer) == 7
    tokenizer.eos_token_id = None
    assert choose_pad_id(tokenizer) == 0
