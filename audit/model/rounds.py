"""Generate in rounds of transformers' own `generate`: slower, and right for every model.

After each round rows that have ended leave, and the others are batched and encoded anew, so that one long answer does
not hold up a batch. Taken by models whose cache cannot be worked on row by row.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from audit.model.batches import choose_pad_id, pad_left, plan_batches, run_batches
from audit.model.choosing import choose_tokens
from audit.model.load import LoadedModel
from audit.model.rows import PromptRow
from audit.model.steer import Steering, steered

# Its constructor carries no annotations.
_config_class: Any = GenerationConfig

_ROUND_TOKENS = (32, 64, 128, 256)
_MAX_ROWS = 128


def answer_in_rounds(
    model: LoadedModel,
    rows: Sequence[PromptRow],
    *,
    batch_tokens: int,
    stop_text: str,
    parameters: dict[str, Any],
) -> None:
    """Let every row grow to its end.

    Steered rows take a single round: in a second one their earlier tokens would be encoded anew, without what was
    added to them.

    Raises:
        ModelError: a single row does not fit into the device's memory.
    """
    waiting, n_rounds = list(rows), 0
    is_one_round = any(row.additions for row in rows)
    with _neutral_generation(model.module), steered(model, rows) as steering:
        while waiting:
            n_tokens = _ROUND_TOKENS[min(n_rounds, len(_ROUND_TOKENS) - 1)]
            if is_one_round:
                n_tokens = max(row.room for row in waiting)
            _answer_round(model, waiting, n_tokens, batch_tokens, parameters, steering)
            for row in waiting:
                row.cut_at(model, stop_text)
            waiting = [row for row in waiting if not row.is_done]
            n_rounds += 1


def _answer_round(
    model: LoadedModel,
    rows: list[PromptRow],
    n_tokens: int,
    batch_tokens: int,
    parameters: dict[str, Any],
    steering: Steering,
) -> None:
    """Let every row grow by up to `n_tokens` tokens, or to its end."""
    lengths = [row.n_tokens + min(n_tokens, row.room - len(row.answer)) for row in rows]

    def run(batch: list[int]) -> None:
        own = [rows[position] for position in batch]
        steering.take(own)
        _grow_rows(model, own, n_tokens, parameters)

    run_batches(plan_batches(lengths, batch_tokens, _MAX_ROWS), run)


def _grow_rows(model: LoadedModel, rows: list[PromptRow], n_tokens: int, parameters: dict[str, Any]) -> None:
    pad_id = choose_pad_id(model.tokenizer)
    ids_nt, mask_nt = pad_left([row.ids + row.answer for row in rows], pad_id, model.device)
    config = _config_class(
        **parameters,
        # Rows that stand near the context's end set the pace: past it, learned positions do not exist.
        max_new_tokens=min(
            n_tokens,
            max(row.room - len(row.answer) for row in rows),
            min(model.context_tokens - row.n_tokens for row in rows),
        ),
        eos_token_id=list(model.stop_ids) or None,
        pad_token_id=pad_id,
    )
    watch, draw = _Watch(), _Draw(rows)
    grown_nt = model.module.generate(
        ids_nt, attention_mask=mask_nt, generation_config=config, logits_processor=LogitsProcessorList([watch, draw])
    )
    is_lost_n = [False] * len(rows) if watch.is_lost_n is None else watch.is_lost_n.tolist()
    for row, new, is_lost in zip(rows, grown_nt[:, ids_nt.shape[1] :].tolist(), is_lost_n, strict=True):
        row.is_lost = is_lost
        if not is_lost:
            row.grow(new, model.stop_ids)


class _Watch(LogitsProcessor):
    """Sees which rows of a batch get logits that are no numbers."""

    def __init__(self) -> None:
        self.is_lost_n: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        lost_n = scores.isnan().any(dim=-1)
        self.is_lost_n = lost_n if self.is_lost_n is None else self.is_lost_n | lost_n
        return scores


class _Draw(LogitsProcessor):
    """Leaves the token that is chosen, so that the greedy search of `generate` takes it."""

    def __init__(self, rows: Sequence[PromptRow]) -> None:
        self._rows = rows
        self._n_first: int | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        n_tokens = input_ids.shape[1]
        self._n_first = n_tokens if self._n_first is None else self._n_first
        if all(row.draws is None for row in self._rows):
            return scores
        chosen_n1 = choose_tokens(self._rows, scores.float(), n_tokens - self._n_first)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen_n1, 0.0)


@contextlib.contextmanager
def _neutral_generation(module: Any) -> Iterator[None]:
    """Set the model's own generation settings aside: transformers fills every unset parameter from them."""
    kept = module.generation_config
    neutral = _config_class()
    if kept is not None:
        neutral.bos_token_id = copy.copy(kept.bos_token_id)
    module.generation_config = neutral
    try:
        yield
    finally:
        module.generation_config = kept
