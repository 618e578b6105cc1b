"""Generation as a stage of its own: every distinct prompt of a run is answered before anything is scored, once or as
often as answers are drawn.

Prompts are listed in the order of the data and answered in shards of fixed places on that list. A shard with a missing
answer is generated as a whole, and of what was known already the known answer stays: which prompts share a batch
depends on the data and the settings, never on a kill or on what the cache holds. A server is asked for the missing
answers alone, one by one, and each is kept as it comes. Knows nothing of scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.answers import (
    ALL,
    Answer,
    AnswerCache,
    AnswerSheet,
    FailedAnswer,
    Generator,
    cache_limit_bytes,
    cache_path,
    open_cache,
    open_sheet,
    seed_of,
    wire_seed_of,
)
from audit.errors import CacheError, ServerError
from audit.events import Listener, Noted, StageAdvanced, StageFinished, StageStarted, Warned
from audit.model.generate import GENERATION_VERSION, SAMPLING_PARAMETERS, answer_prompts, sample_answers
from audit.model.wiring import count_answer_tokens, wire_prompt, wire_stops
from audit.plan import Plan
from audit.samples import Sample
from audit.server import CompletionServer, Request, ask_server
from audit.shard import BLOCK_ROWS, list_prompts
from audit.states import ScoringJob

SHARD_PROMPTS = 256
"""Answers that are made together, and what a kill can cost. Measured on the demo rows with one thread: 512 save
a tenth at most; a change of it changes which prompts share a batch (GENERATION_VERSION)."""

LEAST_COMPARED = 8
"""Prompts whose drawn answers are all the same, from which on that is no chance."""

SERVER_VERSION = 1
"""Raised when a change of what a server is asked may change an answer."""


class Answering:
    """What a run answers its prompts with: its own sheet, and the cache while that works."""

    def __init__(self, plan: Plan, sheet: AnswerSheet, cache: AnswerCache | None, listener: Listener) -> None:
        self.sheet = sheet
        self._plan = plan
        self._config = plan.config
        self._server = plan.server
        self._cache = cache
        self._listener = listener

    def answer_all(self, job: ScoringJob) -> ScoringJob:
        """Answer every prompt on the sheet; return the job with the answers to look up.

        Raises:
            ModelError: a single prompt does not fit into the device's memory.
            RunError: the sheet cannot be written.
            ServerError: the server stops answering, or answers no prompt at all.
        """
        self.sheet.draw_all()
        self.answer_draw(ALL, job)
        return replace(job, answers=self.sheet)

    def answer_draw(self, draw: str, job: ScoringJob) -> None:
        """Answer the prompts of a draw that have no answer yet; raises as `answer_all`."""
        for shard in self.sheet.read_shards(draw, SHARD_PROMPTS):
            self._take_cached([line.key for line in shard if not line.is_answered])
        n_drawn, n_answered, n_failed = self.sheet.count_drawn(draw)
        if n_answered:
            self._listener(Noted(f"{n_answered:,} of {n_drawn:,} answers are known"))
        n_settled = n_answered + n_failed
        if n_settled == n_drawn:
            return
        unit = "answers" if self.sheet.generator.n_samples else "prompts"
        self._listener(StageStarted("generating", n_drawn, unit, done=n_settled))
        if self._server is None:
            self._generate(draw, job)
        else:
            self._ask(draw, self._server, job)
        self._listener(StageFinished("generating"))

    def explain_sameness(self) -> str | None:
        """Return what to say where drawn answers do not differ, so that their spread says nothing."""
        if not self.sheet.generator.n_samples:
            return None
        n_compared, n_varied = self.sheet.count_varied()
        if n_varied or n_compared < LEAST_COMPARED:
            return None
        who = "the model" if self._server is None else "the server (does it ignore temperature and seed?)"
        return (
            f"the answers drawn to each of {n_compared:,} prompts are all the same: {who} draws nothing, and standard "
            "errors of 0 say nothing"
        )

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

    def _generate(self, draw: str, job: ScoringJob) -> None:
        for shard in self.sheet.read_shards(draw, SHARD_PROMPTS):
            missing = [line.key for line in shard if not line.is_answered]
            # Another process may have answered them by now.
            if missing and (wanted := set(missing) - self._take_cached(missing)):
                answers = make_answers(self._plan, job, [(line.prompt, line.sample) for line in shard])
                new = {line.key: given for line, given in zip(shard, answers, strict=True) if line.key in wanted}
                self.sheet.add_answers(new, is_cached=False)
                self._keep(new)
            self._listener(StageAdvanced("generating", len(missing)))

    def _ask(self, draw: str, server: CompletionServer, job: ScoringJob) -> None:
        reason = ""
        n_threads = self._config.baseline_server_concurrency
        for request, outcome in ask_server(server, self._list_requests(draw, job), n_threads=n_threads):
            if isinstance(outcome, FailedAnswer):
                reason = outcome.reason
                self.sheet.add_failure(request.key, outcome)
            else:
                answer, is_counted = outcome
                if not is_counted:
                    answer = replace(answer, n_tokens=count_answer_tokens(job.model, answer.text))
                self.sheet.add_answers({request.key: answer}, is_cached=False)
                self._keep({request.key: answer})
            self._listener(StageAdvanced("generating", 1))
        counts = self.sheet.count()
        if counts.n_failed and not counts.n_answered:
            # Asked anew by the next scan: scores without a single baseline are of no use.
            self.sheet.forget_failures()
            raise ServerError(server.url, f"answered no prompt; {reason}", "look into its log and its settings")

    def _list_requests(self, draw: str, job: ScoringJob) -> Iterator[Request]:
        """Yield what a server has to be asked; a prompt that leaves no room has an empty answer, as it would here."""
        stops, is_drawn = wire_stops(job.model), bool(self.sheet.generator.n_samples)
        for shard in self.sheet.read_shards(draw, SHARD_PROMPTS):
            missing = [line.key for line in shard if not line.is_answered]
            found = self._take_cached(missing)
            if found:
                self._listener(StageAdvanced("generating", len(found)))
            for line in shard:
                if line.is_answered or line.key in found:
                    continue
                text, n_tokens, own = wire_prompt(job.model, line.prompt, job.max_tokens)
                room = min(self._config.max_new_tokens, job.max_tokens - n_tokens)
                if room > 0 and n_tokens:
                    seed = wire_seed_of(job.seed, line.prompt, line.sample) if is_drawn else job.seed
                    yield Request(line.key, text, room, {"seed": seed, **stops, **own})
                else:
                    self.sheet.add_answers({line.key: Answer("", 0, False)}, is_cached=False)
                    self._listener(StageAdvanced("generating", 1))

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


def make_answers(plan: Plan, job: ScoringJob, asked: Sequence[tuple[str, int]]) -> list[Answer]:
    """Let the model answer prompts as a scan has it: greedily, or by the numbers of the sample behind each prompt.

    Raises:
        ModelError: a single prompt does not fit into the device's memory.
    """
    prompts = [prompt for prompt, _ in asked]
    limits: dict[str, Any] = {
        "max_new_tokens": plan.config.max_new_tokens,
        "max_tokens": job.max_tokens,
        "batch_tokens": job.batch_tokens,
        "way": plan.generation,
    }
    if plan.config.baseline_samples:
        seeds = [seed_of(job.seed, prompt, sample) for prompt, sample in asked]
        return sample_answers(job.model, prompts, seeds=seeds, temperature=SAMPLING_PARAMETERS["temperature"], **limits)
    return answer_prompts(job.model, prompts, seed=job.seed, **limits)


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
    limits = {"max_new_tokens": config.max_new_tokens, "max_tokens": max_tokens, "seed": config.seed}
    if plan.server is not None:
        # Where the server stands decides no answer.
        return Generator(
            model=f"server: {plan.server.model}",
            identity={
                "version": SERVER_VERSION,
                "server": {"model": plan.server.model, "root": plan.server.root},
                "template": model.template.name,
                "stops": wire_stops(model),
                "parameters": plan.answer_parameters,
                **limits,
            },
            n_samples=config.baseline_samples,
        )
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
            "parameters": plan.answer_parameters,
            **limits,
        },
        n_samples=config.baseline_samples,
    )


def is_identified(generator: Generator) -> bool:
    """Tell whether another model's answers cannot be taken for this one's: its files or its weights are known.

    Of a server's model only the name is known, and that is what the user chose it by.
    """
    if "server" in generator.identity:
        return True
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
