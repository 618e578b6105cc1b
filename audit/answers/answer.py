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
        n_samples: answers that are drawn to a prompt, from 2 on; 0: one, which is not drawn. No part of the identity: a
            drawn answer is the same however many others there are.
    """

    model: str
    identity: dict[str, Any]
    n_samples: int = 0

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the identity, in hex."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @property
    def n_answers(self) -> int:
        """Answers to each prompt."""
        return max(self.n_samples, 1)

    def key(self, prompt: str) -> bytes:
        """Return what this generator's answer to a prompt is stored under; it does not tell the prompt."""
        return hashlib.sha256(self.digest.encode() + b"\0" + prompt.encode("utf-8", "surrogatepass")).digest()

    def keys(self, prompt: str) -> list[bytes]:
        """Return what all its answers to a prompt are stored under, in order."""
        if not self.n_samples:
            return [self.key(prompt)]
        return [self.key(f"{sample}\0{prompt}") for sample in range(self.n_samples)]


def seed_of(seed: int, prompt: str, draw: int) -> tuple[int, int, int]:
    """Return the numbers that an answer is drawn with: of the prompt's text, so that nothing else moves them."""
    return seed, draw, int.from_bytes(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def wire_seed_of(seed: int, prompt: str, draw: int) -> int:
    """Return the same for a server, which takes one number of at most 31 bits.

    Prompts that shared a seed would be answered with the same luck, and their errors would not average out.
    """
    numbers = " ".join(map(str, seed_of(seed, prompt, draw)))
    return int.from_bytes(hashlib.sha256(numbers.encode()).digest()[:4], "big") >> 1
