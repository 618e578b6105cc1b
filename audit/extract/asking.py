"""Have the model answer rollouts and the judge judge them, shard by shard; what is on the sheet already is not asked.

Knows neither activations nor vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from audit.answers import Answer, Generator, seed_of
from audit.events import Event, Listener, StageAdvanced, StageFinished, StageStarted
from audit.extract.rollouts import Rollout, make_messages
from audit.extract.sheet import RolloutSheet
from audit.model.chat import RenderedTurn, TokenizedTurn, render_prompt, render_turn, takes_system
from audit.model.generate import GENERATION_VERSION, Additions, sample_answers
from audit.model.load import LoadedModel
from audit.model.tokens import tokenize_turns
from audit.samples import Message, Turn, answer_turn
from audit.traits import Judge, Judgement, TraitSpec

SHARD_ROLLOUTS = 512
"""Answers that are kept together: a kill costs at most so many."""

JUDGED_SHARD = 64


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn."""

    seed: int = 0
    temperature: float = 1.0
    max_new_tokens: int = 256
    batch_tokens: int = 2048


_NOTHING: Additions = {}
_NOTHING_SAID = Judgement(trait=0.0, coherence=0.0)


class Asker:
    """A model that answers rollouts, and the sheet that keeps what it said."""

    def __init__(self, model: LoadedModel, sheet: RolloutSheet, sampling: Sampling, listener: Listener) -> None:
        self.model = model
        self.sampling = sampling
        self._sheet = sheet
        self._listener = listener
        # Where a template leaves a system prompt out, both sides would be asked the same.
        self.has_system = takes_system(model)

    def answer(
        self, stage: str | None, rollouts: Sequence[Rollout], additions: Sequence[Additions] | None = None
    ) -> list[Answer]:
        """Return an answer to every rollout, in order.

        Args:
            stage: what a listener is told; None: nothing.
            additions: for every rollout, layer to a vector [d] that is added there while its answer is made.

        Raises:
            ModelError: a single prompt does not fit into the device's memory.
            RunError: answers cannot be kept.
        """
        prompts = [self._render(rollout) for rollout in rollouts]
        keys = self.find_keys(rollouts, additions)
        answers = self._sheet.read_answers(keys)
        missing = list(dict.fromkeys(key for key in keys if key not in answers))
        self._tell(stage, StageStarted(stage or "", len(keys), "answers", len(keys) - len(missing)))
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        for start in range(0, len(missing), SHARD_ROLLOUTS):
            own = [first[key] for key in missing[start : start + SHARD_ROLLOUTS]]
            found = sample_answers(
                self.model,
                [prompts[place] for place in own],
                seeds=[seed_of(self.sampling.seed, prompts[place], rollouts[place].draw) for place in own],
                temperature=self.sampling.temperature,
                max_new_tokens=self.sampling.max_new_tokens,
                max_tokens=self.model.context_tokens,
                batch_tokens=self.sampling.batch_tokens,
                additions=[additions[place] for place in own] if additions else None,
            )
            made = {keys[place]: (prompts[place], answer) for place, answer in zip(own, found, strict=True)}
            self._sheet.write_answers(made)
            answers |= {key: answer for key, (_, answer) in made.items()}
            self._tell(stage, StageAdvanced(stage or "", len(own)))
        self._tell(stage, StageFinished(stage or ""))
        return [answers[key] for key in keys]

    def judge(
        self,
        stage: str | None,
        judge: Judge,
        spec: TraitSpec,
        rollouts: Sequence[Rollout],
        answers: Sequence[Answer],
        additions: Sequence[Additions] | None = None,
    ) -> list[Judgement]:
        """Return what the judge says of every answer; one of nothing shows nothing, and makes no sense.

        A void judgement is not kept: a server may have failed, and the same command asks again.

        Raises:
            AuditError: the judge cannot be asked at all.
            RunError: judgements cannot be kept.
        """
        digest = _digest({"judge": judge.identity, "spec": spec.digest})
        keys = self.find_keys(rollouts, additions)
        judged = {key: own for key, own in self._sheet.read_judgements(keys, digest).items() if _is_whole(own)}
        missing = [place for place, key in enumerate(keys) if key not in judged and answers[place].text.strip()]
        self._tell(stage, StageStarted(stage or "", len(keys), "answers", len(keys) - len(missing)))
        for start in range(0, len(missing), JUDGED_SHARD):
            own = missing[start : start + JUDGED_SHARD]
            found = judge.judge(spec, [(rollouts[place].text, answers[place].text) for place in own])
            made = {keys[place]: judgement for place, judgement in zip(own, found, strict=True)}
            self._sheet.write_judgements({key: own for key, own in made.items() if _is_whole(own)}, digest)
            judged |= made
            self._tell(stage, StageAdvanced(stage or "", len(own)))
        self._tell(stage, StageFinished(stage or ""))
        return [judged.get(key, _NOTHING_SAID) for key in keys]

    def tokenize(self, rollouts: Sequence[Rollout], answers: Sequence[Answer]) -> list[TokenizedTurn | None]:
        """Return the conversations in tokens; None where the answer is empty or cannot be found in its rendering."""
        found: list[TokenizedTurn | None] = [None] * len(rollouts)
        rendered = {}
        for place, (rollout, answer) in enumerate(zip(rollouts, answers, strict=True)):
            messages = make_messages(rollout, has_system=self.has_system)
            turn = answer_turn(messages, answer.text)
            read = None if turn is None else render_turn(self.model, turn)
            if isinstance(read, RenderedTurn):
                rendered[place] = read
        tokenized = tokenize_turns(self.model, list(rendered.values()), self.model.context_tokens)
        for place, tokens in zip(rendered, tokenized, strict=True):
            found[place] = tokens if isinstance(tokens, TokenizedTurn) and tokens.start else None
        return found

    def find_keys(self, rollouts: Sequence[Rollout], additions: Sequence[Additions] | None = None) -> list[bytes]:
        """Return what the answers are kept under."""
        generators: dict[int, Generator] = {}
        keys = []
        for rollout, own in zip(rollouts, additions or [_NOTHING] * len(rollouts), strict=True):
            if id(own) not in generators:
                generators[id(own)] = Generator(self.model.id, self._identity(own))
            keys.append(generators[id(own)].key(f"{rollout.draw}\0{self._render(rollout)}"))
        return keys

    def _tell(self, stage: str | None, event: Event) -> None:
        if stage is not None:
            self._listener(event)

    def _render(self, rollout: Rollout) -> str:
        return render_prompt(self.model, _open_turn(make_messages(rollout, has_system=self.has_system)))

    def _identity(self, additions: Additions) -> dict[str, Any]:
        adapter = self.model.adapter
        return {
            "model": self.model.fingerprint.to_json(),
            "adapter": adapter.sha256 if adapter else None,
            "dtype": self.model.dtype,
            "version": GENERATION_VERSION,
            "sampling": {"seed": self.sampling.seed, "temperature": self.sampling.temperature},
            "max_new_tokens": self.sampling.max_new_tokens,
            "steered": {
                str(layer): hashlib.sha256(vector_d.tobytes()).hexdigest()
                for layer, vector_d in sorted(additions.items())
            },
        }


def without_system(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """Return the same rollouts as if nobody had set a system prompt."""
    return [replace(rollout, system="") for rollout in rollouts]


def _open_turn(messages: tuple[Message, ...]) -> Turn:
    return Turn("response", len(messages), "answer", messages, "", Message("assistant", ""), "")


def _is_whole(judgement: Judgement) -> bool:
    return judgement.trait is not None and judgement.coherence is not None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
