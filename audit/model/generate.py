"""Let a model answer prompts in batches: greedily, as baselines are, or drawn.

Prompts are rendered text; what they are compared with is not known here. Which rows share a batch depends on the
prompts and the limits, never on speed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from audit.answers import Answer
from audit.model.load import LoadedModel
from audit.model.pool import answer_in_pool, is_poolable
from audit.model.rounds import answer_in_rounds
from audit.model.rows import PromptRow
from audit.model.template import PLAIN_STOP
from audit.model.tokens import encode_prompts
from audit.model.turns import TokenizedTurn
from audit.model.widen import can_widen, in_float32

GENERATION_PARAMETERS: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
}
"""How baselines are generated: greedily, whatever the model's own generation_config.json asks for."""

SAMPLING_PARAMETERS: dict[str, Any] = {
    **GENERATION_PARAMETERS,
    "do_sample": True,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
}
"""How several baselines of a prompt are drawn: from the model's own distribution, of which nothing is cut off."""

GENERATION_VERSION = 3
"""Raised when a change of how answers are made may change one: cached answers of an earlier version are not used."""

Additions = Mapping[int, npt.NDArray[np.float32]]
POOL = "cached_batches"
ROUNDS = "rounds"


def choose_way(model: LoadedModel) -> str:
    """Return how a model generates: `cached_batches` over one cache where it bears that, else in `rounds`."""
    return POOL if is_poolable(model) else ROUNDS


def answer_prompts(
    model: LoadedModel,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    max_tokens: int,
    batch_tokens: int,
    seed: int,
    way: str | None = None,
) -> list[Answer]:
    """Answer rendered prompts greedily, in order; equal prompts are answered once.

    Where a narrow type gives no numbers the answer is made in float32; without numbers there, too, it is empty.

    Args:
        max_tokens: longest prompt and answer together.
        batch_tokens: most padded tokens in a forward pass.
        seed: kept for the record; greedy decoding draws nothing.
        way: `cached_batches` or `rounds`; None: as `choose_way` finds.

    Raises:
        ModelError: a single prompt does not fit into the device's memory.
    """
    distinct = list(dict.fromkeys(prompts))
    rows = _make_rows(model, distinct, max_new_tokens, max_tokens)
    _answer_rows(model, rows, batch_tokens, way)
    texts = {prompt: row.to_answer(model) for prompt, row in zip(distinct, rows, strict=True)}
    return [texts[prompt] for prompt in prompts]


def sample_answers(
    model: LoadedModel,
    prompts: Sequence[str],
    *,
    seeds: Sequence[Sequence[int]],
    temperature: float,
    max_new_tokens: int,
    max_tokens: int,
    batch_tokens: int,
    way: str | None = None,
    additions: Sequence[Additions] | None = None,
) -> list[Answer]:
    """Answer each rendered prompt with tokens drawn from the model's whole distribution, in order.

    Args:
        seeds: one seed for every prompt, a sequence of numbers; equal prompts with other seeds get other answers, and
            what shares a batch decides nothing but the last bits of the logits.
        temperature: that logits are divided by.
        max_tokens, batch_tokens, way: as in `answer_prompts`.
        additions: for every prompt, layer to a vector [d] that is added there while its answer is made.

    Raises:
        ModelError: a single prompt does not fit into the device's memory.
    """
    rows = _make_rows(model, prompts, max_new_tokens, max_tokens)
    for row, seed in zip(rows, seeds, strict=True):
        row.draws, row.temperature = np.random.default_rng(list(seed)).random(max(row.room, 0)), temperature
    for row, own in zip(rows, additions or (), strict=False):
        row.additions = own
    _answer_rows(model, rows, batch_tokens, way)
    return [row.to_answer(model) for row in rows]


def draw_turns(
    model: LoadedModel,
    prompts: Sequence[str],
    *,
    seeds: Sequence[Sequence[int]],
    max_new_tokens: int,
    batch_tokens: int,
) -> list[TokenizedTurn | None]:
    """Let the model answer rendered prompts at temperature 1, and return the answers in the tokens that were drawn.

    An answer without a token, or of a model that cannot name the next one, is None.

    Raises:
        ModelError: a single prompt does not fit into the device's memory.
    """
    rows = _make_rows(model, prompts, max_new_tokens, model.context_tokens)
    for row, seed in zip(rows, seeds, strict=True):
        row.draws = np.random.default_rng(list(seed)).random(max(row.room, 0))
    # No text ends an answer here: where it does, later tokens decide what becomes of earlier ones.
    _answer_rows(model, rows, batch_tokens, None, stop_text="")
    return [None if row.is_lost or not row.answer or not row.ids else _to_turn(row) for row in rows]


def _to_turn(row: PromptRow) -> TokenizedTurn:
    ids = np.asarray([*row.ids, *row.answer], dtype=np.int32)
    start = len(row.ids)
    return TokenizedTurn(ids, start, len(ids), start, truncated=not row.finished, end_id=row.end_id)


def _make_rows(model: LoadedModel, prompts: Sequence[str], max_new_tokens: int, max_tokens: int) -> list[PromptRow]:
    model.refuse_partial()
    return [
        PromptRow(ids=ids, room=min(max_new_tokens, min(max_tokens, model.context_tokens) - len(ids)))
        for ids in encode_prompts(model, prompts, max_tokens)
    ]


def _answer_rows(
    model: LoadedModel,
    rows: Sequence[PromptRow],
    batch_tokens: int,
    way: str | None,
    *,
    stop_text: str | None = None,
) -> None:
    # A prompt without a single token gives a model nothing to go on from.
    answerable = [row for row in rows if row.room > 0 and row.ids]
    if stop_text is None:
        stop_text = PLAIN_STOP if model.template.name == "plain" else ""
    with torch.inference_mode():
        if answerable and (way or choose_way(model)) == POOL:
            answer_in_pool(model, answerable, batch_tokens=batch_tokens, stop_text=stop_text)
        else:
            answer_in_rounds(
                model,
                answerable,
                batch_tokens=batch_tokens,
                stop_text=stop_text,
                parameters=GENERATION_PARAMETERS,
            )
        _answer_lost(model, [row for row in answerable if row.is_lost], batch_tokens, stop_text)


def _answer_lost(model: LoadedModel, rows: list[PromptRow], batch_tokens: int, stop_text: str) -> None:
    """Answer in float32 what the model's own type is too narrow for."""
    if rows and can_widen(model.module, is_quantised=model.is_quantised):
        for row in rows:
            row.begin_anew()
        # A model that cannot run so leaves them lost.
        with in_float32(model.module, model.blocks), contextlib.suppress(RuntimeError):
            answer_in_rounds(
                model,
                rows,
                batch_tokens=batch_tokens,
                stop_text=stop_text,
                parameters=GENERATION_PARAMETERS,
            )
    for row in rows:
        if row.is_lost or not row.is_done:
            row.begin_anew()
            row.finished = True
