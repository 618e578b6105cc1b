"""The audited model as its own judge: where there is no other, and weak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from audit.events import Listener, Warned, ignore_events
from audit.judges.numbers import read_number
from audit.judges.pairs import judge_pairs
from audit.judges.prompts import PROMPT_VERSION
from audit.model.generate import GENERATION_VERSION, answer_prompts
from audit.model.load import LoadedModel
from audit.model.template import TemplateRefusal
from audit.samples import Message
from audit.samples.text import clean_text
from audit.traits import Judgement, TraitSpec

_MAX_NEW_TOKENS = 16
_WEAKNESS = (
    "the model judged itself: a model often does not see its own traits, and a small one cannot judge at all; "
    "numbers are read from its text"
)


class SelfJudge:
    """The audited model, asked greedily.

    Attributes:
        n_judged: numbers that were asked for so far.
        n_void: those among them that did not come.
    """

    name = "self"
    weakness = _WEAKNESS

    def __init__(self, model: LoadedModel, *, batch_tokens: int = 8192, listener: Listener = ignore_events) -> None:
        self.n_judged = self.n_void = 0
        self._model = model
        self._batch_tokens = batch_tokens
        self._listener = listener

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a judgement."""
        model = self._model
        return {
            "judge": self.name,
            "model": model.id,
            "fingerprint": model.fingerprint.digest,
            "adapter": None if model.adapter is None else model.adapter.sha256,
            "dtype": model.dtype,
            "generation": GENERATION_VERSION,
            "prompts": PROMPT_VERSION,
            "reading": "text",
        }

    def judge(self, spec: TraitSpec, asked: Sequence[tuple[str, str]]) -> list[Judgement]:
        """Judge pairs of question and answer, in order.

        Raises:
            ModelError: a single prompt does not fit into the device's memory.
        """
        return judge_pairs(spec, asked, self._rate)

    def _rate(self, prompts: list[str]) -> list[float | None]:
        rendered = [self._render(prompt) for prompt in prompts]
        answers = answer_prompts(
            self._model,
            [text for text in rendered if text is not None],
            max_new_tokens=_MAX_NEW_TOKENS,
            max_tokens=self._model.context_tokens,
            batch_tokens=self._batch_tokens,
            seed=0,
        )
        waiting = iter(answers)
        numbers: list[float | None] = []
        for text in rendered:
            answer = None if text is None else next(waiting)
            numbers.append(None if answer is None else read_number(answer.text, is_finished=answer.finished))
        n_void = numbers.count(None)
        self.n_judged += len(prompts)
        self.n_void += n_void
        if n_void:
            self._listener(Warned(f"the model's word as a judge is void in {n_void:,} of {len(prompts):,} cases"))
        return numbers

    def _render(self, prompt: str) -> str | None:
        try:
            return self._model.template.render([Message("user", clean_text(prompt))], is_prompt=True)
        except TemplateRefusal:
            return None
