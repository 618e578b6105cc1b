"""How much memory a model takes: its weights, and what a batch needs beside them.

Knows shapes only; nothing is run.
"""

from __future__ import annotations

from audit.model.load import LoadedModel
from audit.model.loss import LOGIT_BUDGET
from audit.model.tail import LOGIT_BUDGET as TAIL_BUDGET

_STATES = 8
"""Tensors of a block's width that are alive at once: residual, norm, queries, keys, values, output, and two spare."""

_INNER = 3
"""Tensors of the feed-forward width that are alive at once."""

GRAPH_BYTES = 5 << 27
"""Most that the values kept for a backward pass may take (640 MiB); a longer sample keeps one block's at a time."""

_KEPT_WIDTHS, _KEPT_INNER = 10, 3
"""Values kept for a backward pass, per token and block, in units of the model's width and the feed-forward's."""


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


def estimate_graph_bytes(model: LoadedModel, n_blocks: int, n_tokens: int, n_longest: int) -> int:
    """Return about what a backward pass through blocks keeps of tokens, the longest sequence of which has so many."""
    config = model.module.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * model.d_hidden
    n_heads = getattr(config, "num_attention_heads", 1) or 1
    kept = _KEPT_WIDTHS * model.d_hidden + _KEPT_INNER * int(inner) + n_heads * n_longest
    return int(n_tokens * n_blocks * kept * model.module.dtype.itemsize)


def estimate_evidence_bytes(model: LoadedModel, layer: int, batch_tokens: int) -> int:
    """Return about what evidence takes beside a batch that is scored."""
    graph = estimate_graph_bytes(model, model.n_layers - layer, batch_tokens, min(batch_tokens, model.context_tokens))
    # Logits, their distribution and how they move.
    return min(graph, GRAPH_BYTES) + 8 * 4 * min(batch_tokens * model.fingerprint.n_vocab, TAIL_BUDGET)
