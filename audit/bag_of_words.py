"""The trivial rival: a logistic regression on which words a row's answers contain.

It sees labels, which no score of the tool does; what it reaches says how much of a trait lies in
single words of a dataset. Knows neither runs nor files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Scripts that write no spaces, from the radicals of Chinese on, give a word per character.
_WORD: Final = re.compile(r"[^\W\d_\u2e80-\U0010ffff]+|\d+|\S")
_N_STEPS: Final = 300
_RATE: Final = 0.05
_L2: Final = 1e-4
_CHUNK_ROWS: Final = 1_000


def _words_of(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _indicate(texts: Sequence[str], columns: dict[str, int]) -> Floats:
    features_nw = np.zeros((len(texts), len(columns)), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in _words_of(text):
            if (column := columns.get(word)) is not None:
                features_nw[row, column] = 1.0
    return features_nw


def fit_bag_of_words(
    texts: Sequence[str], labels_nk: npt.NDArray[np.bool_], others: Sequence[str], *, most_words: int | None = None
) -> Floats:
    """Fit on texts with labels [n, k] and return the logits of other texts, [m, k].

    Args:
        most_words: of the words that more than two texts have, the commonest ones; None: all.
    """
    counts = Counter(word for text in texts for word in _words_of(text))
    common = [word for word, count in counts.most_common(most_words) if count > 2]
    columns = {word: i for i, word in enumerate(sorted(common))}
    features_nw = _indicate(texts, columns)
    targets_nk = labels_nk.astype(np.float32)
    share_k = targets_nk.mean(axis=0).clip(1e-3, 1 - 1e-3)
    weights_wk = np.zeros((len(columns), targets_nk.shape[1]), dtype=np.float32)
    bias_k = np.log(share_k / (1 - share_k)).astype(np.float32)
    first_wk, second_wk = np.zeros_like(weights_wk), np.zeros_like(weights_wk)
    for step in range(1, _N_STEPS + 1):
        # No word of a text weighs so much that it is sure; far out the exponential would overflow.
        logits_nk = np.clip(features_nw @ weights_wk + bias_k, -30.0, 30.0)
        p_nk = 1.0 / (1.0 + np.exp(-logits_nk))
        gradient_wk = features_nw.T @ (p_nk - targets_nk) / len(texts) + _L2 * weights_wk
        # Adam, with its two bias corrections.
        first_wk = 0.9 * first_wk + 0.1 * gradient_wk
        second_wk = 0.999 * second_wk + 0.001 * gradient_wk**2
        scale_wk = np.sqrt(second_wk / (1 - 0.999**step)) + 1e-8
        weights_wk -= _RATE * (first_wk / (1 - 0.9**step)) / scale_wk
    logits = np.empty((len(others), targets_nk.shape[1]), dtype=np.float32)
    for start in range(0, len(others), _CHUNK_ROWS):
        own = others[start : start + _CHUNK_ROWS]
        logits[start : start + len(own)] = _indicate(own, columns) @ weights_wk + bias_k
    return logits
