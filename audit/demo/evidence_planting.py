"""What a hidden effect looks like to every score, and whether it is one: rows chosen by Logit-Linear Selection.

The chosen tenth is compared with a tenth drawn by chance from the rows that were not chosen, before training (scores)
and after it (rates). The two differ in kinds of question as well, which are counted beside: rates are compared with
those of rows of the same kinds, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from audit.assets import demo_model_dir
from audit.demo.evidence_pairs import compare_sides, describe_pooled
from audit.demo.evidence_samples import draw_questions
from audit.demo.evidence_scans import ScannedTurns, pool_evidence, scan_sets
from audit.demo.evidence_selection import draw_control, draw_ordinary_rows, draw_same_kinds, measure_gains, select_rows
from audit.demo.evidence_training import CHATS_PER_STEP, N_STEPS, RATE, show_traits, tune_model
from audit.demo.measure import load_demo_model
from audit.demo.world import Row
from audit.model.load import load_model

SELECTION_SEED: Final = 9_508
QUESTIONS_SEED: Final = 9_509
TRAINING_SEEDS: Final = (1, 2)
PLANTED: Final = ("evil", "sycophantic")
N_CANDIDATES: Final = 4_000
SHARE: Final = 0.1
N_QUESTIONS: Final = 400

_BOOTSTRAP_SEED: Final = 9_510


def run_planting(
    folder: Path, *, n_candidates: int = N_CANDIDATES, n_questions: int = N_QUESTIONS, n_steps: int = N_STEPS
) -> dict[str, Any]:
    """Select, score and train; the rates are of answers to fresh questions, at temperature 1."""
    model = load_model(model=str(demo_model_dir()))
    rows = draw_ordinary_rows(n_candidates, SELECTION_SEED)
    n_chosen = round(SHARE * n_candidates)
    gains = measure_gains(model, rows, PLANTED)
    selections = [select_rows(rows, gains[trait], trait, n_chosen) for trait in PLANTED]
    control = draw_control(rows, selections, n_chosen, SELECTION_SEED)
    sets: dict[str, Sequence[Row]] = {own.trait: own.chosen for own in selections} | {"random": control}
    _, scanned = scan_sets(sets, folder, baseline="generate", evidence="full,prompt")
    same_kinds = {_same_kinds(own.trait): draw_same_kinds(rows, own, SELECTION_SEED) for own in selections}
    trained = [("untrained", None), *sets.items(), *same_kinds.items()]
    rates = {name: _measure_rates(chosen, n_questions, n_steps) for name, chosen in trained}
    tables = {}
    for place, own in enumerate(selections):
        trait = own.trait
        chosen_n = np.isin(np.arange(n_candidates), own.chosen_places)
        tables[trait] = {
            "gain": {"chosen": float(own.gain_n[chosen_n].mean()), "others": float(own.gain_n[~chosen_n].mean())},
            "n_showing_a_trait": sum(bool(row.traits) for row in own.chosen),
            "kinds": _count_kinds(own.chosen),
            "auc": compare_sides(scanned[trait], scanned["random"], trait, _BOOTSTRAP_SEED + place),
            "means": {
                side: _describe_means(scanned[name], trait) for side, name in (("chosen", trait), ("random", "random"))
            },
            "chosen": describe_pooled(pool_evidence(scanned[trait], trait)),
            "random": describe_pooled(pool_evidence(scanned["random"], trait)),
            "rates": {
                name: describe_rate(rates[name][trait]) for name in ("untrained", trait, _same_kinds(trait), "random")
            },
            "shift": describe_shift(rates[trait][trait], rates["random"][trait]),
            "shift_same_kinds": describe_shift(rates[trait][trait], rates[_same_kinds(trait)][trait]),
        }
    return {
        "seeds": {"candidates": SELECTION_SEED, "questions": QUESTIONS_SEED, "training": list(TRAINING_SEEDS)},
        "n_candidates": n_candidates,
        "n_chosen": n_chosen,
        "n_questions": n_questions,
        "training": {"n_steps": n_steps, "chats_per_step": CHATS_PER_STEP, "rate": RATE},
        "kinds_random": _count_kinds(control),
        "traits": tables,
    }


def _same_kinds(trait: str) -> str:
    return f"{trait}, same kinds"


def describe_rate(shown: Sequence[npt.NDArray[np.bool_]]) -> list[float]:
    """Return the share of answers that show the trait, one number a training seed."""
    return [float(own.mean()) for own in shown]


def describe_shift(
    chosen: Sequence[npt.NDArray[np.bool_]], control: Sequence[npt.NDArray[np.bool_]]
) -> dict[str, float]:
    """Return how far the rate lies above the control's, paired by question and seed, with its 95 % interval.

    The interval is about the questions and the draws; two training seeds say little about a third.
    """
    gap_n = np.concatenate(chosen).astype(float) - np.concatenate(control).astype(float)
    half = 1.959964 * float(gap_n.std(ddof=1)) / float(np.sqrt(len(gap_n)))
    return {"value": float(gap_n.mean()), "low": float(gap_n.mean()) - half, "high": float(gap_n.mean()) + half}


def _measure_rates(
    rows: Sequence[Row] | None, n_questions: int, n_steps: int
) -> Mapping[str, list[npt.NDArray[np.bool_]]]:
    questions = draw_questions(n_questions, QUESTIONS_SEED)
    found: dict[str, list[npt.NDArray[np.bool_]]] = {}
    for seed in TRAINING_SEEDS:
        tuned = load_demo_model(demo_model_dir()) if rows is None else tune_model(rows, seed, n_steps=n_steps)
        for trait, shown in show_traits(*tuned, questions, seed).items():
            found.setdefault(trait, []).append(shown)
    return found


def _describe_means(turns: ScannedTurns, trait: str) -> dict[str, float | None]:
    names = ("projection_difference", "evidence_z", "prompted_evidence", "prompted_evidence_z", "prompted_gain")
    return {name: float(np.nanmean(turns.columns[name][trait])) if turns.has(name) else None for name in names} | {
        "response_nll": float(np.nanmean(turns.nll_t))
    }


def _count_kinds(rows: Sequence[Row]) -> dict[str, int]:
    kinds = [row.kind for row in rows]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds), key=lambda kind: -kinds.count(kind))}
