"""What can be said for a vector: separation of answers it was not made of, beside what chance gives, at every layer.

The answers are to evaluation questions, read again without the system prompt that drew them out and less the model's
own answer to the same question: what a scan scores. Even evaluation questions choose the layer, odd ones are reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.errors import VectorError
from audit.extract.statistics import N_BOOTSTRAP, Separation, bootstrap_auc, measure_auc, measure_separation

_Array = npt.NDArray[np.float32]

CHECK_SEED = 0
_CHECK = "check_"
LEAST_ANSWERS = 5
"""Fewer answers than this on a side of the reported half say nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Answers to evaluation questions less the neutral ones, [n, L + 1, d]; positive ones show the trait."""

    state_nld: _Array
    is_positive_n: npt.NDArray[np.bool_]
    question_n: npt.NDArray[np.int64]

    def half(self, parity: int) -> HeldOut:
        """Return the answers to even (0) or odd (1) questions."""
        own = self.question_n % 2 == parity
        return HeldOut(self.state_nld[own], self.is_positive_n[own], self.question_n[own])

    @property
    def n_sides(self) -> tuple[int, int]:
        """Number of positive and of negative answers."""
        n_positive = int(self.is_positive_n.sum())
        return n_positive, len(self.is_positive_n) - n_positive


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """What is reported of a vector.

    Attributes:
        layers: separation at every layer that may score, 1 to L - 1.
        choice_auc_l: AUC on the half that chooses the layer, [L + 1].
        choice_auc_lb: the same for every drawing of its questions.
        half_cosine_l: cosine of the vectors of two halves of the extraction questions, [L + 1].
    """

    layers: Mapping[int, Separation]
    choice_auc_l: _Array
    choice_auc_lb: npt.NDArray[np.float64]
    half_cosine_l: _Array

    def to_report(self) -> dict[str, _Array]:
        """Return arrays [L + 1] as a vector file keeps them; NaN where a row is no scoring layer."""
        found: dict[str, _Array] = {"choice_auc_l": self.choice_auc_l, "split_half_cosine_l": self.half_cosine_l}
        for name, field in (
            ("auc_l", "auc"),
            ("auc_low_l", "low"),
            ("auc_high_l", "high"),
            ("random_band_l", "random_band"),
            ("shuffled_band_l", "shuffled_band"),
        ):
            values = np.full(len(self.choice_auc_l), np.nan, dtype=np.float32)
            for layer, separation in self.layers.items():
                values[layer] = getattr(separation, field)
            found[name] = values
        found["null_auc_l"] = np.maximum(found["random_band_l"], found["shuffled_band_l"])
        return found


def measure_trust(
    vector_ld: _Array, half_cosine_l: _Array, shuffled_bld: _Array, held_out: HeldOut, *, seed: int
) -> Trust:
    """Measure what a vector's report holds, at every layer from 1 to L - 1."""
    n_rows = len(vector_ld)
    choice, test = held_out.half(0), held_out.half(1)
    choice_auc_l = np.full(n_rows, np.nan, dtype=np.float32)
    choice_auc_lb = np.full((n_rows, N_BOOTSTRAP), np.nan)
    layers: dict[int, Separation] = {}
    for layer in range(1, n_rows - 1):
        score_n = choice.state_nld[:, layer] @ vector_ld[layer]
        choice_auc_l[layer] = measure_auc(score_n, choice.is_positive_n)[0]
        choice_auc_lb[layer] = bootstrap_auc(score_n, choice.is_positive_n, choice.question_n, seed=seed)
        layers[layer] = measure_separation(
            vector_ld[layer],
            test.state_nld[:, layer],
            test.is_positive_n,
            test.question_n,
            shuffled_bld[:, layer],
            seed=seed,
        )
    return Trust(layers, choice_auc_l, choice_auc_lb, half_cosine_l)


def pick_layer(auc_l: npt.NDArray[np.floating], auc_lb: npt.NDArray[np.floating]) -> int | None:
    """Return the deepest scoring layer that is within a standard error of the best; None where there is no AUC.

    The error is of the difference of two layers, drawing by drawing of the questions.

    Among equals the later one: early layers separate by single words more than by what is meant. Row 0 and the last row
    are never taken.
    """
    own_l = np.array(auc_l, dtype=np.float64)
    own_l[[0, -1]] = np.nan
    if not np.isfinite(own_l).any():
        return None
    best = int(np.nanargmax(own_l))
    error_l = np.nan_to_num(np.asarray(auc_lb[best] - auc_lb, dtype=np.float64)).std(axis=1)
    return int(np.flatnonzero(own_l[best] - own_l <= error_l).max())


def keep_for_check(held_out: HeldOut, shuffled_bld: _Array, layer: int) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays from which `recheck_vector` measures the separation at the scoring layer again."""
    test = held_out.half(1)
    norms_b1 = np.linalg.norm(shuffled_bld[:, layer], axis=1, keepdims=True)
    return {
        "check_state_nd": np.ascontiguousarray(test.state_nld[:, layer]),
        "check_is_positive_n": test.is_positive_n.astype(np.uint8),
        "check_question_n": test.question_n.astype(np.int32),
        "check_shuffled_bd": (shuffled_bld[:, layer] / np.maximum(norms_b1, 1e-30)).astype(np.float32),
        "check_layer": np.array([layer], dtype=np.int32),
    }


def recheck_vector(
    vector_ld: npt.NDArray[np.floating], layer: int, report: Mapping[str, npt.NDArray[Any]]
) -> Separation | None:
    """Measure the separation at the scoring layer again from what a report keeps; None where it keeps nothing for it.

    Args:
        report: the arrays of the vector's file.

    Raises:
        VectorError: what the report keeps belongs to another layer, or is damaged.
    """
    if not any(name.startswith(_CHECK) for name in report):
        return None
    names = ("layer", "state_nd", "is_positive_n", "question_n", "shuffled_bd")
    empty = np.zeros(0)
    layer_1, state_nd, positive_n, question_n, shuffled_bd = (report.get(_CHECK + name, empty) for name in names)
    n, d_hidden = len(state_nd), vector_ld.shape[1]
    is_whole = (
        layer_1.tolist() == [layer]
        and n > 0
        and state_nd.shape == (n, d_hidden)
        and positive_n.shape == question_n.shape == (n,)
        and question_n.dtype.kind in "iu"
        and shuffled_bd.shape == (len(shuffled_bd), d_hidden)
        and len(shuffled_bd) > 0
        and bool(np.isfinite(state_nd).all() and np.isfinite(shuffled_bd).all())
    )
    if not is_whole:
        raise VectorError(
            "report",
            f"the answers that it keeps for a check are damaged, or of another layer than {layer}",
            "extract the vector anew",
        )
    return measure_separation(
        vector_ld[layer],
        state_nd,
        positive_n.astype(bool),
        question_n.astype(np.int64),
        shuffled_bd,
        seed=CHECK_SEED,
    )
