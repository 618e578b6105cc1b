"""Generate with a pool of rows over one cache: rows that end leave at once, waiting ones take their place.

Nothing is encoded twice, and one long answer holds up nobody. Which rows are together depends on the rows and the
limits alone. Works on the cache row by row; `is_poolable` finds out whether a model bears that.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache

from audit.errors import ModelError
from audit.model.batches import choose_pad_id, pad_left
from audit.model.choosing import choose_tokens
from audit.model.load import LoadedModel
from audit.model.rows import PromptRow
from audit.model.slots import SlotLayer
from audit.model.steer import Steering, steered

_MAX_ROWS = 128
_REFILL_SHARE = 0.75
"""Rows are let in when the pool has shrunk to this share of what it last held: in groups, as each costs a pass."""
_CACHE_BATCHES = 4
"""Batches' worth of tokens that the pool may hold: a kept token costs its keys and values, not a whole pass."""
_LEAST_FILL = 0.8
"""Prompts that are encoded together are at least so long, as a share of the longest."""
_STOP_TEXT_STEPS = 32


def answer_in_pool(model: LoadedModel, rows: Sequence[PromptRow], *, batch_tokens: int, stop_text: str) -> None:
    """Let every row grow to its end, longest prompts first; a pool that does not fit into memory is halved.

    Raises:
        ModelError: a single row does not fit into the device's memory.
    """
    with steered(model, rows) as steering:
        _run_pool(model, rows, steering, batch_tokens=batch_tokens, stop_text=stop_text)
    if stop_text:
        for row in rows:
            row.cut_at(model, stop_text)


def _run_pool(
    model: LoadedModel, rows: Sequence[PromptRow], steering: Steering, *, batch_tokens: int, stop_text: str
) -> None:
    pool = Pool(model, model.stop_ids, steering)
    waiting = sorted(rows, key=lambda row: -row.n_tokens)
    n_most, n_full, n_steps = _MAX_ROWS, 0, 0
    is_filling = True
    while waiting or pool.rows:
        is_filling = is_filling or len(pool.rows) <= _REFILL_SHARE * n_full
        new = _choose_rows(pool.rows, waiting, n_most, batch_tokens) if is_filling else []
        is_filling = bool(new)
        try:
            if new:
                pool.admit(new)
            else:
                pool.step()
        except torch.OutOfMemoryError:
            n_most = (len(pool.rows) + len(new)) // 2
            if n_most == 0:
                finding = "one sample does not fit into the device's memory"
                raise ModelError("model", finding, "lower --max-tokens") from None
        else:
            del waiting[: len(new)]
            n_full = len(pool.rows) if new else n_full
            n_steps += not new
            if stop_text and n_steps % _STOP_TEXT_STEPS == 0:
                for row in pool.rows:
                    row.cut_at(model, stop_text)
            pool.drop_done()
            continue
        # Outside the handler: the exception's frames hold the tensors that have to go.
        for row in pool.rows:
            if row.additions:
                # Encoded anew, its tokens would lose what was added to them.
                row.begin_anew()
        waiting = sorted([*pool.rows, *waiting], key=lambda row: -row.n_tokens)
        pool, n_full, is_filling = Pool(model, model.stop_ids, steering), 0, True
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _choose_rows(
    held: Sequence[PromptRow], waiting: Sequence[PromptRow], n_most: int, batch_tokens: int
) -> list[PromptRow]:
    """Return the first of the waiting rows, as many as the pool and one forward pass have room for."""
    width = max((len(row.ids) + row.room for row in held), default=0)
    chosen: list[PromptRow] = []
    for row in waiting:
        width = max(width, len(row.ids) + row.room)
        n_rows = len(held) + len(chosen) + 1
        is_full = n_rows > n_most or n_rows * width > _CACHE_BATCHES * batch_tokens
        # The longest prompt comes first, and what is much shorter is encoded in another pass: padding is computed, too.
        is_wide = (len(chosen) + 1) * waiting[0].n_tokens > batch_tokens
        is_short = row.n_tokens < _LEAST_FILL * waiting[0].n_tokens
        if (is_full and n_rows > 1) or ((is_wide or is_short) and chosen):
            break
        chosen.append(row)
    return chosen


