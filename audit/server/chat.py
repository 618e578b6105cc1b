"""A model behind `/v1/chat/completions`: one conversation answered, with the first token's alternatives if wanted.

Servers differ in what they take. One that refuses an option aloud is asked again without it; one that ignores it
silently is noticed by what does not come back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.answers import FailedAnswer
from audit.errors import ConfigError, ServerError
from audit.samples.text import clean_text
from audit.server.service import ENDED, ModelServer, OptionNames, Wait, ask_listing, read_choice
from audit.server.wire import WireError

SERVER_OPTIONS = OptionNames("--server", "--llm")
JUDGE_OPTIONS = OptionNames("--judge-server", "--judge-model")

_CALLED = frozenset({"tool_calls", "function_call"})


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a model said.

    Attributes:
        text: empty where it said nothing, such as when it was cut off while it thought.
        finished: the model ended the answer itself.
        first_logprobs: natural logarithms of the probabilities of the first generated token and its alternatives, by
            token; None where they were not asked for, or the server does not give them.
        n_tokens: of the prompt and of the answer together, as the server counts them; None where it does not.
    """

    text: str
    finished: bool
    first_logprobs: Mapping[str, float] | None = None
    n_tokens: int | None = None


class ChatServer(ModelServer):
    """A model that answers a conversation."""

    __slots__ = ()

    def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        temperature: float,
        n_logprobs: int | None = None,
        seed: int | None = None,
        wait: Wait | None = None,
    ) -> ChatAnswer | FailedAnswer:
        """Ask for the answer to a conversation; what fails in passing is asked again.

        Args:
            messages: of `role` and `content`.
            n_logprobs: alternatives of the first token to ask for.
            wait: None: sleeps, and wants the answer to the end.

        Raises:
            ServerError: the server refuses every request: the key, the URL or the model's name is wrong.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{name: clean_text(text) for name, text in message.items()} for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stream": False,
        }
        if seed is not None:
            body["seed"] = seed
        if n_logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": n_logprobs}
        while True:
            outcome = self.post("/chat/completions", body, _read_chat, wait=wait or _sleep)
            if not isinstance(outcome, FailedAnswer) or outcome.is_passing or not _concede(body, outcome.reason):
                return outcome


def connect_chat(
    url: str, *, model: str | None = None, timeout_s: float = 300.0, options: OptionNames = SERVER_OPTIONS
) -> ChatServer:
    """Find a server and the model on it.

    A name that a server does not list is tried once: `transformers serve` answers for a directory that it lists
    nowhere.

    Args:
        model: the name of the model on the server; None: its only one.

    Raises:
        ConfigError: the URL is none, or the model is not served or not to be chosen from what is there.
        ServerError: the server does not answer, or not with a list of models.
    """
    listing = ask_listing(url, options, model=model)
    roots = listing.roots or {}
    chosen = model if model is not None else listing.choose(None, options)
    server = ChatServer(listing.url, chosen, roots.get(chosen), timeout_s, options)
    if roots and chosen not in roots:
        _try_unlisted(server, listing.names)
    return server


def _try_unlisted(server: ChatServer, names: str) -> None:
    finding, cure = "", f"the server lists {names}"
    try:
        tried = server.ask([{"role": "user", "content": "Hello"}], max_tokens=1, temperature=0, wait=lambda _: True)
    except ServerError as error:
        finding, cure = error.finding, f"{cure}; {error.cure}"
    else:
        if isinstance(tried, FailedAnswer) and not tried.is_passing:
            finding = tried.reason
    if finding:
        raise ConfigError(server.options.model, f"{server.model!r} is not listed, and not served: {finding}", cure)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _concede(body: dict[str, Any], reason: str) -> bool:
    """Take out of a request what the server's refusal names; False: nothing that can be done without."""
    refused = reason.casefold()
    if "logprob" in refused and body.pop("logprobs", None) is not None:
        del body["top_logprobs"]
    elif "max_completion_tokens" in refused and "max_tokens" in body:
        # OpenAI's own models that think take the limit by this name alone.
        body["max_completion_tokens"] = body.pop("max_tokens")
    elif "seed" not in refused or body.pop("seed", None) is None:
        return False
    return True


def _read_chat(found: Any) -> ChatAnswer:
    """Return the answer in a response; anything else is an answer gone wrong."""
    choice, reason = read_choice(found, also=_CALLED)
    message = choice.get("message")
    if not isinstance(message, dict) or "content" not in message:
        raise WireError("the answer holds no message with content")
    logprobs = _read_logprobs(choice.get("logprobs"))
    return ChatAnswer(clean_text(_read_content(message)), reason in ENDED, logprobs, _read_n_tokens(found.get("usage")))


def _read_content(message: Mapping[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, list):
        # Some servers give a list of parts.
        content = "".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    if content is None:
        # What a model says that refuses stands in a field of its own; of one that only thought there is nothing.
        content = refusal if isinstance(refusal := message.get("refusal"), str) else ""
    if not isinstance(content, str):
        raise WireError("the answer holds no text")
    return content


def _read_n_tokens(found: Any) -> int | None:
    """Return the tokens that a request took; None where what came cannot be that."""
    counts = [found.get(name) for name in ("prompt_tokens", "completion_tokens")] if isinstance(found, dict) else []
    known = [count for count in counts if isinstance(count, int) and count is not True and count >= 0]
    return sum(known) if known and len(known) == len(counts) else None


def _read_logprobs(found: Any) -> dict[str, float] | None:
    """Return the first token and its alternatives; None where what came cannot be that."""
    tokens = found.get("content") if isinstance(found, dict) else None
    first = tokens[0] if isinstance(tokens, list) and tokens and isinstance(tokens[0], dict) else {}
    alternatives = first.get("top_logprobs")
    listed = [first, *(alternatives if isinstance(alternatives, list) else [])]
    logprobs: dict[str, float] = {}
    for entry in listed:
        token, value = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
        # Python's JSON knows NaN; true is a number to it.
        if isinstance(token, str) and isinstance(value, (int, float)) and value == value and value is not True:
            logprobs.setdefault(token, min(float(value), 0.0))
    return logprobs or None
