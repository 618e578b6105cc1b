"""A prompt on its way to an answer: what both ways of generating fill in."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from audit.answers import Answer
from audit.model.load import LoadedModel


@dataclass(slots=True, eq=False)
class PromptRow:
    """A prompt and what has been generated so far.

    Attributes:
        ids: token ids of the prompt.
        room: most tokens of the answer.
        finished: the model ended the answer itself.
        answer: token ids generated so far, without the one that ends it.
        end_id: the token that ended it.
        cut_text: the answer's text where a stop text ended it.
        is_lost: the model cannot name the next token: its logits are not numbers, and the largest is one by chance.
        draws: a number from 0 to 1 for every token of the answer, which is drawn by them; None: greedy.
        temperature: of what is drawn.
        additions: layer to a vector [d] that is added there while the answer is made.
    """

    ids: list[int]
    room: int
    finished: bool = False
    answer: list[int] = field(default_factory=list)
    end_id: int | None = None
    cut_text: str | None = None
    is_lost: bool = False
    draws: npt.NDArray[np.float64] | None = None
    temperature: float = 1.0
    additions: Mapping[int, npt.NDArray[np.float32]] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to be generated."""
        return self.finished or self.is_lost or len(self.answer) >= self.room

    @property
    def n_tokens(self) -> int:
        """Tokens of the prompt and of the answer so far."""
        return len(self.ids) + len(self.answer)

    def grow(self, tokens: Sequence[int], stop_ids: Container[int]) -> None:
        """Take generated tokens up to the end of the answer; what comes after it is dropped."""
        for token in tokens:
            if self.is_done:
                return
            if token in stop_ids:
                self.finished, self.end_id = True, token
            else:
                self.answer.append(token)

    def begin_anew(self) -> None:
        """Forget what has been generated."""
        self.answer, self.end_id, self.cut_text, self.finished, self.is_lost = [], None, None, False, False

    def cut_at(self, model: LoadedModel, stop_text: str) -> None:
        """End the answer where the model begins to speak for the user, as models without end-of-turn tokens do."""
        text, found, _ = _decode(model, self.answer).partition(stop_text) if stop_text else ("", "", "")
        if found:
            n_kept = 0
            while len(_decode(model, self.answer[:n_kept])) < len(text):
                n_kept += 1
            self.answer, self.cut_text, self.finished = self.answer[:n_kept], text, True

    def to_answer(self, model: LoadedModel) -> Answer:
        """Return the answer as text."""
        text = _decode(model, self.answer) if self.cut_text is None else self.cut_text
        return Answer(text=text, n_tokens=len(self.answer), finished=self.finished)


def _decode(model: LoadedModel, ids: list[int]) -> str:
    return str(model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
