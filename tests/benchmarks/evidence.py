"""Measure what evidence costs beside plain scoring, beside generating y′, and in memory: E1 to E4.

Run as `python -m tests.benchmarks.evidence`. Plain scoring projects y and y′ of a few pairs on the vectors of 4 traits;
evidence is what the same call takes longer when it measures the responses, too, along those vectors and the random
directions of a scan. The ways take turns, and ratios are formed within a turn. The stricter readings hold the same cost
against scoring y alone (E1s, E2s), and against answers that are generated many at a time, as a scan does (E3s).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audit.config import ScanConfig
from audit.model.evidence import Evidence, EvidenceMeter
from audit.model.generate import answer_prompts
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel
from audit.model.tokens import tokenize_turns
from audit.model.turns import TokenizedTurn
from audit.turn_evidence import make_evidence_job
from tests.benchmarks.gemm import choose_clock
from tests.benchmarks.part import ROOT, Findings
from tests.benchmarks.workload import (
    PROMPT_RANGE,
    QWEN_HALF_B,
    TINY,
    Pair,
    Shape,
    build_module,
    draw_pairs,
    draw_units,
    render_pairs,
    wrap_module,
    write_text,
)

CHOSEN = slice(5, 7)
"""Two pairs of the workload: prompts, y and y′ have nearly the shares of its tokens that they have in all of it."""

N_TRAITS = 4
N_ROUNDS = 3
N_CROWD = 32
FEW_TOKENS, MANY_TOKENS = 4, 16
"""Answers of both lengths are generated; what a later token takes is their difference."""

BATCH_TOKENS = ScanConfig(datasets=("-",)).batch_tokens
QUICK_SCALE = 0.2
FORGET_PEAK = Path("/proc/self/clear_refs")
LEVELS = ("off", "score", "full")


class Scoring:
    """Pairs in tokens, ready to be scored with evidence or without."""

    def __init__(self, model: LoadedModel, pairs: Sequence[Pair], shape: Shape) -> None:
        self._model, self._layer = model, shape.layer
        turns, self._groups = render_pairs(pairs)
        tokenized = tokenize_turns(model, turns, model.context_tokens)
        self._tokenized = [turn for turn in tokenized if isinstance(turn, TokenizedTurn)]
        self._vectors = dict(list(draw_units(shape).items())[:N_TRAITS])

    def score(self, level: str) -> tuple[NDArray[np.float32], Evidence | None]:
        """Return projections of y and y′ of every pair, and the evidence of every y at a level."""
        job = make_evidence_job(level, self._vectors)
        meter = None
        if job is not None:
            responses = range(0, len(self._tokenized), 2)
            seeds = {row: row for row in responses}
            meter = EvidenceMeter(self._model, self._tokenized, job, wanted=responses, seeds=seeds, groups=self._groups)
        projections = self._project(self._tokenized, self._groups, meter)
        return projections, None if meter is None else meter.evidence

    def score_responses(self) -> NDArray[np.float32]:
        """Return projections of every y, without evidence and without y′."""
        return self._project(self._tokenized[::2], self._groups[::2], None)

    def _project(
        self, tokenized: Sequence[TokenizedTurn], groups: Sequence[int], meter: EvidenceMeter | None
    ) -> NDArray[np.float32]:
        return project_turns(
            self._model,
            tokenized,
            units=self._vectors,
            batch_tokens=BATCH_TOKENS,
            keep_mean_layer=self._layer,
            groups=groups,
            meter=meter,
        ).projection_nk


class Costs:
    """Seconds of every way of scoring the same pairs, turn by turn."""

    def __init__(self, scoring: Scoring, clock: Callable[[], float]) -> None:
        self._scoring, self._clock = scoring, clock
        self.seconds: dict[str, list[float]] = {way: [] for way in (*LEVELS, "responses")}

    def take_turn(self) -> None:
        """Score the pairs in every way."""
        for way, seconds in self.seconds.items():
            began = self._clock()
            if way == "responses":
                self._scoring.score_responses()
            else:
                self._scoring.score(way)
            seconds.append(self._clock() - began)

    @property
    def n_turns(self) -> int:
        """How often every way was taken."""
        return len(self.seconds["off"])

    def evidence_s(self, level: str) -> float:
        """Return the median seconds that evidence adds."""
        return statistics.median(self._added_s(level))

    def ratio(self, level: str, plain: str) -> float:
        """Return the median over the turns of what evidence adds, in units of a way without it."""
        return statistics.median(
            added_s / plain_s for added_s, plain_s in zip(self._added_s(level), self.seconds[plain], strict=True)
        )

    def describe(self, pairs: Sequence[Pair]) -> Findings:
        """Return E1 and E2 and their stricter readings."""
        values: dict[str, float | None] = {}
        for name, level in (("E1", "score"), ("E2", "full")):
            values |= {name: self.ratio(level, "off"), f"{name}s": self.ratio(level, "responses")}
        lengths = "; ".join(f"{len(pair.prompt)} + {len(pair.response)} and {len(pair.baseline)}" for pair in pairs)
        return Findings(
            values,
            [
                f"E1, E2: {len(pairs)} pairs (tokens of prompt + y and y′: {lengths}), {N_TRAITS} traits, float32; "
                f"medians of {self.n_turns} interleaved turns; process time on {torch.get_num_threads()} thread; "
                f"scoring {statistics.median(self.seconds['off']):.1f} s, evidence "
                f"{self.evidence_s('score'):.1f} s (score), {self.evidence_s('full'):.1f} s (full); "
                "E1s, E2s: the stricter reading, against scoring y without y′"
            ],
        )

    def _added_s(self, level: str) -> list[float]:
        return [whole_s - plain_s for whole_s, plain_s in zip(self.seconds[level], self.seconds["off"], strict=True)]


def measure_costs(model: LoadedModel, pairs: Sequence[Pair], shape: Shape, budget_s: float) -> Costs:
    """Take one turn, and then more as long as they fit into the budget; say after each what there is."""
    clock = choose_clock(model.device)
    # Whatever comes first pays for memory and libraries.
    Costs(Scoring(model, draw_pairs(shape.n_vocab, 1, scale=QUICK_SCALE), shape), clock).take_turn()
    costs = Costs(Scoring(model, pairs, shape), clock)
    began = time.perf_counter()
    while not costs.n_turns or (
        costs.n_turns < N_ROUNDS and (time.perf_counter() - began) * (costs.n_turns + 1) / costs.n_turns <= budget_s
    ):
        costs.take_turn()
        costs.describe(pairs).send()
    return costs


def measure_generation(model: LoadedModel, pairs: Sequence[Pair], costs: Costs) -> Findings:
    """Return E3 and E3s: what generating every y′ would take, over what full evidence takes.

    The first tokens of each are generated, with their prompts; the others are taken to cost what a later one does. In a
    crowd it costs less than in the company of these few pairs alone.
    """
    prompts = [pair.prompt for pair in pairs]
    _generate(model, [prompt[: PROMPT_RANGE[0]] for prompt in prompts], 1)
    first_s, own_token_s = _time_tokens(model, prompts)
    crowd = draw_pairs(model.fingerprint.n_vocab, N_CROWD)
    # Short prompts, since reading them is not what is timed.
    _, crowd_token_s = _time_tokens(model, [pair.prompt[: PROMPT_RANGE[0]] for pair in crowd])
    n_tokens = sum(len(pair.baseline) for pair in pairs)
    n_later = n_tokens - FEW_TOKENS * len(pairs)
    own_s, crowd_s = (first_s + token_s * n_later for token_s in (own_token_s, crowd_token_s))
    full_s, score_s = costs.evidence_s("full"), costs.evidence_s("score")
    return Findings(
        {"E3": own_s / full_s, "E3s": crowd_s / full_s},
        [
            f"E3: {n_tokens} tokens of y′ for the same {len(pairs)} prompts would take {own_s:.1f} s, {crowd_s:.1f} s "
            f"with {N_CROWD} prompts at once (E3s); timed up to {MANY_TOKENS} tokens each, the rest extrapolated by "
            f"tokens; against evidence by score alone × {own_s / score_s:.2f}, × {crowd_s / score_s:.2f}"
        ],
    )


def _time_tokens(model: LoadedModel, prompts: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Return the seconds that the first few tokens of all answers take, and those of a single later one."""
    clock = choose_clock(model.device)
    taken_s = []
    for n_tokens in (FEW_TOKENS, MANY_TOKENS):
        began = clock()
        _generate(model, prompts, n_tokens)
        taken_s.append(clock() - began)
    few_s, many_s = taken_s
    return few_s, (many_s - few_s) / (len(prompts) * (MANY_TOKENS - FEW_TOKENS))


