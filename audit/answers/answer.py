"""What an answer is, and what decides it: two askers with one key get one answer.

Frozen values only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A generated response.

    Attributes:
        text: without special tokens; empty where the prompt leaves no room or the model ends at once.
        n_tokens: generated tokens before the one that ends the response.
        finished: the model ended the response itself.
    """

    text: str
    n_tokens: int
    finished: bool


@dataclass(frozen=True, slots=True)
class FailedAnswer:
    """Why a prompt has no answer, for good.

    Attributes:
        is_passing: another time it might have had one; what refused it did not refuse the prompt itself.
    """

    reason: str
    is_passing: bool = False


@dataclass(frozen=True)
class Generator:
    """Who answers, and how.

    Attributes:
        model: the model's name for people; no part of what is compared.
        identity: everything that decides an answer beside the prompt, as JSON values.
    """

    model: str
    identity: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the identity, in hex."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    def key(self, prompt: str) -> bytes:
        """Return what this generator's answer to a prompt is stored under; it does not tell the prompt."""
        return hashlib.sha256(self.digest.encode() + b"\0" + prompt.encode("utf-8", "surrogatepass")).digest()
