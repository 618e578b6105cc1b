"""A judge behind an OpenAI-compatible server: two short questions about every answer, many at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from audit.answers import FailedAnswer
from audit.errors import ServerError
from audit.events import Listener, Noted, StageAdvanced, StageFinished, StageStarted, Warned, ignore_events
from audit.judges.numbers import begins_with_token, read_chat_number
from audit.judges.pairs import judge_pairs
from audit.judges.prompts import PROBE_PROMPT, PROMPT_VERSION, trait_prompt
from audit.judges.rating import Asked, Rated
from audit.server import JUDGE_OPTIONS, ChatAnswer, ChatServer, OptionNames, Wait, ask_many, connect_chat
from audit.traits import Judgement, TraitSpec

N_CONCURRENT = 8
TEMPERATURE = 0.0
SEED = 0

_MAX_TOKENS = 16
"""Enough for a number with a few words around it, which is what is read where no probabilities come."""

_N_LOGPROBS = 20
_STAGE = "judging"
_HOPELESS = 32
"""So many requests without one answer: what refuses these will refuse the others."""

_TEXT_WEAKNESS = (
    "numbers are read from the judge's text, one greedy answer each: the server gives no probabilities of whole numbers"
)


class ServerJudge:
    """A chat model on a server that is asked about a trait and about coherence.

    Attributes:
        is_weighted: the server gives probabilities, and numbers are tokens: a judgement is the mean over them.
        n_judged: numbers that were asked for so far.
        n_void: those among them that did not come.
    """

    name = "server"

    def __init__(
        self,
        server: ChatServer,
        *,
        is_weighted: bool,
        n_concurrent: int = N_CONCURRENT,
        listener: Listener = ignore_events,
    ) -> None:
        self.is_weighted = is_weighted
        self.n_judged = self.n_void = 0
        self._server = server
        self._n_concurrent = n_concurrent
        self._listener = listener

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a judgement; where the server stands does not."""
        return {
            "judge": self.name,
            "model": self._server.model,
            "temperature": TEMPERATURE,
            "seed": SEED,
            "prompts": PROMPT_VERSION,
            "reading": "probabilities" if self.is_weighted else "text",
        }

    @property
    def weakness(self) -> str:
        """What a reader of the numbers should know."""
        return "" if self.is_weighted else _TEXT_WEAKNESS

    def judge(self, spec: TraitSpec, asked: Sequence[tuple[str, str]]) -> list[Judgement]:
        """Judge pairs of question and answer, in order.

        Raises:
            ServerError: the server refuses every request, has stopped answering, or answered none.
        """
        return judge_pairs(spec, asked, self._rate)

    def rate_each(self, asked: Iterable[Asked]) -> Iterator[Rated]:
        """Yield answers with how much they show a trait, in the order in which the server gets done with them.

        Raises:
            ServerError: the server refuses every request, has stopped answering, or answers none of the first ones;
                what was yielded is good.
        """
        n_done = n_failed = 0
        reason = ""
        for request, outcome in ask_many(self._server, asked, self._ask_trait, n_threads=self._n_concurrent):
            n_done += 1
            if isinstance(outcome, FailedAnswer):
                n_failed, reason = n_failed + 1, outcome.reason
                yield Rated(request, None, outcome.reason)
            else:
                number = read_chat_number(outcome, is_weighted=self.is_weighted)
                void = None if number is not None else f"no number from 0 to 100 in {outcome.text[:60]!r}"
                yield Rated(request, number, void, outcome.n_tokens)
            if n_failed == n_done >= _HOPELESS:
                break
        if n_done and n_failed == n_done:
            raise ServerError(self._server.url, f"judged nothing; {reason}", "look into its log and its settings")

    def _ask_trait(self, request: Asked, wait: Wait) -> ChatAnswer | FailedAnswer:
        return self._ask(trait_prompt(request.spec, request.question, request.answer), wait)

    def _rate(self, prompts: list[str]) -> list[float | None]:
        if not prompts:
            return []
        self._listener(StageStarted(_STAGE, len(prompts), "numbers"))
        numbers: dict[str, float | None] = {}
        reasons: Counter[str] = Counter()
        n_failed = 0
        for prompt, outcome in ask_many(self._server, prompts, self._ask, n_threads=self._n_concurrent):
            if isinstance(outcome, FailedAnswer):
                n_failed += 1
                numbers[prompt] = None
                reasons[outcome.reason] += 1
            else:
                numbers[prompt] = read_chat_number(outcome, is_weighted=self.is_weighted)
                if numbers[prompt] is None:
                    reasons[f"no number from 0 to 100 in {outcome.text[:60]!r}"] += 1
            self._listener(StageAdvanced(_STAGE, 1))
        self._listener(StageFinished(_STAGE))
        if n_failed == len(prompts):
            reason = reasons.most_common(1)[0][0]
            raise ServerError(self._server.url, f"judged nothing; {reason}", "look into its log and its settings")
        self._count(len(prompts), reasons)
        return [numbers[prompt] for prompt in prompts]

    def _ask(self, prompt: str, wait: Wait) -> ChatAnswer | FailedAnswer:
        return _ask(self._server, prompt, is_weighted=self.is_weighted, wait=wait)

    def _count(self, n_judged: int, reasons: Counter[str]) -> None:
        n_void = reasons.total()
        self.n_judged += n_judged
        self.n_void += n_void
        if n_void:
            most = reasons.most_common(1)[0][0]
            self._listener(Warned(f"the judge's word is void in {n_void:,} of {n_judged:,} cases, most often: {most}"))


def connect_judge(
    url: str,
    *,
    model: str | None = None,
    timeout_s: float = 300.0,
    n_concurrent: int = N_CONCURRENT,
    options: OptionNames = JUDGE_OPTIONS,
    listener: Listener = ignore_events,
) -> ServerJudge:
    """Find a judge on a server, and find out with one question how its numbers are to be read.

    Raises:
        ConfigError: the URL is none, or the model is not served or not to be chosen from what is there.
        ServerError: the server does not answer.
    """
    server = connect_chat(url, model=model, timeout_s=timeout_s, options=options)
    probe = _ask(server, PROBE_PROMPT, is_weighted=True, wait=None)
    if isinstance(probe, FailedAnswer):
        raise ServerError(server.url, probe.reason, f"check the server's log, and the name with {options.model}")
    # Proven, not assumed: a server may ignore the request silently, and a tokenizer may know digits alone.
    is_weighted = probe.first_logprobs is not None and begins_with_token(probe) is True
    judge = ServerJudge(server, is_weighted=is_weighted, n_concurrent=n_concurrent, listener=listener)
    if read_chat_number(probe, is_weighted=is_weighted) is None:
        # Such as one that thinks first, and is cut off before it says anything.
        said = f"asked for a number, the judge {server.model} said {probe.text[:60]!r}"
        listener(Warned(f"{said}: expect void judgements"))
    elif judge.weakness:
        listener(Noted(judge.weakness))
    return judge


def _ask(server: ChatServer, prompt: str, *, is_weighted: bool, wait: Wait | None) -> ChatAnswer | FailedAnswer:
    return server.ask(
        # No system message: some templates refuse one.
        [{"role": "user", "content": prompt}],
        max_tokens=_MAX_TOKENS,
        temperature=TEMPERATURE,
        n_logprobs=_N_LOGPROBS if is_weighted else None,
        seed=SEED,
        wait=wait,
    )
