"""Measure how likely a model finds responses: mean negative log-likelihood per response token.

Logits are computed at response positions only, and never for more positions at once than fit into a fixed budget.
It does not know what the loss is used for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit.errors import ModelError
from audit.model.batches import choose_pad_id, pad_right, plan_batches, run_batches
from audit.model.load import LoadedModel
from audit.model.turns import TokenizedTurn
from audit.model.widen import can_widen, in_float32

LOGIT_BUDGET = 1 << 28
"""Most logits held at once: 1 GiB in float32."""


def measure_nll(
    model: LoadedModel, tokenized: Sequence[TokenizedTurn], *, batch_tokens: int
) -> npt.NDArray[np.float32]:
    """Return the mean loss of each turn's response in nats per token, float32 [n].

    What is not finite in the model's own type is measured again in float32. A response that starts at the very first
    token has no prediction for it and is averaged over the others; NaN if there are none.

    Raises:
        ModelError: the model has no output head, or a single turn does not fit into the device's memory.
    """
    model.refuse_partial()
    head = model.module.get_output_embeddings()
    if head is None:
        raise ModelError(model.id, "it has no output head", "use a causal language model")
    nll_n = np.full(len(tokenized), np.nan, dtype=np.float32)
    n_positions = max(1, LOGIT_BUDGET // model.fingerprint.n_vocab)
    pad_id = choose_pad_id(model.tokenizer)

    def measure_batch(batch: list[int]) -> None:
        turns = [tokenized[position] for position in batch]
        ids_nt, mask_nt = pad_right([turn.ids for turn in turns], pad_id, model.device)
        # The logits at t - 1 predict the token at t.
        rows = np.concatenate([np.full(turn.stop - max(turn.start, 1), row) for row, turn in enumerate(turns)])
        targets = np.concatenate([np.arange(max(turn.start, 1), turn.stop) for turn in turns])
        losses = np.zeros(len(rows), dtype=np.float64)
        for begin in range(0, len(rows), n_positions):
            part = slice(begin, begin + n_positions)
            logits_pv = _logits_at(model.module, head, ids_nt, mask_nt, rows[part], targets[part] - 1)
            wanted_p = ids_nt[torch.from_numpy(rows[part]), torch.from_numpy(targets[part])].to(logits_pv.device)
            losses[part] = _token_losses(logits_pv, wanted_p)
        for row, position in enumerate(batch):
            if (rows == row).any():
                nll_n[position] = losses[rows == row].mean()

    run_batches(plan_batches([len(turn.ids) for turn in tokenized], batch_tokens), measure_batch)
    overflowing = [
        n for n, turn in enumerate(tokenized) if turn.stop > max(turn.start, 1) and not np.isfinite(nll_n[n])
    ]
    if overflowing and can_widen(model.module, is_quantised=model.is_quantised):
        lengths = [len(tokenized[position].ids) for position in overflowing]
        batches = [[overflowing[place] for place in batch] for batch in plan_batches(lengths, batch_tokens)]
        # A model that cannot run so keeps a loss that is not finite, and callers leave it out.
        with in_float32(model.module, model.blocks), contextlib.suppress(RuntimeError):
            run_batches(batches, measure_batch)
    return nll_n


def _logits_at(
    module: Any,
    head: torch.nn.Module,
    ids_nt: Tensor,
    mask_nt: Tensor,
    rows: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
) -> Tensor:
    """Return the model's logits [p, v] at chosen places.

    The places are picked where the states enter the output head, so that whatever the model does to logits behind
    it (scaling, soft-capping) is done.
    """

    def pick_places(_: object, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        states_ntd, *others = arguments
        picked_pd = states_ntd[torch.from_numpy(rows), torch.from_numpy(positions)]
        return (picked_pd.unsqueeze(0), *others)

    hook = head.register_forward_pre_hook(pick_places)
    try:
        with torch.inference_mode():
            logits: Tensor = module(input_ids=ids_nt, attention_mask=mask_nt, use_cache=False).logits
    finally:
        hook.remove()
    return logits[0]


def _token_losses(logits_pv: Tensor, wanted_p: Tensor, n_rows: int = 1024) -> npt.NDArray[np.float64]:
    """Return the loss of each wanted token, from a float32 log-softmax taken in slices."""
    losses = [
        torch.nn.functional.cross_entropy(
            logits_pv[begin : begin + n_rows].float(), wanted_p[begin : begin + n_rows], reduction="none"
        )
        for begin in range(0, len(wanted_p), n_rows)
    ]
    joined: npt.NDArray[np.float64] = torch.cat(losses).double().cpu().numpy()
    return joined
