"""A specification that grows: ask, take what is good, say what was not, ask again, up to a bound.

Source of what a specification holds: arXiv 2507.21509, appendix A. Departure: the model is asked for one kind of item
at a time, so that a reply that cannot be used costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from audit.answers import FailedAnswer
from audit.drafting.asks import Subject, ask_pairs, ask_questions, ask_rubric
from audit.drafting.items import refuse_names, refuse_pair, refuse_question, refuse_rubric, tidy
from audit.drafting.loose_json import read_records
from audit.errors import ServerError
from audit.events import Listener, Noted, StageAdvanced, StageFinished, StageStarted, ignore_events
from audit.refusal import is_refusal
from audit.server import ChatServer
from audit.traits import N_PAIRS, N_QUESTIONS, PromptPair, TraitSpec

MAX_TOKENS = 4096
TEMPERATURE = 1.0
"""What every server takes; a request that is repeated has to bring something else."""

MOST_AT_ONCE = 20
SPARE = 2
"""Items more than are missing that a model is asked for again: some will not do either."""

MOST_ROUNDS = 12
MOST_FRUITLESS = 3
"""Requests for one kind of item; and how many in a row may bring nothing."""

_STAGE = "drafting"
_POSITIVE, _NEGATIVE = ("positive", "pos"), ("negative", "neg")


@dataclass(frozen=True, slots=True)
class Drafted:
    """What came of drafting.

    Attributes:
        spec: complete if nothing is `missing`.
        missing: what is, in words.
        complaint: what was wrong with the last reply of those that brought nothing.
        n_requests: to the server, repetitions of failed ones not counted.
        n_dropped: items that could not be used.
    """

    spec: TraitSpec
    missing: tuple[str, ...]
    complaint: str
    n_requests: int
    n_dropped: int

    @property
    def is_empty(self) -> bool:
        """Nothing has been drafted at all."""
        return not (self.spec.rubric or self.spec.pairs or self.spec.extraction_questions)


class _Growth:
    """A draft while it grows."""

    def __init__(self, subject: Subject, server: ChatServer, max_tokens: int, listener: Listener) -> None:
        self.subject = subject
        self.rubric = self.positive_name = self.negative_name = ""
        self.pairs: list[PromptPair] = []
        self.questions: list[str] = []
        self.complaint = ""
        self.n_requests = self.n_dropped = self._n_failed = 0
        self._server = server
        self._max_tokens = max_tokens
        self._listener = listener

    def grow(self, n_missing: Callable[[], int], ask: Callable[[int, str], str], take: Callable[[str], str]) -> None:
        """Ask until nothing is missing.

        Args:
            n_missing: items of this kind.
            ask: makes a request for so many, with a complaint about the last reply.
            take: takes what is good in a reply, and returns what was not.
        """
        complaint, n_fruitless = "", 0
        for _ in range(MOST_ROUNDS):
            before = n_missing()
            if not before or n_fruitless == MOST_FRUITLESS:
                break
            n_asked = before + (SPARE if complaint else 0)
            complaint = self._ask_once(ask(min(n_asked, MOST_AT_ONCE), complaint), take)
            n_new = before - n_missing()
            n_fruitless = 0 if n_new else n_fruitless + 1
            self._listener(StageAdvanced(_STAGE, n_new))
            if complaint and n_missing():
                self._listener(Noted(f"still missing {n_missing()}; of the last reply: {complaint}"))
        if n_missing() and complaint:
            self.complaint = complaint

    def _ask_once(self, request: str, take: Callable[[str], str]) -> str:
        self.n_requests += 1
        outcome = self._server.ask(
            [{"role": "user", "content": request}],
            max_tokens=self._max_tokens,
            temperature=TEMPERATURE,
            # A server that repeats itself for the same seed gets another one each time.
            seed=self.n_requests,
        )
        if isinstance(outcome, FailedAnswer):
            if outcome.is_passing:
                raise ServerError(self._server.url, outcome.reason, "look into its log; then ask again")
            # Nothing that the model could mend.
            self.complaint = outcome.reason
            self._n_failed += 1
            if self._n_failed == self.n_requests == MOST_FRUITLESS:
                cure = f"look into its log, and check the name with {self._server.options.model}"
                raise ServerError(self._server.url, f"answered no request; {outcome.reason}", cure)
            return ""
        if not outcome.text.strip():
            return "it was empty" if outcome.finished else "it was cut off before it said anything"
        complaint = take(outcome.text)
        if complaint and not outcome.finished:
            complaint += "; it was cut off: write shorter"
        return complaint

    def take_rubric(self, reply: str) -> str:
        """Take the rubric and the two names."""
        found = {name: tidy(text) for record in _objects(reply) for name, text in record.items()}
        rubric, *names = (found.get(name, "") for name in ("rubric", "positive_name", "negative_name"))
        wrong = []
        if not self.rubric:
            finding = refuse_rubric(rubric)
            self.rubric = rubric if finding is None else ""
            wrong += [f"the rubric {finding}"] if finding else []
        if not self.positive_name:
            finding = refuse_names(names[0], names[1], self.subject.language)
            if finding is None:
                self.positive_name, self.negative_name = names
            wrong += [f"an assistant's name {finding}"] if finding else []
        return self._complain(reply, wrong, n_found=len(found))

    def take_pairs(self, reply: str) -> str:
        """Take pairs of system prompts."""
        found = [
            PromptPair(tidy(positive), tidy(negative))
            for record in _objects(reply)
            if (positive := _first(record, _POSITIVE)) and (negative := _first(record, _NEGATIVE))
        ]
        wrong = []
        for pair in found:
            if not self.n_pairs_missing():
                break
            finding = refuse_pair(pair, self.pairs)
            if finding is None:
                self.pairs.append(pair)
            else:
                wrong.append(f"a pair {finding}: {_quote(pair.positive)}")
        return self._complain(reply, wrong, n_found=len(found))

    def take_questions(self, reply: str) -> str:
        """Take questions of both kinds."""
        records = read_records(reply)
        texts = (_first(record, ("question", *record)) if isinstance(record, dict) else record for record in records)
        found = [tidy(text).replace("\n", " ") for text in texts]
        wrong = []
        for question in found:
            if not self.n_questions_missing():
                break
            finding = refuse_question(question, self.subject.name, self.questions)
            if finding is None:
                self.questions.append(question)
            else:
                wrong.append(f"a question {finding}: {_quote(question)}")
        return self._complain(reply, wrong, n_found=len(found))

    def _complain(self, reply: str, wrong: list[str], *, n_found: int) -> str:
        if not n_found and is_refusal(reply):
            return f"it was a refusal: {_quote(reply)}"
        if not n_found:
            return f"it held nothing of what was asked for: {_quote(reply)}"
        self.n_dropped += len(wrong)
        return "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")

    def n_rubric_missing(self) -> int:
        """Count the rubric, and the names as one."""
        return (not self.rubric) + (not self.positive_name)

    def n_pairs_missing(self) -> int:
        """Count pairs."""
        return N_PAIRS - len(self.pairs)

    def n_questions_missing(self) -> int:
        """Count questions of both kinds."""
        return 2 * N_QUESTIONS - len(self.questions)

    def finish(self) -> Drafted:
        """Return what there is."""
        missing = ["the rubric"] * (not self.rubric) + ["the assistant's names"] * (not self.positive_name)
        missing += [f"{self.n_pairs_missing()} of {N_PAIRS} pairs"] * (self.n_pairs_missing() > 0)
        missing += [f"{self.n_questions_missing()} of {2 * N_QUESTIONS} questions"] * (self.n_questions_missing() > 0)
        spec = TraitSpec(
            name=self.subject.name,
            description=self.subject.description,
            pairs=tuple(self.pairs),
            # In turns: models begin with the obvious, which both kinds should have.
            extraction_questions=tuple(self.questions[0::2]),
            evaluation_questions=tuple(self.questions[1::2]),
            rubric=self.rubric,
            positive_name=self.positive_name,
            negative_name=self.negative_name,
            language=self.subject.language,
        )
        return Drafted(spec, tuple(missing), self.complaint, self.n_requests, self.n_dropped)


def draft_trait(
    server: ChatServer,
    subject: Subject,
    *,
    max_tokens: int = MAX_TOKENS,
    keep: Callable[[Drafted], None] = lambda drafted: None,
    listener: Listener = ignore_events,
) -> Drafted:
    """Have a model draft a specification; what it does not manage is in `missing`.

    Args:
        keep: given what there is when the server is lost or the user interrupts.

    Raises:
        ServerError: the server refuses every request, or has stopped answering.
    """
    draft = _Growth(subject, server, max_tokens, listener)
    listener(StageStarted(_STAGE, 2 + N_PAIRS + 2 * N_QUESTIONS, "items"))
    try:
        draft.grow(draft.n_rubric_missing, lambda n, complaint: ask_rubric(subject, complaint), draft.take_rubric)
        draft.grow(
            draft.n_pairs_missing,
            lambda n, complaint: ask_pairs(subject, n, [pair.positive for pair in draft.pairs], complaint),
            draft.take_pairs,
        )
        draft.grow(
            draft.n_questions_missing,
            lambda n, complaint: ask_questions(subject, n, draft.questions, complaint),
            draft.take_questions,
        )
    except (ServerError, KeyboardInterrupt):
        keep(draft.finish())
        raise
    listener(StageFinished(_STAGE))
    return draft.finish()


def _objects(reply: str) -> list[dict[str, str]]:
    return [record for record in read_records(reply) if isinstance(record, dict)]


def _first(record: dict[str, str], names: Iterable[str]) -> str:
    return next((record[name] for name in names if name in record), "")


def _quote(text: str) -> str:
    line = " ".join(tidy(text).split())
    return repr(line if len(line) <= 80 else line[:79] + "…")
