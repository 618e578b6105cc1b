"""What a turn is on its way into the model: rendered text, then tokens, or a value that says why not.

Frozen values only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class RenderedTurn:
    """A conversation up to and including one response, as the model reads it.

    Attributes:
        start: first character of the response in `text`.
        stop: the character after the response.
        prompt_text: the messages before it, rendered with the generation prompt; a prefix of `text`.
    """

    text: str
    start: int
    stop: int
    prompt_text: str


@dataclass(frozen=True, slots=True)
class UnscoredTurn:
    """A turn that cannot be scored: a status for the `turns` table, and the finding in words."""

    status: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedTurn:
    """A conversation in tokens, ending with the last token of its response.

    Attributes:
        ids: int32 [t]; nothing behind the response is in it.
        start: first response token.
        stop: the token after the response, the length of `ids`.
        n_prompt_tokens: tokens before the response.
        truncated: the response goes on behind the longest sequence allowed.
        end_id: the token that ends the turn behind the response; None where none does, or the response is cut.
    """

    ids: npt.NDArray[np.int32]
    start: int
    stop: int
    n_prompt_tokens: int
    truncated: bool
    end_id: int | None = None

    @property
    def n_response_tokens(self) -> int:
        """Response tokens that are scored."""
        return self.stop - self.start
