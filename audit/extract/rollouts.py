"""What a model is asked for a trait: every question under every system prompt of both sides, and under none.

Source: arXiv 2507.21509, section 2.2: five pairs of prompts, twenty questions, several answers each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from audit.samples import Message
from audit.traits import TraitSpec

Side = Literal["positive", "negative", "neutral"]
Kind = Literal["extraction", "evaluation"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One answer that is asked for.

    Attributes:
        side: whose system prompt stands before the question; `neutral` has none.
        pair: of system prompts; 0 for a neutral one.
        question: its place among the questions of its kind.
        draw: answers to the same prompt differ by it.
    """

    side: Side
    kind: Kind
    pair: int
    question: int
    draw: int
    system: str
    text: str


def plan_pairs(spec: TraitSpec, kind: Kind, n_rollouts: int) -> list[tuple[Rollout, Rollout]]:
    """Return the positive and negative rollouts of a trait in pairs that differ in the system prompt alone."""
    questions = spec.extraction_questions if kind == "extraction" else spec.evaluation_questions
    return [
        (
            Rollout("positive", kind, pair, question, draw, spec.system_prompt(pair, "positive"), text),
            Rollout("negative", kind, pair, question, draw, spec.system_prompt(pair, "negative"), text),
        )
        for question, text in enumerate(questions)
        for pair in range(len(spec.pairs))
        for draw in range(n_rollouts)
    ]


def plan_neutral(specs: Sequence[TraitSpec]) -> list[Rollout]:
    """Return one rollout without a system prompt for every evaluation question; all traits share them."""
    questions = dict.fromkeys(text for spec in specs for text in spec.evaluation_questions)
    return [Rollout("neutral", "evaluation", 0, place, 0, "", text) for place, text in enumerate(questions)]


def make_messages(rollout: Rollout, *, has_system: bool) -> tuple[Message, ...]:
    """Return the messages before an answer; a model without a system role gets the prompt with the question."""
    if not rollout.system:
        return (Message("user", rollout.text),)
    if has_system:
        return (Message("system", rollout.system), Message("user", rollout.text))
    return (Message("user", f"{rollout.system}\n\n{rollout.text}"),)
