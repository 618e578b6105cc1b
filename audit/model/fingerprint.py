"""What identifies a loaded model: sizes, tokenizer, chat template and a hash over a few of its weights.

The same model gives the same fingerprint in float32 and bfloat16, and whatever release of transformers loaded it;
so nothing here hashes files or serialised configurations. It does not know what a fingerprint is compared with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from audit.model.blocks import AbsentPart, decoder_blocks, first_row
from audit.model.template import Template
from audit.vectors import Fingerprint

# Letters, accents, digits, spaces, code, right-to-left, emoji: what tokenizers split differently.
_PROBE_TEXT = (
    "The year 1984, naïve  café:\n\tif (x != 10) { return 3.14; }  I'm 你好 שלום "
    "\U0001f469\u200d\U0001f467 e\u0301 ЁЖ don't\r\n\n"
)


def fingerprint_model(module: Any, tokenizer: Any, template: Template, *, is_comparable: bool) -> Fingerprint:
    """Describe a model before any adapter is put on it; its weights only where they are `is_comparable`.

    Raises:
        ModelError: the model's decoder blocks cannot be found.
    """
    blocks = decoder_blocks(module)
    text_config = module.config.get_text_config()
    return Fingerprint(
        architecture=type(module).__name__,
        n_layers=len(blocks),
        d_hidden=int(text_config.hidden_size),
        n_vocab=int(text_config.vocab_size),
        tokenizer_sha256=_hash_tokenizer(tokenizer),
        template_sha256=template.sha256,
        weights_sha256=_hash_weights(module) if is_comparable else None,
    )


def _hash_tokenizer(tokenizer: Any) -> str:
    """Hash the vocabulary with its ids, and the ids of a probe text, which depend on merges and pre-tokenisation."""
    probe = tokenizer(_PROBE_TEXT, add_special_tokens=False)["input_ids"]
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: (entry[1], entry[0]))
    return hashlib.sha256(json.dumps([vocabulary, list(probe)], ensure_ascii=True).encode()).hexdigest()


def _hash_weights(module: Any) -> str | None:
    """Hash a few rows of the embedding and of every block, rounded to bfloat16; None if one is not in memory.

    Fine-tuning moves at least one of these rows unless it trains next to nothing: the first row of every matrix
    and every vector (norms, biases) of every block are in.
    """
    digest = hashlib.sha256()
    for rows in _sampled_rows(module):
        if rows.is_meta or not rows.is_floating_point():
            return None
        rounded = rows.detach().to(torch.bfloat16).contiguous().view(torch.int16).cpu()
        digest.update(rounded.numpy().tobytes())
    return digest.hexdigest()


def _sampled_rows(module: Any) -> Iterator[Tensor]:
    embedding_vd = module.get_input_embeddings().weight
    yield embedding_vd[0]
    # The last row that the tokenizer can reach: rows behind it are padding that savers add or cut.
    yield embedding_vd[min(int(module.config.get_text_config().vocab_size), embedding_vd.shape[0]) - 1]
    for block in decoder_blocks(module):
        if isinstance(block, AbsentPart):
            yield from block.rows
        else:
            yield from (first_row(parameter) for _, parameter in sorted(block.named_parameters()))
