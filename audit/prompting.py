"""Turns behind the system prompts of traits, and what these prompts do to the likelihood of the responses.

Knows how a system prompt comes into a conversation; what is measured then is `audit.model.prompted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeGuard

import numpy as np

from audit.model.chat import RenderedTurn, TokenizedTurn, UnscoredTurn, render_turn, takes_system, tokenize_turns
from audit.model.prompted import Contrast, PromptedTurn, measure_ratios
from audit.samples import Message, Turn
from audit.specs import choose_pairs
from audit.states import PromptedEvidence, ScoringJob, TurnState

_SYSTEM_ROLES = ("system", "developer")


def prompt_turn(turn: Turn, text: str, *, has_system: bool) -> Turn | None:
    """Return a turn whose conversation opens with a system prompt, before the one that it has.

    A model without a system role gets it with the first question, as extraction gives it; without one there is None.
    """
    roles = _SYSTEM_ROLES if has_system else ("user",)
    place = next((place for place, message in enumerate(turn.prompt) if message.role in roles), None)
    # A system message further down is no opening one, and stays where it is.
    if has_system and place != 0:
        return replace(turn, prompt=(Message("system", text), *turn.prompt))
    if place is None:
        return None
    message = turn.prompt[place]
    opened = replace(message, content=f"{text}\n\n{message.content}")
    return replace(turn, prompt=(*turn.prompt[:place], opened, *turn.prompt[place + 1 :]))


def measure_prompted(states: Sequence[TurnState], job: ScoringJob) -> None:
    """Fill in `prompted` of tokenized turns; NaN for a trait without a specification, or with a context that fails.

    A context fails that the template refuses, that does not fit, or in which the response is other tokens.
    """
    # A response that was cut leaves no room for more of a prompt.
    read = [(state, state.tokens) for state in states if state.tokens is not None and not state.tokens.truncated]
    contrasts = _make_contrasts([state.turn for state, _ in read], [tokens for _, tokens in read], job)
    turns = [
        (state, PromptedTurn(state.sample_id, tokens, own))
        for (state, tokens), own in zip(read, contrasts, strict=True)
        if any(contrast is not None for contrast in own)
    ]
    kept = [(state, turn) for state, turn in turns if len(turn.targets)]
    found = measure_ratios(job.model, [turn for _, turn in kept], batch_tokens=job.batch_tokens)
    for row, (state, _) in enumerate(kept):
        state.prompted = PromptedEvidence(found.ratio_nk[row], found.z_nk[row], found.gain_nk[row])


def _make_contrasts(
    turns: Sequence[Turn], own: Sequence[TokenizedTurn], job: ScoringJob
) -> list[tuple[Contrast | None, ...]]:
    """Return for every turn and trait its contexts; None where one of them fails."""
    has_system = takes_system(job.model)
    sides: tuple[Literal["positive", "negative"], ...] = ("positive", "negative")
    texts = {
        (trait, side): [spec.system_prompt(pair, side) for pair in choose_pairs(spec)]
        for trait, spec in job.specs.items()
        for side in sides
    }
    rendered: dict[tuple[int, str], RenderedTurn] = {}
    for position, turn in enumerate(turns):
        for text in (text for side_texts in texts.values() for text in side_texts):
            prompted = prompt_turn(turn, text, has_system=has_system)
            outcome = None if prompted is None else render_turn(job.model, prompted)
            if isinstance(outcome, RenderedTurn):
                rendered[position, text] = outcome
    tokenized = dict(zip(rendered, tokenize_turns(job.model, list(rendered.values()), job.max_tokens), strict=True))

    def find_side(position: int, trait: str, side: Literal["positive", "negative"]) -> tuple[TokenizedTurn, ...]:
        found = [tokenized.get((position, text)) for text in texts.get((trait, side), [])]
        good = tuple(tokens for tokens in found if _has_same_response(tokens, own[position]))
        return good if len(good) == len(found) else ()

    def find_contrast(position: int, trait: str) -> Contrast | None:
        positive, negative = find_side(position, trait, "positive"), find_side(position, trait, "negative")
        return Contrast(positive, negative) if positive and negative else None

    return [tuple(find_contrast(position, trait) for trait in job.units) for position in range(len(turns))]


def _has_same_response(found: TokenizedTurn | UnscoredTurn | None, own: TokenizedTurn) -> TypeGuard[TokenizedTurn]:
    return (
        isinstance(found, TokenizedTurn)
        and found.start > 0
        and np.array_equal(found.ids[found.start :], own.ids[own.start :])
    )
