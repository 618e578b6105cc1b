"""Choose the next token of every row from its logits: the likeliest, or one that is drawn.

A drawn token depends on the row's own number and logits alone, never on what shares its batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from audit.model.rows import PromptRow


def choose_tokens(rows: Sequence[PromptRow], logits_nv: Tensor, n_ahead: int = 0) -> Tensor:
    """Return the next token of each row, [n, 1].

    Args:
        logits_nv: float32 [n, v].
        n_ahead: tokens that are chosen already, and not yet among the rows' answers.
    """
    chosen_n1 = logits_nv.argmax(dim=1, keepdim=True)
    drawing = [place for place, row in enumerate(rows) if row.draws is not None]
    if not drawing:
        return chosen_n1
    where_n = torch.tensor(drawing, device=logits_nv.device)
    temperature_n1 = torch.tensor([[rows[place].temperature] for place in drawing], device=logits_nv.device)
    share_nv = torch.softmax(logits_nv[where_n].float() / temperature_n1, dim=1)
    sums_nv = share_nv.cumsum(dim=1, dtype=torch.float64 if share_nv.device.type != "mps" else None)
    drawn_n1 = torch.tensor([[_next_draw(rows[place], n_ahead)] for place in drawing], dtype=sums_nv.dtype)
    drawn_n1 = drawn_n1.to(sums_nv.device) * sums_nv[:, -1:]
    # The first token whose sum exceeds the number: one without any share is never taken.
    token_n1 = torch.searchsorted(sums_nv, drawn_n1, right=True).clamp(max=logits_nv.shape[1] - 1)
    chosen_n1[where_n] = token_n1
    return chosen_n1


def _next_draw(row: PromptRow, n_ahead: int) -> float:
    draws = row.draws
    place = len(row.answer) + n_ahead
    # A row that is done stays in its batch for a while; what is chosen for it is dropped.
    return float(draws[place]) if draws is not None and place < len(draws) else 0.0
