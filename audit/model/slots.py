"""Keys and values of sequences that are generated together, in memory that stays while rows leave and columns come.

Transformers' own layers copy everything for every token; that was measured to take as long as the model itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer

_SPARE_COLUMNS = 64
"""Columns of room for tokens to come, whenever memory is taken anew."""


class SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # what subclasses of it pass through is not annotated
    """One layer's keys and values, right-aligned: [n, h, t, d] views into larger memory.

    Sliding windows are left to the mask: every row keeps all of its columns.
    """

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take memory for the first tokens and some more."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self._n_rows, self._start, self._stop = key_states.shape[0], 0, 0
        self._memory = [
            states.new_empty((*states.shape[:2], states.shape[2] + _SPARE_COLUMNS, states.shape[3]))
            for states in (key_states, value_states)
        ]
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append columns [n, h, t, d] to every row, and return all that there are."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        n_new = key_states.shape[2]
        if self._stop + n_new > self._memory[0].shape[2]:
            self._move([self._show()], n_new)
        for memory, states in zip(self._memory, (key_states, value_states), strict=True):
            memory[: self._n_rows, :, self._stop : self._stop + n_new] = states
        self._stop += n_new
        return self._show()

    def keep_rows(self, moves: Sequence[tuple[int, int]], n_rows: int, n_leading: int) -> None:
        """Copy row `source` over row `target` for each of the moves, keep the first `n_rows`, drop leading columns."""
        for memory in self._memory:
            for target, source in moves:
                memory[target] = memory[source]
        self._n_rows = n_rows
        self._start += n_leading
        self._show()

    def append_rows(self, other: SlotLayer) -> None:
        """Take the rows of another layer behind the own ones; the narrower get columns of zeros in front."""
        self._move([self._show(), other._show()], 0)

    def _move(self, parts: Sequence[tuple[Tensor, Tensor]], n_new: int) -> None:
        """Lay rows out one part below the other in new memory, with room for `n_new` columns and some more."""
        width = max(keys.shape[2] for keys, _ in parts)
        n_rows = sum(keys.shape[0] for keys, _ in parts)
        for place, old in enumerate(self._memory):
            # Masked columns are multiplied too: what happens to lie in fresh memory may be no number.
            fresh = old.new_zeros((n_rows, old.shape[1], width + n_new + _SPARE_COLUMNS, old.shape[3]))
            first = 0
            for part in parts:
                states = part[place]
                last = first + states.shape[0]
                fresh[first:last, :, width - states.shape[2] : width] = states
                first = last
            self._memory[place] = fresh
        self._n_rows, self._start, self._stop = n_rows, 0, width
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = (memory[: self._n_rows, :, self._start : self._stop] for memory in self._memory)
        self.keys, self.values = keys, values
        return keys, values
