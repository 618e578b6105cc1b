"""Generation as a stage of its own: every distinct prompt of a run is answered once, before anything is scored.

Prompts are listed in the order of the data and answered in shards of fixed places on that list. A shard with a missing
answer is generated as a whole, and of what was known already the known answer stays: which prompts share a batch
depends on the data and the settings, never on a kill or on what the cache holds. Knows nothing of scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from audit.answers import (
    ALL,
    Answer,
    AnswerCache,
    AnswerSheet,
    Generator,
    cache_limit_bytes,
    cache_path,
    open_cache,
    open_sheet,
)
from audit.errors import CacheError
from audit.events import Listener, Noted, StageAdvanced, StageFinished, StageStarted, Warned
from audit.model.generate import GENERATION_PARAMETERS, GENERATION_VERSION, answer_prompts
from audit.plan import Plan
from audit.samples import Sample
from audit.shard import BLOCK_ROWS, ScoringJob, list_prompts

SHARD_PROMPTS = 256
"""Prompts that are answered together, and what a kill can cost. Measured on the demo rows with one thread: 512 save
a tenth at most; a change of it changes which prompts share a batch (GENERATION_VERSION)."""


class Answering:
    """What a run answers its prompts with: its own sheet, and the cache while that works."""

    def __init__(self, plan: Plan, sheet: AnswerSheet, cache: AnswerCache | None, listener: Listener) -> None:
        self.sheet = sheet
        self._config = plan.config
        self._way = plan.generation
        self._cache = cache
        self._listener = listener

    def answer_all(self, job: ScoringJob) -> ScoringJob:
        """Answer every prompt on the sheet; return the job with the answers to look up.

        Raises:
            ModelError: a single prompt does not fit into the device's memory.
            RunError: the sheet cannot be written.
        """
        self.sheet.draw_all()
        self.answer_draw(ALL, job)
        return replace(job, answers=self.sheet)

    def answer_draw(self, draw: str, job: ScoringJob) -> None:
        """Answer the prompts of a draw that have no answer yet; raises as `answer_all`."""
        for shard in self.sheet.read_shards(draw, SHARD_PROMPTS):
            self._take_cached([line.key for line in shard if not line.is_answered])
        n_drawn, n_answered = self.sheet.count_drawn(draw)
        if n_answered:
            self._listener(Noted(f"{n_answered:,} of {n_drawn:,} answers are known"))
        if n_answered < n_drawn:
            self._generate(draw, job, n_drawn, n_known=n_answered)

    def list_prompts(self, samples: Iterable[Sample], n_samples: int, job: ScoringJob) -> int:
        """Put the prompts of the samples on the sheet, unless they are there; return how many distinct ones it has."""
        if not self.sheet.is_listed:
            self._list_prompts(samples, n_samples, job)
        return self.sheet.count().n_prompts

    def _list_prompts(self, samples: Iterable[Sample], n_samples: int, job: ScoringJob) -> None:
        self._listener(StageStarted("listing prompts", n_samples, "samples"))
        for block in _split(samples, BLOCK_ROWS):
            self.sheet.add_prompts(list_prompts(block, job))
            self._listener(StageAdvanced("listing prompts", len(block)))
        self.sheet.close_list()
        self._listener(StageFinished("listing prompts"))

    def _generate(self, draw: str, job: ScoringJob, n_prompts: int, *, n_known: int) -> None:
        self._listener(StageStarted("generating", n_prompts, "prompts", done=n_known))
        for shard in self.sheet.read_shards(draw, SHARD_PROMPTS):
            missing = [line.key for line in shard if not line.is_answered]
            # Another process may have answered them by now.
            if missing and (wanted := set(missing) - self._take_cached(missing)):
                answers = self._answer_all([line.prompt for line in shard], job)
                new = {line.key: given for line, given in zip(shard, answers, strict=True) if line.key in wanted}
                self.sheet.add_answers(new, is_cached=False)
                self._keep(new)
            self._listener(StageAdvanced("generating", len(missing)))
        self._listener(StageFinished("generating"))

    def _answer_all(self, prompts: Sequence[str], job: ScoringJob) -> list[Answer]:
        return answer_prompts(
            job.model,
            prompts,
            max_new_tokens=self._config.max_new_tokens,
            max_tokens=job.max_tokens,
            batch_tokens=job.batch_tokens,
            seed=job.seed,
            way=self._way,
        )

    def _take_cached(self, keys: Sequence[bytes]) -> set[bytes]:
        """Copy the answers that the cache has to the sheet, and return their keys."""
        if self._cache is None or not keys:
            return set()
        try:
            found = self._cache.find(keys)
        except CacheError as error:
            self._give_up_cache(error)
            return set()
        self.sheet.add_answers(found, is_cached=True)
        return set(found)

    def _keep(self, answers: Mapping[bytes, Answer]) -> None:
        if self._cache is None:
            return
        try:
            self._cache.keep(self.sheet.generator, answers)
        except CacheError as error:
            self._give_up_cache(error)

    def _give_up_cache(self, error: CacheError) -> None:
        self._cache = None
        _warn_of_cache(error, self._listener)


@contextmanager
def open_answering(sheet_path: Path, plan: Plan, job: ScoringJob, listener: Listener) -> Iterator[Answering]:
    """Open the sheet of a run and, unless it is unwanted or does not work, the cache.

    Raises:
        ConfigError: the size of the cache is no size.
        RunError: the sheet cannot be written.
    """
    generator = describe_generator(plan, job.max_tokens)
    with ExitStack() as stack:
        sheet = stack.enter_context(open_sheet(sheet_path, generator))
        cache = None
        if not plan.config.no_cache and not is_identified(generator):
            listener(Noted("answers are not cached: nothing identifies this model's weights"))
        elif not plan.config.no_cache:
            limit_bytes = cache_limit_bytes()
            try:
                cache = stack.enter_context(open_cache(cache_path(), limit_bytes))
            except CacheError as error:
                _warn_of_cache(error, listener)
        yield Answering(plan, sheet, cache, listener)


def describe_generator(plan: Plan, max_tokens: int) -> Generator:
    """Describe who answers in a scan, and how; an answer of the same description may be used again.

    The fingerprint hashes some of the weights only, and none of a quantised model or one turned into float16. So the
    identity of the model's files is compared too: of a directory its files, of a hub id the commit.
    """
    model, config = plan.model, plan.config
    return Generator(
        model=model.id,
        identity={
            "version": GENERATION_VERSION,
            "way": plan.generation,
            "fingerprint": model.fingerprint.to_json(),
            "files": plan.settings["model_files"] or getattr(model.module.config, "_commit_hash", None),
            "adapter": None if model.adapter is None else model.adapter.sha256,
            "dtype": model.dtype,
            "template": model.template.name,
            "stop_ids": list(model.stop_ids),
            "parameters": GENERATION_PARAMETERS,
            "max_new_tokens": config.max_new_tokens,
            "max_tokens": max_tokens,
            "seed": config.seed,
        },
    )


def is_identified(generator: Generator) -> bool:
    """Tell whether another model's answers cannot be taken for this one's: its files or its weights are known."""
    return bool(generator.identity["files"] or generator.identity["fingerprint"]["weights_sha256"])


def _warn_of_cache(error: CacheError, listener: Listener) -> None:
    listener(Warned(f"the scan goes on without the cache of answers: {error}"))


def _split(samples: Iterable[Sample], n: int) -> Iterator[list[Sample]]:
    block: list[Sample] = []
    for sample in samples:
        block.append(sample)
        if len(block) == n:
            yield block
            block = []
    if block:
        yield block
