"""Measure templates, tokens and offsets through the code that a scan uses, with the bundled tokenizer: P8.

Run as `python -m tests.benchmarks.tokenising`. Turns have the lengths of the workload, in words of the demo chats.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence

import numpy as np

from audit.assets import demo_model_dir
from audit.model.chat import render_turn, tokenize_turns
from audit.model.load import LoadedModel, load_model
from audit.model.turns import RenderedTurn, TokenizedTurn
from audit.samples import Message, Turn, answer_turn
from tests.benchmarks.part import ROOT, Findings
from tests.benchmarks.workload import SEED, draw_pairs

N_PAIRS = 2_000
N_REPEATS = 5


def draw_turns(n_pairs: int) -> list[Turn]:
    """Draw y and y′ as turns."""
    rows = [json.loads(line) for line in (ROOT / "examples" / "demo.jsonl").read_text().splitlines()]
    texts = [message["content"] for row in rows for message in row["messages"]]
    generator = np.random.default_rng(SEED)

    def write(n_tokens: int) -> str:
        words: list[str] = []
        while len(words) < n_tokens:
            words += texts[int(generator.integers(len(texts)))].split()
        return " ".join(words[:n_tokens])

    turns: list[Turn | None] = []
    for pair in draw_pairs(2, n_pairs):
        prompt = (Message("user", write(len(pair.prompt))),)
        turns += [answer_turn(prompt, write(len(answer))) for answer in (pair.response, pair.baseline)]
    return [turn for turn in turns if turn is not None]


def measure_tokenising(model: LoadedModel, turns: Sequence[Turn]) -> Findings:
    """Return P8: tokens a second of the wall clock, the median of a few."""
    rates = []
    for _ in range(N_REPEATS):
        began = time.perf_counter()
        rendered = [turn for turn in (render_turn(model, turn) for turn in turns) if isinstance(turn, RenderedTurn)]
        rendered_s = time.perf_counter() - began
        tokenized = tokenize_turns(model, rendered, 32_768)
        taken_s = time.perf_counter() - began
        n_tokens = sum(len(turn.ids) for turn in tokenized if isinstance(turn, TokenizedTurn))
        rates.append(n_tokens / taken_s)
    note = (
        f"P8: {len(turns):,} turns of {n_tokens / len(turns):.0f} tokens, {rendered_s / taken_s:.0%} of the time "
        "in templates; one process, wall clock"
    )
    return Findings({"P8": statistics.median(rates)}, [note])


def main() -> None:
    """Measure on as many cores as the tokenizer is given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=N_PAIRS)
    options = parser.parse_args()
    measure_tokenising(load_model(model=str(demo_model_dir()), device="cpu"), draw_turns(options.pairs)).send()


if __name__ == "__main__":
    main()
