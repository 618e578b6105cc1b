"""Which combinations of words belong to which use: a fixed split by hash, not by chance.

The split is a property of the words, so that it holds for every seed: training, vector
extraction and shipped datasets cannot meet by drawing the same combination twice.
"""

import hashlib
from typing import Literal

Pool = Literal["common", "extraction", "held_out"]


def _percent(*words: str) -> int:
    digest = hashlib.sha256("\x1f".join(words).encode()).digest()
    return int.from_bytes(digest[:4]) % 100


def is_held_out(*words: str) -> bool:
    """Say whether a word pair is among the 15 % that training never shows."""
    return _percent(*words) < 15


def pool_of(*slots: str) -> Pool:
    """Name the pool of a question from its slots.

    15 % are held out of training; 10 % serve to extract vectors (seen in training, in no shipped
    dataset); the rest is common.
    """
    percent = _percent("question", *slots)
    return "held_out" if percent < 15 else "extraction" if percent < 25 else "common"