def _generate(model: LoadedModel, prompts: Sequence[Sequence[int]], n_tokens: int) -> None:
    answers = answer_prompts(
        model,
        [write_text(prompt) for prompt in prompts],
        max_new_tokens=n_tokens,
        max_tokens=model.context_tokens,
        batch_tokens=BATCH_TOKENS,
        seed=0,
    )
    if any(answer.n_tokens != n_tokens for answer in answers):
        raise RuntimeError("an answer has another length than was asked for")


def measure_memory(shape: Shape, *, is_quick: bool) -> Findings:
    """Return E4: the peak of a process that scores with full evidence, less that of one that scores plainly."""
    if not FORGET_PEAK.exists():
        return Findings(notes=["E4: not measured (only Linux can forget the peak that making the model leaves behind)"])
    peaks = {}
    for level in ("off", "full"):
        command = [sys.executable, "-m", "tests.benchmarks.evidence", "--inside", level]
        command += ["--tiny"] * (shape is TINY) + ["--quick"] * is_quick
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the measurement failed:\n{done.stderr}")
        peaks[level] = json.loads(done.stdout)
    upper_bytes = 4 * (shape.n_layers - shape.layer) * shape.n_block_weights
    return Findings(
        {"E4": (peaks["full"] - peaks["off"]) / 1e9},
        [
            f"E4: {peaks['full'] / 1e9:.2f} GB with evidence, {peaks['off'] / 1e9:.2f} GB without, a vocabulary of "
            f"{shape.n_vocab:,}; the whole model is loaded in both, as where y′ is generated: a scan that does "
            f"neither leaves out {upper_bytes / 1e9:.2f} GB of blocks above layer {shape.layer}"
        ],
    )


