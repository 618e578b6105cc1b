"""Pairs of question and answer made into prompts, and the numbers back into judgements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from audit.judges.prompts import coherence_prompt, trait_prompt
from audit.traits import Judgement, TraitSpec

NOTHING_SAID = Judgement(trait=0.0, coherence=0.0)
"""Of an empty answer, which no judge has to be asked about."""

Rate = Callable[[list[str]], list[float | None]]
"""Answers distinct prompts with numbers, in order; None: void."""


def judge_pairs(spec: TraitSpec, asked: Sequence[tuple[str, str]], rate: Rate) -> list[Judgement]:
    """Judge pairs, in order; of equal pairs one is rated."""
    prompts = {
        pair: (trait_prompt(spec, *pair), coherence_prompt(*pair)) for pair in dict.fromkeys(asked) if pair[1].strip()
    }
    listed = [prompt for both in prompts.values() for prompt in both]
    numbers = dict(zip(listed, rate(listed), strict=True))
    found = {pair: Judgement(*(numbers[prompt] for prompt in both)) for pair, both in prompts.items()}
    return [found.get(pair, NOTHING_SAID) for pair in asked]
