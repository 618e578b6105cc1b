"""Let a model answer prompts greedily, in batches: the baseline responses.

Prompts are rendered text; what they are compared with is not known here. Generation goes in rounds: after each, rows
that have ended leave, and the others are batched anew, so that one long answer does not hold up a batch.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import GenerationConfig

from audit.answers import Answer
from audit.model.batches import choose_pad_id, pad_left, plan_batches, run_batches
from audit.model.load import LoadedModel
from audit.model.template import PLAIN_STOP
from audit.model.tokens import encode_prompts

GENERATION_PARAMETERS: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
}
"""How baselines are generated: greedily, whatever the model's own generation_config.json asks for."""

GENERATION_VERSION = 1
"""Raised when a change of this file may change an answer: cached answers of an earlier version are then not used."""

# Its constructor carries no annotations.
_config_class: Any = GenerationConfig

_ROUND_TOKENS = (32, 64, 128, 256)
_MAX_ROWS = 128


@dataclass(slots=True)
class _Row:
    """A prompt on its way; `answer` grows by the generated tokens, `cut_text` is set where a stop text ended it."""

    ids: list[int]
    n_prompt: int
    room: int
    finished: bool = False
    answer: list[int] = field(default_factory=list)
    cut_text: str | None = None


def answer_prompts(
    model: LoadedModel,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    max_tokens: int,
    batch_tokens: int,
    seed: int,
) -> list[Answer]:
    """Answer rendered prompts greedily, in order; equal prompts are answered once.

    Args:
        max_tokens: longest prompt and answer together.
        batch_tokens: most padded tokens in a batch, prompts and room for answers counted.
        seed: kept for the record; greedy decoding draws nothing.

    Raises:
        ModelError: a single prompt does not fit into the device's memory.
    """
    model.refuse_partial()
    distinct = list(dict.fromkeys(prompts))
    rows = [
        _Row(ids=ids, n_prompt=len(ids), room=min(max_new_tokens, max_tokens - len(ids)))
        for ids in encode_prompts(model, distinct, max_tokens)
    ]
    # A prompt without a single token gives a model nothing to go on from.
    waiting = [row for row in rows if row.room > 0 and row.ids]
    stop_text = PLAIN_STOP if model.template.name == "plain" else ""
    n_rounds = 0
    with _neutral_generation(model.module), torch.inference_mode():
        while waiting:
            _answer_round(model, waiting, _ROUND_TOKENS[min(n_rounds, len(_ROUND_TOKENS) - 1)], batch_tokens)
            for row in waiting:
                _check_stop_text(model, row, stop_text)
            waiting = [row for row in waiting if not row.finished and len(row.answer) < row.room]
            n_rounds += 1
    texts = {prompt: _make_answer(model, row) for prompt, row in zip(distinct, rows, strict=True)}
    return [texts[prompt] for prompt in prompts]


def _answer_round(model: LoadedModel, rows: list[_Row], n_tokens: int, batch_tokens: int) -> None:
    """Let every row grow by up to `n_tokens` tokens, or to its end."""
    lengths = [len(row.ids) + len(row.answer) + min(n_tokens, row.room - len(row.answer)) for row in rows]

    def run(batch: list[int]) -> None:
        _grow_rows(model, [rows[position] for position in batch], n_tokens)

    run_batches(plan_batches(lengths, batch_tokens, _MAX_ROWS), run)


def _grow_rows(model: LoadedModel, rows: list[_Row], n_tokens: int) -> None:
    pad_id = choose_pad_id(model.tokenizer)
    ids_nt, mask_nt = pad_left([row.ids + row.answer for row in rows], pad_id, model.device)
    config = _config_class(
        **GENERATION_PARAMETERS,
        # Rows that stand near the context's end set the pace: past it, learned positions do not exist.
        max_new_tokens=min(
            n_tokens,
            max(row.room - len(row.answer) for row in rows),
            min(model.context_tokens - len(row.ids) - len(row.answer) for row in rows),
        ),
        eos_token_id=list(model.stop_ids) or None,
        pad_token_id=pad_id,
    )
    grown_nt = model.module.generate(ids_nt, attention_mask=mask_nt, generation_config=config)
    for row, new in zip(rows, grown_nt[:, ids_nt.shape[1] :].tolist(), strict=True):
        new = new[: row.room - len(row.answer)]
        end = next((place for place, token in enumerate(new) if token in model.stop_ids), None)
        row.finished = end is not None
        row.answer += new[:end]


def _check_stop_text(model: LoadedModel, row: _Row, stop_text: str) -> None:
    """End an answer where the model begins to speak for the user, as models without end-of-turn tokens do."""
    text, found, _ = _decode(model, row.answer).partition(stop_text) if stop_text else ("", "", "")
    if found:
        n_kept = 0
        while len(_decode(model, row.answer[:n_kept])) < len(text):
            n_kept += 1
        row.answer, row.cut_text, row.finished = row.answer[:n_kept], text, True


def _make_answer(model: LoadedModel, row: _Row) -> Answer:
    text = _decode(model, row.answer) if row.cut_text is None else row.cut_text
    return Answer(text=text, n_tokens=len(row.answer), finished=row.finished)


def _decode(model: LoadedModel, ids: list[int]) -> str:
    return str(model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


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
