"""Answers drawn from the demo model itself, on which evidence has a known null, and planted errors that break it.

Token ids are kept as they were generated: text that is tokenised again may come out in other tokens, and is then no
sample of the model. What is measured along which direction is not known here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from audit.demo.measure import encode_prompts, generate_responses
from audit.demo.questions import Question, ask, draw_kind
from audit.demo.world import AUDIT_POOLS, FICTION_ROWS, user
from audit.model.load import LoadedModel
from audit.model.template import PLAIN_TEMPLATE, Template
from audit.model.turns import TokenizedTurn
from audit.samples import Message

MAX_NEW_TOKENS: Final = 96


@dataclass(frozen=True)
class OwnSamples:
    """Answers at temperature 1, in tokens, with the questions that they answer; empty ones are left out.

    Attributes:
        n_unended: answers that were cut at `MAX_NEW_TOKENS`; the end of the turn is no term of theirs.
    """

    questions: tuple[Question, ...]
    turns: tuple[TokenizedTurn, ...]
    n_empty: int
    n_unended: int


def draw_questions(n: int, seed: int) -> list[Question]:
    """Draw questions as audit rows ask them, fiction among them."""
    rng = random.Random(f"own samples {seed}")
    kinds = ("fiction" if rng.random() < FICTION_ROWS else draw_kind(rng) for _ in range(n))
    return [ask(rng, kind, AUDIT_POOLS) for kind in kinds]


def draw_own_samples(model: LoadedModel, n: int, seed: int) -> OwnSamples:
    """Let the demo model answer n fresh questions, with tokens drawn from its whole distribution."""
    tokenizer = cast(PreTrainedTokenizerFast, model.tokenizer)
    questions = draw_questions(n, seed)
    prompts = [[user(question.text)] for question in questions]
    responses = generate_responses(
        cast(LlamaForCausalLM, model.module),
        tokenizer,
        prompts,
        is_sampled=True,
        seed=seed,
        max_new_tokens=MAX_NEW_TOKENS,
    )
    kept = [n for n, response in enumerate(responses) if response]
    encoded = encode_prompts(prompts, tokenizer)
    end_id = cast(int, tokenizer.eos_token_id)
    turns = tuple(_join(encoded[n], responses[n], end_id) for n in kept)
    return OwnSamples(
        questions=tuple(questions[n] for n in kept),
        turns=turns,
        n_empty=n - len(kept),
        n_unended=sum(turn.truncated for turn in turns),
    )


def _join(prompt: Sequence[int], response: Sequence[int], end_id: int) -> TokenizedTurn:
    is_cut = len(response) >= MAX_NEW_TOKENS
    return TokenizedTurn(
        ids=np.array([*prompt, *response], dtype=np.int32),
        start=len(prompt),
        stop=len(prompt) + len(response),
        n_prompt_tokens=len(prompt),
        truncated=is_cut,
        end_id=None if is_cut else end_id,
    )


def _take_prompt(turn: TokenizedTurn, prompt: Sequence[int]) -> TokenizedTurn:
    ids = np.array([*prompt, *turn.ids[turn.start :]], dtype=np.int32)
    return replace(turn, ids=ids, start=len(prompt), stop=len(ids), n_prompt_tokens=len(prompt))


def count_prompts_in(samples: OwnSamples, _: LoadedModel) -> list[TokenizedTurn]:
    """Let the span begin at the question: tokens that the model did not draw are scored as if it had."""
    return [replace(turn, start=1, n_prompt_tokens=1) for turn in samples.turns]


def swap_prompts(samples: OwnSamples, _: LoadedModel) -> list[TokenizedTurn]:
    """Set every answer behind the next sample's prompt."""
    turns = samples.turns
    return [
        _take_prompt(turn, turns[(n + 1) % len(turns)].ids[: turns[(n + 1) % len(turns)].start].tolist())
        for n, turn in enumerate(turns)
    ]


def change_template(samples: OwnSamples, model: LoadedModel) -> list[TokenizedTurn]:
    """Set every answer behind its own question in a template that the model was not trained with."""
    plain = Template("plain", PLAIN_TEMPLATE, {"bos_token": ""})
    rendered = [plain.render([Message("user", question.text)], is_prompt=True) for question in samples.questions]
    tokenizer: Any = model.tokenizer
    encoded = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    return [_take_prompt(turn, prompt) for turn, prompt in zip(samples.turns, encoded, strict=True)]


ERRORS: Final[dict[str, Callable[[OwnSamples, LoadedModel], list[TokenizedTurn]]]] = {
    "prompt tokens counted in": count_prompts_in,
    "another row's prompt": swap_prompts,
    "another template": change_template,
}