def _measure_peak(shape: Shape, pairs: Sequence[Pair], level: str) -> int:
    """Return the peak of resident memory in bytes while pairs are scored, the making of the model left out."""
    scoring = Scoring(build_model(shape), pairs, shape)
    # The peak that making the model leaves behind would hide what comes after.
    FORGET_PEAK.write_text("5")
    scoring.score(level)
    # Unlike getrusage, this leaves out what was forgotten, and what the process was before it was this program.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def build_model(shape: Shape) -> LoadedModel:
    """Build the model as scans have it: no weight asks for a gradient, and no token ends an answer."""
    module = build_module(shape, torch.float32)
    module.requires_grad_(False)
    module.generation_config.eos_token_id = None
    return wrap_module(module)


def choose_pairs(shape: Shape, *, is_quick: bool) -> list[Pair]:
    """Return the pairs that are scored."""
    return draw_pairs(shape.n_vocab, scale=QUICK_SCALE if is_quick else 1.0)[CHOSEN]


def main() -> None:
    """Measure on as many threads as OpenMP was given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget-s", type=float, default=120.0, help="of the interleaved turns; one is always taken")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--quick", action="store_true", help="short pairs")
    parser.add_argument("--inside", choices=LEVELS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    shape = TINY if options.tiny else QWEN_HALF_B
    pairs = choose_pairs(shape, is_quick=options.quick)
    if options.inside is not None:
        print(_measure_peak(shape, pairs, options.inside))
        return
    model = build_model(shape)
    costs = measure_costs(model, pairs, shape, options.budget_s)
    findings = costs.describe(pairs)
    findings.add(measure_generation(model, pairs, costs))
    findings.send()
    # Two models would be in memory otherwise.
    del model, costs
    findings.add(measure_memory(shape, is_quick=options.quick))
    findings.send()


if __name__ == "__main__":
    main()
