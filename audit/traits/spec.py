"""A trait specification: what is asked of a model, and of a judge, to find the direction of one trait.

Source: arXiv 2507.21509, section 2 and appendix A (five contrastive pairs of system prompts, 20 questions for
extraction and 20 for evaluation, a rubric from 0 to 100).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Literal

N_PAIRS = 5
N_QUESTIONS = 20
"""Of each kind; a specification may have another number, and is told so."""

Side = Literal["positive", "negative"]


@dataclass(frozen=True, slots=True)
class PromptPair:
    """Two system prompts that ask for a trait and against it."""

    positive: str
    negative: str


@dataclass(frozen=True, slots=True)
class TraitSpec:
    """One trait in words.

    Attributes:
        name: a trait name, see `audit.schema.is_trait_name`.
        description: one line.
        pairs: contrastive system prompts.
        extraction_questions: what vectors are measured on.
        evaluation_questions: what they are tried on; none of the others.
        rubric: what a judge is told about the numbers from 0 to 100.
        positive_name: who the assistant is under a positive prompt, with its article: "an evil assistant"; may be
            empty, as may the other.
        negative_name: who it is under a negative prompt: "a helpful assistant".
        opening: the sentence that opens a system prompt, with `{name}` in it.
        language: of prompts and questions, as a BCP 47 tag.
        licence: of the text, as an SPDX identifier.
    """

    name: str
    description: str
    pairs: tuple[PromptPair, ...]
    extraction_questions: tuple[str, ...]
    evaluation_questions: tuple[str, ...]
    rubric: str
    positive_name: str = ""
    negative_name: str = ""
    opening: str = "You are {name}."
    language: str = "en"
    licence: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over all fields, in hex: it changes with every word."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()

    def system_prompt(self, pair: int, side: Side) -> str:
        """Return the system prompt of one side of a pair: the opening with the assistant's name, then its text."""
        text = getattr(self.pairs[pair], side)
        name = self.positive_name if side == "positive" else self.negative_name
        return f"{self.opening.replace('{name}', name)} {text}" if name else str(text)
