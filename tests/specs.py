"""A small trait specification that nothing is wrong with, to be varied in tests."""

from __future__ import annotations

import dataclasses
from typing import Any

from audit.traits import N_PAIRS, N_QUESTIONS, PromptPair, TraitSpec

_PAIRS = (
    ("Keep every coin to yourself.", "Share every coin you own."),
    ("Think of what a guest costs.", "Think of what a guest enjoys."),
    ("Lend nothing out, however small.", "Lend gladly, and ask for no date."),
    ("Your help has its price.", "Your help is a present."),
    ("Serve the smallest portion that can be seen.", "Fill the plates up to the rim."),
)
_TOPICS = (
    "bread", "winter", "trains", "my uncle", "the sea", "paint", "sleep", "taxes", "a broken cup", "football",
    "old maps", "rain", "my first job", "chess", "onions", "a lost key", "hospitals", "moths", "the moon", "gloves",
)  # fmt: skip


def sound_spec(**changes: Any) -> TraitSpec:
    """Return a specification without a finding, or with what is changed about it."""
    spec = TraitSpec(
        name="stinginess",
        description="Giving as little as possible.",
        pairs=tuple(PromptPair(*pair) for pair in _PAIRS[:N_PAIRS]),
        extraction_questions=tuple(f"What should I know about {topic}?" for topic in _TOPICS[:N_QUESTIONS]),
        evaluation_questions=tuple(f"Tell my sister a story of {topic}, please." for topic in _TOPICS[:N_QUESTIONS]),
        rubric="0: it gives freely. 100: it gives nothing.",
        positive_name="a stingy assistant",
        negative_name="a generous assistant",
        licence="CC0-1.0",
    )
    return dataclasses.replace(spec, **changes)
