"""How much memory a model takes: its weights, and what a batch needs beside them.

Knows shapes only; nothing is run.
"""

from __future__ import annotations

from audit.model.load import LoadedModel
from audit.model.loss import LOGIT_BUDGET

_STATES = 8
"""Tensors of a block's width that are alive at once: residual, norm, queries, keys, values, output, and two spare."""

_INNER = 3
"""Tensors of the feed-forward width that are alive at once."""


def count_weight_bytes(model: LoadedModel) -> int:
    """Return the size of the weights as they lie in memory."""
    return sum(weight.numel() * weight.element_size() for weight in model.module.parameters())


def estimate_batch_bytes(model: LoadedModel, batch_tokens: int) -> int:
    """Return about how much a full batch takes beside the weights: states, keys and values, and logits."""
    config = model.module.config.get_text_config()
    n_heads = getattr(config, "num_attention_heads", 1) or 1
    head_width = getattr(config, "head_dim", None) or model.d_hidden // n_heads
    kept = 2 * model.n_layers * (getattr(config, "num_key_value_heads", None) or n_heads) * head_width
    inner = getattr(config, "intermediate_size", None) or 4 * model.d_hidden
    element = model.module.dtype.itemsize
    n_logits = min(batch_tokens * model.fingerprint.n_vocab, LOGIT_BUDGET)
    return int(batch_tokens * (_STATES * model.d_hidden + _INNER * inner + kept) * element + 4 * n_logits)
