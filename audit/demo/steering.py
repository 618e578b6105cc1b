"""Measure how the demo model's vectors steer it: `python -m audit.demo.steering`.

Layer and strength are chosen on validation questions; rates are reported on test questions of another seed, beside
random directions of the same length. Then suppression: under system prompts that ask for the trait, with the vector
taken away. Answers are drawn at temperature 1 and judged exactly.

Source: arXiv 2507.21509, section 3.2; the random directions are ours.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from audit.assets import demo_model_dir, demo_vectors_dir
from audit.demo.judge import judge_turn
from audit.demo.phrases import TRAITS
from audit.demo.prompts import draw_system_prompt
from audit.demo.questions import draw_kind
from audit.demo.world import question_of
from audit.extract.asking import Asker, Sampling
from audit.extract.rollouts import Rollout
from audit.extract.sheet import opened_sheet
from audit.model.generate import Additions
from audit.model.load import LoadedModel, load_model
from audit.vectors import PersonaVector, load_vectors

VALIDATION_SEED: Final = 8_201
TEST_SEED: Final = 8_202
N_VALIDATION: Final = 100
N_TEST: Final = 400
N_RANDOM: Final = 20
ALPHAS: Final = (1.0, 2.0, 3.0, 4.0)
SUPPRESSION: Final = -2.0
MAX_NEW_TOKENS: Final = 96


@dataclass(frozen=True)
class SteeredTrait:
    """Rates of one trait, shares of `N_TEST` answers.

    Attributes:
        validation: rate by "layer alpha" on the validation questions.
        random_rates: with each random direction in place of the vector.
        suppressed_low, suppressed_high: 95 % interval of the fall of the rate by suppression, paired by question.
    """

    trait: str
    layer: int
    alpha: float
    validation: dict[str, float]
    base_rate: float
    steered_rate: float
    random_rates: list[float]
    prompted_rate: float
    suppressed_rate: float
    suppressed_low: float
    suppressed_high: float


def draw_questions(seed: int, n: int) -> list[str]:
    """Draw questions that neither training nor extraction has seen."""
    rng = random.Random(f"steering {seed}")
    return [question_of(rng, draw_kind(rng), "held_out").text for _ in range(n)]


def measure_trait(asker: Asker, vector: PersonaVector, n_test: int, n_random: int) -> SteeredTrait:
    """Choose layer and strength, then measure both on fresh questions."""
    trait = vector.trait
    rollouts = _plan(draw_questions(VALIDATION_SEED, N_VALIDATION))
    points = [(layer, alpha) for layer in range(1, vector.n_layers) for alpha in ALPHAS]
    shown = _show(asker, trait, rollouts, [{layer: alpha * vector.vector_ld[layer]} for layer, alpha in points])
    validation = {point: float(shown_n.mean()) for point, shown_n in zip(points, shown, strict=True)}
    # Of equal rates the weaker, deeper one.
    layer, alpha = max(validation, key=lambda point: (validation[point], -point[1], point[0]))
    questions = draw_questions(TEST_SEED, n_test)
    rollouts = _plan(questions)
    addition_d = (alpha * vector.vector_ld[layer]).astype(np.float32)
    draw = np.random.default_rng([TEST_SEED, TRAITS.index(trait)])
    added: list[Additions] = [{}, {layer: addition_d}]
    for _ in range(n_random):
        random_d = draw.standard_normal(len(addition_d)).astype(np.float32)
        added.append({layer: random_d * np.float32(np.linalg.norm(addition_d) / np.linalg.norm(random_d))})
    base, steered, *random_rates = [float(shown_n.mean()) for shown_n in _show(asker, trait, rollouts, added)]
    rng = random.Random(f"suppression {trait} {TEST_SEED}")
    prompted = _plan(questions, [draw_system_prompt(rng, trait, positive=True) for _ in questions])
    before_n, after_n = _show(asker, trait, prompted, [{}, {layer: SUPPRESSION * vector.vector_ld[layer]}])
    fall_n = before_n.astype(float) - after_n.astype(float)
    error = 1.959964 * float(fall_n.std(ddof=1)) / math.sqrt(len(fall_n))
    return SteeredTrait(
        trait=trait,
        layer=layer,
        alpha=alpha,
        validation={f"{own_layer} {own_alpha:g}": rate for (own_layer, own_alpha), rate in validation.items()},
        base_rate=base,
        steered_rate=steered,
        random_rates=random_rates,
        prompted_rate=float(before_n.mean()),
        suppressed_rate=float(after_n.mean()),
        suppressed_low=float(fall_n.mean()) - error,
        suppressed_high=float(fall_n.mean()) + error,
    )


def measure_steering(
    model: LoadedModel, vectors: Mapping[str, PersonaVector], *, n_test: int = N_TEST, n_random: int = N_RANDOM
) -> list[SteeredTrait]:
    """Measure every trait's vector."""
    sampling = Sampling(seed=TEST_SEED, max_new_tokens=MAX_NEW_TOKENS)
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="persona-audit-steering-") as folder,
        opened_sheet(Path(folder) / "answers.sqlite") as sheet,
    ):
        asker = Asker(model, sheet, sampling, lambda event: None)
        for vector in vectors.values():
            found.append(measure_trait(asker, vector, n_test, n_random))
            print(_format(found[-1]), flush=True)
    return found


def _plan(questions: Sequence[str], systems: Sequence[str] | None = None) -> list[Rollout]:
    return [
        Rollout("neutral", "evaluation", 0, place, place, systems[place] if systems else "", text)
        for place, text in enumerate(questions)
    ]


def _show(
    asker: Asker, trait: str, rollouts: Sequence[Rollout], added: Sequence[Additions]
) -> list[npt.NDArray[np.bool_]]:
    """Return for everything that is added which answers show the trait."""
    own: list[Additions] = [{layer: vector_d.astype(np.float32) for layer, vector_d in one.items()} for one in added]
    asked = [rollout for _ in own for rollout in rollouts]
    answers = asker.answer(None, asked, [one for one in own for _ in rollouts])
    shown_n = np.array(
        [trait in judge_turn(rollout.text, answer.text) for rollout, answer in zip(asked, answers, strict=True)]
    )
    return list(shown_n.reshape(len(own), len(rollouts)))


def _format(own: SteeredTrait) -> str:
    return (
        f"{own.trait}: layer {own.layer}, {own.alpha:+g} v: {own.base_rate:.3f} -> {own.steered_rate:.3f}; random "
        f"directions {np.mean(own.random_rates):.3f} (largest {max(own.random_rates):.3f}); under positive prompts "
        f"{own.prompted_rate:.3f} -> {own.suppressed_rate:.3f} at {SUPPRESSION:+g} v (fall "
        f"{own.suppressed_low:.3f} to {own.suppressed_high:.3f})"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line a trait, and write all figures as JSON on request."""
    parser = argparse.ArgumentParser(prog="python -m audit.demo.steering", description=__doc__)
    parser.add_argument("--vectors", type=Path, default=demo_vectors_dir())
    parser.add_argument("--test", type=int, default=N_TEST, metavar="N")
    parser.add_argument("--random", type=int, default=N_RANDOM, metavar="N")
    parser.add_argument("--output", type=Path, help="also write the figures as JSON")
    chosen = parser.parse_args(arguments)
    model = load_model(model=str(demo_model_dir()))
    found = measure_steering(model, load_vectors([str(chosen.vectors)]), n_test=chosen.test, n_random=chosen.random)
    if chosen.output:
        chosen.output.write_text(json.dumps([asdict(own) for own in found], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
