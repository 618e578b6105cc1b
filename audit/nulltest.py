"""The exact null as a test of a set-up: on the model's own samples evidence has mean 0 and variance 1.

Answers are drawn at temperature 1 and read back the way a scan reads a dataset: rendered with the chat template,
tokenised, cut to the span. What a scan would measure of them is known beforehand, for any direction and layer, so that
derivatives, spans or prompts that are not right show, without any label. Two things are held against it: evidence along
every direction, and how surprising the tokens were, Σ (−log p(y_t) − H_t), which a foreign prompt, template or span
moves most.

A test of the set-up, not of the vectors: a direction or a layer that means nothing passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.errors import ModelError
from audit.model.chat import render_prompt_or_none, render_turn, tokenize_turns
from audit.model.evidence import Evidence, EvidenceJob, draw_random_directions, measure_evidence
from audit.model.generate import draw_turns
from audit.model.load import LoadedModel
from audit.model.turns import RenderedTurn, TokenizedTurn
from audit.samples import Message, Turn, answer_turn
from audit.traits import find_specs, read_spec

N_SAMPLES = 96
MAX_NEW_TOKENS = 64
N_RANDOM = 8
"""Directions that mean nothing, beside those of the traits, for each layer."""

ALARM_LEVEL = 0.001
"""Chance that a set-up that is right fails for a mean, over all directions (Bonferroni)."""

SD_RANGE = (0.6, 1.6)
LEAST_READ_BACK = 0.8
LEAST_SAMPLES = 32
_BATCH_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Statistic:
    """Of one quantity over the samples: z has mean 0 and standard deviation 1 if the set-up is right."""

    mean_z: float
    sd_z: float

    @classmethod
    def of(cls, score_n: npt.NDArray[np.float64], variance_n: npt.NDArray[np.float64]) -> Statistic:
        """Describe S / √W; samples without variance say nothing."""
        known = np.isfinite(score_n) & (variance_n > 0)
        z_n = score_n[known] / np.sqrt(variance_n[known])
        return cls(float(z_n.mean()), float(z_n.std(ddof=1))) if len(z_n) > 1 else cls(math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class NullReport:
    """What was found.

    Attributes:
        n_samples: answers that were measured.
        read_back: share of answers whose prompt and first token a scan finds where they were drawn.
        directions: by trait, and for random directions the one whose mean lies farthest from 0.
        findings: what is not right; empty if nothing is.
    """

    n_samples: int
    read_back: float
    surprise: Statistic
    directions: dict[str, Statistic]
    findings: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def run_null_test(
    model: LoadedModel,
    vectors: Mapping[str, tuple[int, npt.NDArray[np.float32]]],
    questions: Sequence[str],
    *,
    seed: int = 0,
) -> NullReport:
    """Let the model answer questions, and hold what a scan measures of the answers against what it must be.

    Args:
        vectors: trait → (layer, vector [d]).
        questions: asked one after another, and again, until there are `N_SAMPLES` answers.

    Raises:
        ModelError: the model answers nothing, or does not fit into memory.
    """
    conversations = [(Message("user", question),) for question in questions]
    prompts = [render_prompt_or_none(model, _ask(prompt)) for prompt in conversations]
    askable = [(messages, prompt) for messages, prompt in zip(conversations, prompts, strict=True) if prompt]
    if not askable:
        raise ModelError(model.id, "its chat template renders no question", "check its chat template")
    asked = [askable[number % len(askable)] for number in range(N_SAMPLES)]
    drawn = draw_turns(
        model,
        [prompt for _, prompt in asked],
        seeds=[(seed, number) for number in range(N_SAMPLES)],
        max_new_tokens=MAX_NEW_TOKENS,
        batch_tokens=_BATCH_TOKENS,
    )
    pairs = [(messages, turn) for (messages, _), turn in zip(asked, drawn, strict=True) if turn is not None]
    if not pairs:
        raise ModelError(model.id, "it answers none of the questions with a token", "check its generation settings")
    read = [_read_back(model, messages, turn) for messages, turn in pairs]
    kept = [
        # Text that comes out in other tokens is no sample any more; the tokens that were drawn are.
        found if found is not None and np.array_equal(found.ids, turn.ids) else turn
        for (_, turn), found in zip(pairs, read, strict=True)
    ]
    is_found = [
        found is not None
        and found.start == turn.start
        and np.array_equal(found.ids[: turn.start], turn.ids[: turn.start])
        for (_, turn), found in zip(pairs, read, strict=True)
    ]
    job = make_job(model, vectors)
    evidence = measure_evidence(model, kept, job=job, batch_tokens=_BATCH_TOKENS, seeds=range(len(kept)))
    return judge_null(evidence, list(job.vectors), n_traits=len(vectors), read_back=float(np.mean(is_found)))


def choose_questions(*, is_demo_model: bool) -> list[str]:
    """Return questions that come with the package, of all traits in turn; the demo model knows those of its world."""
    wanted = "demo" if is_demo_model else "shipped"
    specs = [read_spec(found.path) for found in find_specs() if found.source == wanted]
    of_specs = zip(*(spec.evaluation_questions for spec in specs), strict=False)
    return list(dict.fromkeys(question for questions in of_specs for question in questions))


def make_job(model: LoadedModel, vectors: Mapping[str, tuple[int, npt.NDArray[np.float32]]]) -> EvidenceJob:
    """Ask for evidence along vectors and along random directions of their layers, all with their variance."""
    layers = sorted({layer for layer, _ in vectors.values()})
    random = {
        f"random {layer}.{number}": (layer, direction_d)
        for layer in layers
        for number, direction_d in enumerate(draw_random_directions(model.d_hidden, layer, N_RANDOM))
    }
    return EvidenceJob("full", {**vectors, **random}, {})


def judge_null(evidence: Evidence, names: Sequence[str], *, n_traits: int, read_back: float = 1.0) -> NullReport:
    """Tell whether evidence of own samples is what it must be.

    Args:
        names: of the directions; the first `n_traits` are traits, the others random.
        read_back: see `NullReport`.
    """
    own = [Statistic.of(evidence.score_nk[:, k], evidence.variance_nk[:, k]) for k in range(len(names))]
    surprise = Statistic.of(evidence.surprise_n, evidence.surprise_variance_n)
    n = len(evidence.surprise_n)
    alarm = NormalDist().inv_cdf(1 - ALARM_LEVEL / 2 / (len(names) + 1)) / math.sqrt(n)
    findings = []
    if n < LEAST_SAMPLES:
        findings.append(f"{n} answers are too few to tell; {LEAST_SAMPLES} are needed")
    if read_back < LEAST_READ_BACK:
        findings.append(
            f"of {1 - read_back:.0%} of the answers a scan does not find the prompt or the start where they were "
            "drawn: the template renders a conversation otherwise than the prompt for an answer"
        )
    for name, statistic in (*zip(names, own, strict=True), ("surprise", surprise)):
        if not abs(statistic.mean_z) <= alarm:
            findings.append(f"mean z of {name} is {statistic.mean_z:+.2f}, it must lie within {alarm:.2f} of 0")
        if not SD_RANGE[0] <= statistic.sd_z <= SD_RANGE[1]:
            findings.append(
                f"the standard deviation of z of {name} is {statistic.sd_z:.2f}, it must lie within "
                f"{SD_RANGE[0]} and {SD_RANGE[1]}"
            )
    directions = dict(zip(names[:n_traits], own[:n_traits], strict=True))
    if len(own) > n_traits:
        directions["random"] = max(own[n_traits:], key=lambda statistic: abs(statistic.mean_z))
    return NullReport(n, read_back, surprise, directions, findings)


def _ask(messages: tuple[Message, ...]) -> Turn:
    return Turn("response", len(messages), "answer", messages, "", Message("assistant", ""))


def _read_back(model: LoadedModel, messages: tuple[Message, ...], turn: TokenizedTurn) -> TokenizedTurn | None:
    """Return a drawn answer as a scan reads it; what ends it is taken from what was drawn."""
    text = model.tokenizer.decode(turn.ids[turn.start :], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    answer = answer_turn(messages, str(text))
    rendered = None if answer is None else render_turn(model, answer)
    if not isinstance(rendered, RenderedTurn):
        return None
    (found,) = tokenize_turns(model, [rendered], model.context_tokens)
    return replace(found, end_id=turn.end_id) if isinstance(found, TokenizedTurn) else None
