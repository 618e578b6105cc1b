"""Extract the demo model's persona vectors: `python -m audit.demo.vectors`.

The recipe of the paper with the exact judge in place of an LLM: contrastive system prompts ×
questions × rollouts at temperature 1; a pair is kept when the positive side shows the trait and
the negative side does not; the vector is the difference of the mean response activations. The
questions are of a pool that no shipped dataset draws from. The layer is the one with the best
separation on a validation set of its own seed.

Source: arXiv 2507.21509, sections 2 and 3. Departure: the layer is chosen by separation, not by
steering.
"""

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from audit import __version__
from audit.assets import DEMO_MODEL_ID
from audit.demo.judge import judge_turn
from audit.demo.measure import decode_responses, generate_responses, load_demo_model, read_responses
from audit.demo.phrases import TRAITS
from audit.demo.prompts import draw_system_prompt
from audit.demo.questions import draw_kind
from audit.demo.scoring import score_rows
from audit.demo.separation import tabulate_separation
from audit.demo.train import ASSETS
from audit.demo.world import Message, audit_rows, question_of, system, user
from audit.model.load import load_model as load_audited_model
from audit.vectors import PersonaVector, save_vector

Floats = npt.NDArray[np.float32]

EXTRACTION_SEED: Final = 7_001
VALIDATION_SEED: Final = 7_002
N_VALIDATION_ROWS: Final = 1_500
N_QUESTIONS: Final = 120
ROLLOUTS_PER_QUESTION: Final = 6
# Less than the standard error of an AUC on the validation set.
LAYER_TOLERANCE: Final = 0.005


@dataclass(frozen=True)
class Extraction:
    """The vector of one trait and how it came about.

    Attributes:
        vector_ld: difference of means, float32 [L + 1, d].
        split_half_l: cosine of the vectors of two halves of the questions, per row.
    """

    trait: str
    vector_ld: Floats
    split_half_l: Floats
    n_pairs: int
    n_kept: int
    positive_rate: float
    negative_rate: float


def draw_extraction_prompts(trait: str, seed: int) -> tuple[list[list[Message]], list[list[Message]]]:
    """Draw the same questions under positive and under negative system prompts."""
    rng = random.Random(f"vector extraction {trait} {seed}")
    positive: list[list[Message]] = []
    negative: list[list[Message]] = []
    for _ in range(N_QUESTIONS):
        question = user(question_of(rng, draw_kind(rng), "extraction").text)
        for _ in range(ROLLOUTS_PER_QUESTION):
            for prompts, is_positive in ((positive, True), (negative, False)):
                prompt = draw_system_prompt(rng, trait, positive=is_positive)
                prompts.append([system(prompt), question])
    return positive, negative


def extract_vector(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, trait: str, seed: int) -> Extraction:
    """Extract the persona vector of one trait."""
    sides = []
    for index, prompts in enumerate(draw_extraction_prompts(trait, seed)):
        responses = generate_responses(model, tokenizer, prompts, is_sampled=True, seed=seed + index)
        shown_n = np.array(
            [
                trait in judge_turn(prompt[-1]["content"], text)
                for prompt, text in zip(prompts, decode_responses(tokenizer, responses), strict=True)
            ]
        )
        reading = read_responses(model, tokenizer, prompts, responses)
        sides.append((shown_n, reading))
    (shown_n, positive), (wrongly_n, negative) = sides
    has_both = (positive.n_tokens_n > 0) & (negative.n_tokens_n > 0)
    kept = shown_n & ~wrongly_n & has_both
    difference_nld = positive.mean_nld[kept] - negative.mean_nld[kept]
    half = np.arange(len(kept))[kept] // ROLLOUTS_PER_QUESTION % 2 == 0
    one_ld, other_ld = difference_nld[half].mean(axis=0), difference_nld[~half].mean(axis=0)
    norms_l = np.linalg.norm(one_ld, axis=1) * np.linalg.norm(other_ld, axis=1)
    return Extraction(
        trait=trait,
        vector_ld=difference_nld.mean(axis=0, dtype=np.float64).astype(np.float32),
        split_half_l=((one_ld * other_ld).sum(axis=1) / norms_l).astype(np.float32),
        n_pairs=len(kept),
        n_kept=int(kept.sum()),
        positive_rate=float(shown_n.mean()),
        negative_rate=float(wrongly_n.mean()),
    )


def choose_layers(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    vectors: Mapping[str, Floats],
    *,
    seed: int,
    n_rows: int = N_VALIDATION_ROWS,
) -> tuple[dict[str, int], dict[str, list[float]]]:
    """Choose each trait's scoring layer on a validation set; return also AUC per layer 1 … L − 1."""
    measured = score_rows(model, tokenizer, list(audit_rows(n_rows, seed)))
    n_layers = model.config.num_hidden_layers
    aucs: dict[str, list[float]] = {trait: [] for trait in vectors}
    for layer in range(1, n_layers):
        scores = measured.project(vectors, dict.fromkeys(vectors, layer), n_random=0)
        for row in tabulate_separation(measured.labels, scores):
            aucs[row.trait].append(row.difference)
    return {trait: pick_layer(auc) for trait, auc in aucs.items()}, aucs


def pick_layer(aucs: Sequence[float]) -> int:
    """Return the deepest layer, counted from 1, that is within `LAYER_TOLERANCE` of the best.

    Among equals the later one: early layers separate by single words more than by what is meant.
    """
    return max(layer for layer, auc in enumerate(aucs, start=1) if auc >= max(aucs) - LAYER_TOLERANCE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Extract the vectors of all traits and save them."""
    parser = argparse.ArgumentParser(prog="python -m audit.demo.vectors", description=__doc__)
    parser.add_argument("--model", type=Path, default=ASSETS / "model")
    parser.add_argument("--output", type=Path, default=ASSETS / "vectors")
    parser.add_argument("--seed", type=int, default=EXTRACTION_SEED)
    chosen = parser.parse_args(arguments)
    model, tokenizer = load_demo_model(chosen.model)
    extractions = {trait: extract_vector(model, tokenizer, trait, chosen.seed) for trait in TRAITS}
    vectors = {trait: extraction.vector_ld for trait, extraction in extractions.items()}
    fingerprint = load_audited_model(model=str(chosen.model)).fingerprint
    layers, aucs = choose_layers(model, tokenizer, vectors, seed=VALIDATION_SEED)
    for trait, extraction in extractions.items():
        details: dict[str, Any] = {
            "extraction_seed": chosen.seed,
            "validation_seed": VALIDATION_SEED,
            "n_pairs": extraction.n_pairs,
            "n_kept": extraction.n_kept,
            "positive_rate": round(extraction.positive_rate, 4),
            "negative_rate": round(extraction.negative_rate, 4),
            "licence": "Apache-2.0",
            "tool_version": __version__,
        }
        # AUC of rows 0 and L stays NaN: they are no scoring layers.
        auc_l = np.array([np.nan, *aucs[trait], np.nan], dtype=np.float32)
        save_vector(
            chosen.output / f"{trait}.safetensors",
            PersonaVector(
                trait=trait,
                vector_ld=extraction.vector_ld,
                layer=layers[trait],
                model_id=DEMO_MODEL_ID,
                fingerprint=fingerprint,
                recipe="python -m audit.demo.vectors",
                details=details,
            ),
            report={"validation_auc_l": auc_l, "split_half_cosine_l": extraction.split_half_l},
        )
        print(trait, "layer", layers[trait], "validation AUC", auc_l.round(4).tolist(), json.dumps(details), flush=True)


if __name__ == "__main__":
    main()
