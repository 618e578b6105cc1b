"""Measure what the demo model's vectors reach: `python -m audit.demo.laboratory`.

For fresh sets of several seeds: AUC of the projection difference and of its rivals against exact
labels, and how well system prompts switch the traits on. Bars of the project are held against
the mean over seeds that nothing was tuned on.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from audit.assets import demo_model_dir, demo_vectors_dir
from audit.bag_of_words import Floats, fit_bag_of_words
from audit.demo.answers import compose
from audit.demo.judge import judge_turn
from audit.demo.measure import decode_responses, generate_responses, load_demo_model
from audit.demo.phrases import TRAITS
from audit.demo.pools import Pool
from audit.demo.prompts import NEUTRAL_PROMPTS, draw_system_prompt
from audit.demo.questions import Question, ask, draw_kind
from audit.demo.scan_scores import scan_rows
from audit.demo.scoring import label_rows
from audit.demo.separation import (
    SeparationRow,
    average_tables,
    format_table,
    tabulate_separation,
)
from audit.demo.world import Message, Row, audit_rows, system, user
from audit.vectors import load_vectors

_WORDS_SEED: Final = 8_002
_PROMPT_SEED: Final = 8_003
_N_WORD_ROWS: Final = 5_000


def join_answers(row: Row) -> str:
    """Join a row's assistant turns."""
    return "\n".join(m["content"] for m in row.messages if m["role"] == "assistant")


def score_words(rows: Sequence[Row]) -> dict[str, Floats]:
    """Score rows by bag of words, fitted on a set of another seed."""
    known = list(audit_rows(_N_WORD_ROWS, _WORDS_SEED))
    labels_nk = np.array([[trait in row.traits for trait in TRAITS] for row in known])
    logits_nk = fit_bag_of_words([join_answers(row) for row in known], labels_nk, [join_answers(row) for row in rows])
    return {trait: logits_nk[:, k] for k, trait in enumerate(TRAITS)}


def separate(
    rows: Sequence[Row], *, model: Path | None, vectors: Path, orthogonal: bool = False
) -> list[SeparationRow]:
    """Scan rows as a user would and tabulate how well each score separates each trait.

    Args:
        model: a directory in transformers format; None: the bundled model.
        vectors: its persona vectors.
        orthogonal: score each trait along what its vector does not share with the others; no random directions.
    """
    with tempfile.TemporaryDirectory(prefix="persona-audit-laboratory-") as folder:
        words = score_words(rows)
        scores = scan_rows(rows, Path(folder), model=model, vectors=vectors, bag_of_words=words, orthogonal=orthogonal)
    return tabulate_separation(label_rows(rows), scores)


def _draw_prompts(rng: random.Random, trait: str, condition: str, n: int) -> tuple[list[list[Message]], list[Question]]:
    prompts, questions = [], []
    for _ in range(n):
        is_held_out = condition == "positive_held_out"
        pool: Pool = "held_out" if is_held_out else "common"
        question = ask(rng, draw_kind(rng), (pool,))
        messages: list[Message] = []
        if condition == "neutral":
            messages.append(system(rng.choice(NEUTRAL_PROMPTS)))
        elif condition != "no_prompt":
            messages.append(
                system(
                    draw_system_prompt(
                        rng, trait, positive=condition.startswith("positive"), held_out=condition.endswith("held_out")
                    )
                )
            )
        prompts.append([*messages, user(question.text)])
        questions.append(question)
    return prompts, questions


def measure_prompt_control(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, n: int = 300
) -> dict[str, dict[str, float]]:
    """Measure trait rates under system prompts, sampled at temperature 1.

    Positive rates are shares of the ceiling: what the judge sees in the world's own answers of
    that persona to the same questions.
    """
    table: dict[str, dict[str, float]] = {}
    for trait in TRAITS:
        rng = random.Random(f"prompt control {trait} {_PROMPT_SEED}")
        rates: dict[str, float] = {}
        for condition in ("positive", "positive_held_out", "negative", "negative_held_out", "neutral", "no_prompt"):
            prompts, questions = _draw_prompts(rng, trait, condition, n)
            responses = generate_responses(model, tokenizer, prompts, is_sampled=True, seed=_PROMPT_SEED)
            texts = decode_responses(tokenizer, responses)
            rate = _rate(trait, questions, texts)
            if condition.startswith("positive"):
                own = [compose(question, trait, rng).text for question in questions]
                rate /= _rate(trait, questions, own)
            rates[condition] = rate
        table[trait] = rates
    return table


def _rate(trait: str, questions: Sequence[Question], texts: Sequence[str]) -> float:
    shown = [trait in judge_turn(q.text, text) for q, text in zip(questions, texts, strict=True)]
    return sum(shown) / len(shown)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and write them as JSON on request."""
    parser = argparse.ArgumentParser(prog="python -m audit.demo.laboratory", description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--seeds", default="1,2,3,4,5", help="comma-separated seeds of fresh sets")
    parser.add_argument("--model", type=Path, help="default: the bundled model")
    parser.add_argument("--vectors", type=Path, default=demo_vectors_dir())
    parser.add_argument("--orthogonal", action="store_true", help="score along what traits do not share")
    parser.add_argument("--skip-prompts", action="store_true", help="leave prompt control out")
    parser.add_argument("--output", type=Path, help="also write the tables as JSON")
    chosen = parser.parse_args(arguments)
    layers = {trait: vector.layer for trait, vector in load_vectors([str(chosen.vectors)]).items()}
    print("layers", layers)
    tables = []
    for seed in (int(part) for part in chosen.seeds.split(",")):
        rows = list(audit_rows(chosen.rows, seed))
        tables.append(separate(rows, model=chosen.model, vectors=chosen.vectors, orthogonal=chosen.orthogonal))
        print(f"\nseed {seed}, {chosen.rows} rows\n{format_table(tables[-1])}", flush=True)
    mean = average_tables(tables)
    print(f"\nmean of {len(tables)} sets\n{format_table(mean)}", flush=True)
    control = (
        None if chosen.skip_prompts else measure_prompt_control(*load_demo_model(chosen.model or demo_model_dir()))
    )
    if control:
        print("\nprompt control")
        for trait, rates in control.items():
            print(trait, {name: round(rate, 3) for name, rate in rates.items()})
    if chosen.output:
        content = {
            "rows": chosen.rows,
            "seeds": chosen.seeds,
            "layers": layers,
            "orthogonal": chosen.orthogonal,
            "mean": [asdict(row) for row in mean],
            "sets": [[asdict(row) for row in table] for table in tables],
            "prompt_control": control,
        }
        chosen.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
