"""Many requests at once: a few threads ask, answers come back as they are finished.

The threads are daemons and look at a flag between tries, so that an interrupt never waits for a slow server.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from audit.answers import Answer, FailedAnswer
from audit.errors import AuditError, ServerError
from audit.server.completions import CompletionServer
from audit.server.service import ModelServer, Wait

_WAITING_PER_THREAD = 2
_MOST_LOST_PER_THREAD = 2
"""So many prompts per thread, one after the other, without an answer: the server has stopped answering."""

Asked = TypeVar("Asked")
Given = TypeVar("Given")


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt to be asked; `key` is what its answer is stored under, `options` more of the request."""

    key: bytes
    text: str
    max_tokens: int
    options: Mapping[str, Any]


Outcome = tuple[Answer, bool] | FailedAnswer


def ask_server(
    server: CompletionServer, requests: Iterable[Request], *, n_threads: int
) -> Iterator[tuple[Request, Outcome]]:
    """Yield prompts with what became of them, see `CompletionServer.complete`; order and errors as in `ask_many`."""

    def complete(request: Request, wait: Wait) -> Outcome:
        return server.complete(request.text, request.options, max_tokens=request.max_tokens, wait=wait)

    return ask_many(server, requests, complete, n_threads=n_threads)


def ask_many(
    server: ModelServer,
    requests: Iterable[Asked],
    ask: Callable[[Asked, Wait], Given | FailedAnswer],
    *,
    n_threads: int,
) -> Iterator[tuple[Asked, Given | FailedAnswer]]:
    """Yield requests with what became of them, in the order in which they finish.

    Args:
        ask: asks the server for one; the wait that it is given ends when nobody listens any more.

    Raises:
        ServerError: the server refuses every request, or has stopped answering; what was yielded is good.
    """
    # A request in a tuple of its own: None is the end.
    asked: queue.SimpleQueue[tuple[Asked] | None] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[Asked, Given | FailedAnswer | AuditError]] = queue.SimpleQueue()
    is_over = threading.Event()

    def work() -> None:
        while (entry := asked.get()) is not None and not is_over.is_set():
            outcome: Given | FailedAnswer | AuditError
            try:
                outcome = ask(entry[0], is_over.wait)
            except AuditError as error:
                outcome = error
            except Exception as error:  # noqa: BLE001 - a bug in a thread must reach the caller, or it waits for ever
                outcome = ServerError(server.url, f"{type(error).__name__}: {error}")
            finished.put((entry[0], outcome))

    threads = [threading.Thread(target=work, name=f"ask-{n}", daemon=True) for n in range(n_threads)]
    for thread in threads:
        thread.start()
    waiting = iter(requests)
    n_open = n_lost = 0
    is_drained = False
    try:
        while True:
            while not is_drained and n_open < n_threads * _WAITING_PER_THREAD:
                try:
                    asked.put((next(waiting),))
                    n_open += 1
                except StopIteration:
                    is_drained = True
            if not n_open:
                return
            request, outcome = finished.get()
            n_open -= 1
            if isinstance(outcome, AuditError):
                raise outcome
            n_lost = n_lost + 1 if isinstance(outcome, FailedAnswer) and outcome.is_passing else 0
            if isinstance(outcome, FailedAnswer) and outcome.is_passing:
                server.check()
                if n_lost >= n_threads * _MOST_LOST_PER_THREAD:
                    cure = "look into its log; the same command continues"
                    raise ServerError(server.url, f"{n_lost} prompts in a row failed: {outcome.reason}", cure)
            yield request, outcome
    finally:
        is_over.set()
        for _ in threads:
            asked.put(None)