class Pool:
    """Rows that grow together by a token a step."""

    def __init__(self, model: LoadedModel, stop_ids: Sequence[int], steering: Steering | None = None) -> None:
        self.rows: list[PromptRow] = []
        self._steering = steering or Steering((), model.d_hidden)
        self._module: Any = model.module
        self._device = model.device
        self._pad_id = choose_pad_id(model.tokenizer)
        self._stop_ids = frozenset(stop_ids)
        self._options = {name: 1 for name in ("logits_to_keep",) if _takes(model.module, name)}
        self._has_positions = _takes(model.module, "position_ids")
        self._cache: Any = None
        self._mask_nt = torch.empty(0)
        self._last_n1 = torch.empty(0)

    def admit(self, rows: Sequence[PromptRow]) -> Tensor:
        """Encode rows, give each its next token, and take them in; returns their logits [n, v] float32."""
        ids_nt, mask_nt = pad_left([row.ids + row.answer for row in rows], self._pad_id, self._device)
        cache: Any = Cache(layer_class_to_replicate=SlotLayer)
        self._steering.take(rows)
        logits_nv = self._run(ids_nt, mask_nt, (mask_nt.cumsum(1) - 1).clamp(min=0), cache)
        last_n1 = choose_tokens(rows, logits_nv)
        if self.rows:
            width = max(self._mask_nt.shape[1], mask_nt.shape[1])
            mask_nt = torch.cat([_widen(self._mask_nt, width), _widen(mask_nt, width)])
            last_n1 = torch.cat([self._last_n1, last_n1])
            for mine, theirs in zip(self._cache.layers, cache.layers, strict=True):
                mine.append_rows(theirs)
        else:
            self._cache = cache
        self._mask_nt, self._last_n1 = mask_nt, last_n1
        self._grow(rows, last_n1[len(self.rows) :], logits_nv)
        self.rows += rows
        return logits_nv

    def step(self) -> Tensor:
        """Give every row its next token; returns their logits [n, v] float32."""
        mask_nt = torch.nn.functional.pad(self._mask_nt, (0, 1), value=1)
        self._steering.take(self.rows)
        logits_nv = self._run(self._last_n1, mask_nt, mask_nt.sum(dim=1, keepdim=True) - 1, self._cache)
        self._mask_nt, self._last_n1 = mask_nt, choose_tokens(self.rows, logits_nv)
        self._grow(self.rows, self._last_n1, logits_nv)
        return logits_nv

    def drop_done(self) -> None:
        """Let rows leave that are done; the last rows move to their places."""
        n_rows = sum(not row.is_done for row in self.rows)
        if n_rows in (0, len(self.rows)):
            if n_rows == 0:
                self.rows, self._cache = [], None
            return
        holes = [place for place, row in enumerate(self.rows[:n_rows]) if row.is_done]
        behind = [place for place, row in enumerate(self.rows) if place >= n_rows and not row.is_done]
        moves = list(zip(holes, behind, strict=True))
        for target, source in moves:
            self.rows[target] = self.rows[source]
            self._mask_nt[target] = self._mask_nt[source]
            self._last_n1[target] = self._last_n1[source]
        n_leading = self._mask_nt.shape[1] - max(int(n) for n in self._mask_nt[:n_rows].sum(dim=1))
        self.rows, self._last_n1 = self.rows[:n_rows], self._last_n1[:n_rows]
        self._mask_nt = self._mask_nt[:n_rows, n_leading:]
        for layer in self._cache.layers:
            layer.keep_rows(moves, n_rows, n_leading)

    def _grow(self, rows: Sequence[PromptRow], last_n1: Tensor, logits_nv: Tensor) -> None:
        # Among such logits the largest is a token by chance.
        lost_n = logits_nv.isnan().any(dim=1).tolist()
        for row, token, is_lost in zip(rows, last_n1[:, 0].tolist(), lost_n, strict=True):
            row.is_lost = is_lost
            row.grow([] if is_lost else [token], self._stop_ids)

    def _run(self, ids_nt: Tensor, mask_nt: Tensor, positions_nt: Tensor, cache: Any) -> Tensor:
        positions = {"position_ids": positions_nt} if self._has_positions else {}
        output = self._module(
            input_ids=ids_nt,
            attention_mask=mask_nt,
            past_key_values=cache,
            use_cache=True,
            **positions,
            **self._options,
        )
        logits_nv: Tensor = output.logits[:, -1].float().to(self._device)
        return logits_nv


def is_poolable(model: LoadedModel) -> bool:
    """Tell whether rows in a pool get the logits that they get alone, by trying a few short ones.

    A window that hides far tokens shows in no short trial: such a model is taken only if its attention is known to
    go through transformers' interface, where the mask hides them.
    """
    kinds = set(getattr(model.module.config.get_text_config(), "layer_types", None) or ())
    if kinds - {"full_attention", "sliding_attention"} or ("sliding_attention" in kinds and not model.is_packable):
        return False
    if not _takes(model.module, "past_key_values"):
        return False
    try:
        with torch.inference_mode():
            return _compare(model)
    except (NotImplementedError, TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError):
        # Whatever a foreign model makes of it: it generates in rounds instead.
        return False


def _compare(model: LoadedModel) -> bool:
    draw = np.random.default_rng(0)
    n_vocab = int(model.module.config.get_text_config().vocab_size)
    first, second, third = (PromptRow(draw.integers(0, n_vocab, n).tolist(), room=8) for n in (9, 4, 13))
    pool = Pool(model, ())
    pool.admit([first, second])
    pool.step()
    first.room = len(first.answer)
    pool.drop_done()
    pool.admit([third])
    logits_nv = pool.step()
    if not pool._cache.layers or not all(isinstance(layer, SlotLayer) for layer in pool._cache.layers):
        return False
    tolerance = 1e-3 if model.module.dtype in (torch.float32, torch.float64) else 5e-2
    for row, logits_v in zip(pool.rows, logits_nv, strict=True):
        ids_nt = torch.tensor([row.ids + row.answer[:-1]], device=model.device)
        alone_v = model.module(input_ids=ids_nt, use_cache=False).logits[0, -1].float().to(model.device)
        if not bool((logits_v - alone_v).norm() <= tolerance * alone_v.norm()):
            return False
    return True


def _takes(module: Any, name: str) -> bool:
    parameters = inspect.signature(module.forward).parameters
    return name in parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _widen(mask_nt: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(mask_nt, (width - mask_nt.shape[1], 0))
