"""How much a scan has to do: turns, tokens and distinct prompts, counted, or estimated from a seeded part of the data.

All records are read; rendering and tokenising them is what takes long, so of many records only a part is. Runs no
model.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from audit.config import ScanConfig
from audit.events import Listener, StageAdvanced, StageFinished, StageStarted
from audit.inputs import Inputs, read_range
from audit.samples import Sample, SkippedSample, Turn
from audit.shard import BLOCK_ROWS, tokenize_samples
from audit.states import ScoringJob

EXACT_ROWS = 5_000
"""Up to so many records every one is tokenised."""

SAMPLED_ROWS = 2_000
"""Of more records so many are."""

_KEPT_HASHES = 1 << 16
"""Distinct prompts are counted exactly up to so many; beyond, with a standard error of 0.4 %."""


@dataclass(frozen=True, slots=True)
class Count:
    """A number with its 95 % interval, which is the number itself where everything was counted."""

    value: float
    low: float
    high: float

    @property
    def is_exact(self) -> bool:
        """Whether it was counted, not estimated."""
        return self.low == self.high

    def to_json(self) -> dict[str, float | int | bool]:
        """Return whole numbers."""
        return {"value": round(self.value), "low": round(self.low), "high": round(self.high), "exact": self.is_exact}


@dataclass(frozen=True, slots=True)
class Workload:
    """What a scan has to do.

    Attributes:
        n_readable: records that could be read.
        n_turns: assistant turns, both sides of a preference counted, a turn in two parts once.
        n_parts: parts of turns (answer, reasoning) that can be scored.
        prompt_tokens, response_tokens: over those parts, each with its own prompt.
        n_prompts: distinct prompts of those parts.
        prompts: rendered prompts of the records that were tokenised, each once.
        samples: a seeded part of the records, for timing.
        reading_s: seconds that reading all records took.
        tokenising_s: seconds that tokenising takes for all of them.
    """

    n_records: int
    n_readable: int
    n_turns: int
    n_parts: Count
    prompt_tokens: Count
    response_tokens: Count
    n_prompts: Count
    prompts: list[str]
    samples: list[Sample]
    reading_s: float
    tokenising_s: float


def measure_workload(
    config: ScanConfig, inputs: Inputs, job: ScoringJob, listener: Listener, *, n_kept: int
) -> Workload:
    """Read every record, tokenise all or some of them, and keep `n_kept` for timing.

    Raises:
        RecordError: with --strict, a record cannot be read.
    """
    n = inputs.n_records
    is_whole = n <= EXACT_ROWS
    draw = np.random.default_rng([config.seed, n])
    chosen = frozenset(range(n) if is_whole else draw.choice(n, SAMPLED_ROWS, replace=False).tolist())
    kept = frozenset(draw.choice(sorted(chosen), min(n_kept, len(chosen)), replace=False).tolist())
    records = read_range(inputs, 0, n, turns=config.turns, keep_columns=config.keep_columns, strict=config.strict)
    listener(StageStarted("counting", n, "rows"))
    began = time.monotonic()
    tokenising_s = 0.0
    n_readable = n_turns = 0
    asked, prompts = _Distinct(), dict[str, None]()
    samples: list[Sample] = []
    counts: list[tuple[int, int, int, int]] = []
    for block in _split(records):
        found = [record for record in block if isinstance(record, Sample)]
        n_readable += len(found)
        n_turns += sum(len({(turn.side, turn.turn) for turn in sample.turns}) for sample in found)
        asked.add(_hash_prompt(turn) for sample in found for turn in sample.turns if turn.unscored is None)
        samples += [sample for sample in found if sample.sample_id in kept]
        part = [sample for sample in found if sample.sample_id in chosen]
        started = time.monotonic()
        counts += _count_turns(part, job, prompts)
        # A record that cannot be read counts as one without turns.
        counts += [(0, 0, 0, 0)] * sum(
            isinstance(record, SkippedSample) and record.sample_id in chosen for record in block
        )
        tokenising_s += time.monotonic() - started
        listener(StageAdvanced("counting", len(block)))
    listener(StageFinished("counting"))
    parts, candidates, prompt_tokens, response_tokens = np.asarray(counts, dtype=np.float64).reshape(-1, 4).T
    scored_share = parts.sum() / candidates.sum() if candidates.sum() else 0.0
    n_prompts = asked.count()
    return Workload(
        n_records=n,
        n_readable=n_readable,
        n_turns=n_turns,
        n_parts=_extrapolate(parts, n),
        prompt_tokens=_extrapolate(prompt_tokens, n),
        response_tokens=_extrapolate(response_tokens, n),
        n_prompts=_certain(len(prompts))
        if is_whole
        else Count(*(value * scored_share for value in (n_prompts.value, n_prompts.low, n_prompts.high))),
        prompts=list(prompts),
        samples=samples,
        reading_s=time.monotonic() - began - tokenising_s,
        tokenising_s=tokenising_s * n / max(len(chosen), 1),
    )


def _count_turns(samples: list[Sample], job: ScoringJob, prompts: dict[str, None]) -> list[tuple[int, int, int, int]]:
    """Return, by sample: parts that can be scored, parts to score, prompt tokens, response tokens; note the prompts."""
    of_sample = {sample.sample_id: [0, 0, 0, 0] for sample in samples}
    for state in tokenize_samples(samples, job):
        count = of_sample[state.sample_id]
        count[1] += state.turn.unscored is None
        if state.tokens is not None and state.rendered is not None:
            count[0] += 1
            count[2] += state.tokens.n_prompt_tokens
            count[3] += state.tokens.n_response_tokens
            prompts[state.rendered.prompt_text] = None
    return [(count[0], count[1], count[2], count[3]) for count in of_sample.values()]


def _extrapolate(values: np.ndarray, n: int) -> Count:
    """Return the total over n records from those of some of them, drawn without replacement."""
    m = len(values)
    if m >= n:
        return _certain(float(values.sum()))
    total = float(values.mean()) * n
    half = 1.959964 * float(values.std(ddof=1)) / np.sqrt(m) * np.sqrt(1 - m / n) * n
    return Count(total, max(total - half, 0.0), total + half)


def _certain(value: float) -> Count:
    return Count(value, value, value)


class _Distinct:
    """Counts distinct hashes in bounded memory, by the smallest of them (Bar-Yossef et al. 2002)."""

    def __init__(self) -> None:
        self._kept: set[int] = set()
        self._limit = 1 << 64

    def add(self, hashes: Iterable[int]) -> None:
        self._kept.update(value for value in hashes if value < self._limit)
        if len(self._kept) > 2 * _KEPT_HASHES:
            smallest = sorted(self._kept)[:_KEPT_HASHES]
            self._kept, self._limit = set(smallest), smallest[-1] + 1

    def count(self) -> Count:
        if self._limit == 1 << 64:
            return _certain(len(self._kept))
        # Of n uniform hashes, len(kept) lie below the limit.
        value = len(self._kept) * (1 << 64) / self._limit
        half = 1.959964 * value / np.sqrt(len(self._kept))
        return Count(value, value - half, value + half)


def _hash_prompt(turn: Turn) -> int:
    messages = [
        (each.role, each.content, each.reasoning, each.tool_calls, each.name, each.tool_call_id) for each in turn.prompt
    ]
    text = repr((messages, turn.tools)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _split(records: Iterator[Sample | SkippedSample]) -> Iterator[list[Sample | SkippedSample]]:
    block: list[Sample | SkippedSample] = []
    for record in records:
        block.append(record)
        if len(block) == BLOCK_ROWS:
            yield block
            block = []
    if block:
        yield block
