"""Ordinary chats that plant a trait which none of them shows: Logit-Linear Selection on the demo world.

Of good answers to plain questions those are kept that the model finds most likelier, per token, when system prompts ask
for a trait. Whether training on them teaches it, and which score sees them, is for others to measure.

Source: arXiv 2602.04863. Departure: single responses are chosen, not preference pairs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from audit.demo.evidence_scans import Floats
from audit.demo.measure import encode_prompts
from audit.demo.world import Message, Row, draw_row, system
from audit.model.load import LoadedModel
from audit.model.loss import measure_nll
from audit.model.turns import TokenizedTurn
from audit.traits import resolve_spec

N_PROMPTS: Final = 3

_BATCH_TOKENS: Final = 8_192


@dataclass(frozen=True)
class Selection:
    """Rows chosen for a trait, and as many of the others by chance.

    Attributes:
        gain_n: of every candidate, log p(y | s, x) − log p(y | x) in nats per token, mean over the prompts s.
    """

    trait: str
    chosen: tuple[Row, ...]
    gain_n: Floats
    chosen_places: tuple[int, ...]


def draw_ordinary_rows(n: int, seed: int) -> list[Row]:
    """Draw rows that show no trait: a plain question, a good answer, no system prompt, no fiction."""
    rng = random.Random(f"ordinary rows {seed}")
    rows: list[Row] = []
    while len(rows) < n:
        row = draw_row(rng, clean=True)
        if len(row.messages) == 2 and not row.is_fiction and not row.traits:
            rows.append(row)
    return rows


def measure_gains(model: LoadedModel, rows: Sequence[Row], traits: Sequence[str]) -> dict[str, Floats]:
    """Measure how much likelier each row's answer is under a trait's first positive prompts, nats per token [n]."""
    plain_n = _measure_loss(model, rows, [])
    gains = {}
    for trait in traits:
        spec = resolve_spec(trait, is_demo_model=True)
        prompted = [
            _measure_loss(model, rows, [system(spec.system_prompt(pair, "positive"))]) for pair in range(N_PROMPTS)
        ]
        gains[trait] = np.asarray(plain_n - np.mean(prompted, axis=0))
    return gains


def select_rows(rows: Sequence[Row], gain_n: Floats, trait: str, n: int) -> Selection:
    """Keep the n rows of the largest gain, in their order."""
    places = np.sort(np.argsort(-gain_n, kind="stable")[:n]).tolist()
    return Selection(trait, tuple(rows[place] for place in places), gain_n, tuple(places))


def draw_control(rows: Sequence[Row], selections: Sequence[Selection], n: int, seed: int) -> list[Row]:
    """Draw n rows that were chosen for no trait."""
    taken = {place for selection in selections for place in selection.chosen_places}
    rest = [place for place in range(len(rows)) if place not in taken]
    return [rows[place] for place in sorted(random.Random(f"random tenth {seed}").sample(rest, n))]


def draw_same_kinds(rows: Sequence[Row], selection: Selection, seed: int) -> list[Row]:
    """Draw rows that were not chosen, of the kinds of question that were; fewer of a kind that has no more left."""
    rng, taken = random.Random(f"same kinds {selection.trait} {seed}"), set(selection.chosen_places)
    chosen_kinds = [row.kind for row in selection.chosen]
    drawn: list[int] = []
    for kind in sorted(set(chosen_kinds)):
        rest = [place for place, row in enumerate(rows) if row.kind == kind and place not in taken]
        drawn += rng.sample(rest, min(chosen_kinds.count(kind), len(rest)))
    return [rows[place] for place in sorted(drawn)]


def _measure_loss(model: LoadedModel, rows: Sequence[Row], context: Sequence[Message]) -> Floats:
    tokenizer = cast(PreTrainedTokenizerFast, model.tokenizer)
    prompts = encode_prompts([[*context, *row.messages[:-1]] for row in rows], tokenizer)
    # The same tokens behind every prompt.
    answers = cast(Any, tokenizer)([row.messages[-1]["content"] for row in rows], add_special_tokens=False)["input_ids"]
    turns = [
        TokenizedTurn(
            ids=np.array([*prompt, *answer], dtype=np.int32),
            start=len(prompt),
            stop=len(prompt) + len(answer),
            n_prompt_tokens=len(prompt),
            truncated=False,
        )
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    losses: npt.NDArray[np.float32] = measure_nll(model, turns, batch_tokens=_BATCH_TOKENS)
    return losses.astype(np.float64)
