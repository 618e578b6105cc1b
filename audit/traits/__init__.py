"""The traits room: what a trait is, in words, and what a judge says of an answer. Knows no model and no vector."""

from audit.traits.judgement import Judge, Judgement
from audit.traits.spec import N_PAIRS, N_QUESTIONS, PromptPair, TraitSpec

__all__ = ["N_PAIRS", "N_QUESTIONS", "Judge", "Judgement", "PromptPair", "TraitSpec"]
