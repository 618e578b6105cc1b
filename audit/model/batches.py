"""Cut work into padded batches, and make batches smaller when a device runs out of memory.

Knows lengths and positions; what a batch is run for is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audit.errors import ModelError

Item = TypeVar("Item")


def plan_batches(lengths: Sequence[int], batch_tokens: int, max_rows: int | None = None) -> list[list[int]]:
    """Group positions by length, longest first, so that rows times longest row stays within `batch_tokens`.

    A row longer than that is a batch of its own. Equal lengths keep their order.
    """
    batches: list[list[int]] = []
    longest = 0
    for position in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        full = batches and (
            (len(batches[-1]) + 1) * longest > batch_tokens or (max_rows is not None and len(batches[-1]) >= max_rows)
        )
        if not batches or full:
            batches.append([])
            longest = lengths[position]
        batches[-1].append(position)
    return batches


def run_batches(
    batches: Sequence[list[Item]],
    run: Callable[[list[Item]], None],
    *,
    split: Callable[[Item], list[Item]] = lambda item: [item],
) -> None:
    """Call `run` with every batch; one that does not fit into the device's memory is halved and tried again.

    Args:
        split: what an item that does not fit alone can be divided into.

    Raises:
        ModelError: a single item that cannot be divided does not fit.
    """
    waiting = list(reversed(batches))
    while waiting:
        batch = waiting.pop()
        try:
            run(batch)
            continue
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: the exception's frames hold the tensors that have to go.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(batch) == 1:
            batch = split(batch[0])
        if len(batch) == 1:
            raise ModelError("model", "one sample does not fit into the device's memory", "lower --max-tokens")
        middle = len(batch) // 2
        waiting += [batch[middle:], batch[:middle]]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether a device, or the machine, has no memory left; only CUDA's own allocator has an error for it."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in str(error) for sign in ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def pad_right(rows: Sequence[npt.NDArray[np.int32]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return token ids and attention mask, int64 [n, t], with padding behind each row."""
    longest = max(len(row) for row in rows)
    ids_nt = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask_nt = np.zeros((len(rows), longest), dtype=np.int64)
    for position, row in enumerate(rows):
        ids_nt[position, : len(row)] = row
        mask_nt[position, : len(row)] = 1
    return torch.from_numpy(ids_nt).to(device), torch.from_numpy(mask_nt).to(device)


def pad_left(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return token ids and attention mask, int64 [n, t], with padding before each row."""
    flipped = [np.asarray(row[::-1], dtype=np.int32) for row in rows]
    ids_nt, mask_nt = pad_right(flipped, pad_id, torch.device("cpu"))
    return ids_nt.flip(1).to(device), mask_nt.flip(1).to(device)


def choose_pad_id(tokenizer: object) -> int:
    """Return a token id for padding: any will do, since the attention mask hides it."""
    for name in ("pad_token_id", "eos_token_id"):
        token = getattr(tokenizer, name, None)
        if token is not None:
            return int(token)
    return 0
