"""A model behind `/v1/completions`: one rendered prompt answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from audit.answers import Answer, FailedAnswer
from audit.errors import ConfigError
from audit.samples.text import clean_text
from audit.server.service import CUT, ENDED, ModelServer, OptionNames, Wait, ask_listing, read_choice
from audit.server.wire import WireError

COMPLETION_PARAMETERS: dict[str, Any] = {"temperature": 0, "n": 1, "stream": False}
"""How a server is asked for baselines: greedily."""

SAMPLED_PARAMETERS: dict[str, Any] = {"temperature": 1, "top_p": 1, "n": 1, "stream": False}
"""How a server is asked for an answer that is drawn; several are asked for one by one, as servers may ignore `n`."""

UNCUT_PARAMETERS: dict[str, Any] = {"top_k": -1, "min_p": 0, "repetition_penalty": 1}
"""What keeps a server from its own ideas of sampling: llama.cpp cuts the distribution unless it is told not to, vLLM
and SGLang do as the model's generation_config.json says. Not in OpenAI's interface, so a server may refuse it."""

_OPTIONS = OptionNames("--baseline-server", "--baseline-server-model")


@dataclass(frozen=True, slots=True)
class CompletionServer(ModelServer):
    """A model that goes on with a prompt; `parameters` say how."""

    parameters: Mapping[str, Any] = field(default_factory=lambda: COMPLETION_PARAMETERS)

    @property
    def may_cut(self) -> bool:
        """Whether answers are drawn, and the server could not be told to draw from the whole distribution."""
        return self.parameters == SAMPLED_PARAMETERS

    def complete(
        self, prompt: str, options: Mapping[str, Any], *, max_tokens: int, wait: Wait
    ) -> tuple[Answer, bool] | FailedAnswer:
        """Ask for the completion of a prompt; what fails in passing is asked again.

        Args:
            options: more of the request, such as `seed` and `stop`.

        Returns:
            The answer and whether its `n_tokens` is the server's count; or why there is none.

        Raises:
            ServerError: the server refuses every prompt: the key, the URL or the model's name is wrong.
        """
        body = {"model": self.model, "prompt": prompt, "max_tokens": max_tokens, **self.parameters, **options}
        stops = options.get("stop", ())
        return self.post("/completions", body, lambda found: _read_completion(found, stops, max_tokens), wait=wait)


def connect_server(
    url: str, *, model: str | None = None, audited: str | None = None, timeout_s: float = 300.0
) -> CompletionServer:
    """Find a server and the model on it.

    Args:
        model: the name of the model on the server; None: its only one, or the one named like `audited`.

    Raises:
        ConfigError: the URL is none, or the model is not to be chosen from what is there.
        ServerError: the server does not answer, or not with a list of models.
    """
    listing = ask_listing(url, _OPTIONS, model=model)
    if model is not None and listing.roots is not None and model not in listing.roots:
        raise ConfigError(_OPTIONS.model, f"{model!r} is not served", f"the server has {listing.names}")
    chosen = model if model is not None else listing.choose(audited, _OPTIONS)
    return CompletionServer(listing.url, chosen, (listing.roots or {}).get(chosen), timeout_s, _OPTIONS)


def sampling(server: CompletionServer) -> CompletionServer:
    """Return the server as one that draws its answers, after trying with a token what it lets itself be told.

    Raises:
        ServerError: it refuses every prompt: the key, the URL or the model's name is wrong.
    """
    uncut = replace(server, parameters={**SAMPLED_PARAMETERS, **UNCUT_PARAMETERS})
    plain = replace(server, parameters=SAMPLED_PARAMETERS)
    # What is refused either way, or fails for another reason, shows when it is asked for answers.
    return plain if _is_refused(uncut) and not _is_refused(plain) else uncut


def _is_refused(server: CompletionServer) -> bool:
    tried = server.complete("Hello", {"seed": 0}, max_tokens=1, wait=lambda _: True)
    return isinstance(tried, FailedAnswer) and not tried.is_passing


def _read_completion(found: Any, stops: Sequence[str], max_tokens: int) -> tuple[Answer, bool]:
    """Return the answer in a response; anything else is an answer gone wrong."""
    choice, reason = read_choice(found)
    text = choice.get("text")
    if not isinstance(text, str):
        raise WireError("the answer holds no text")
    # Halves of a surrogate pair are no text, and could not be stored.
    text = clean_text(text)
    # A server that does not know a stop text goes on behind it.
    end = min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)
    if not text.strip() and reason in CUT:
        raise WireError("the answer is empty and was cut off")
    usage = found.get("usage")
    n_tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    is_finished = reason in ENDED or end is not None
    if isinstance(n_tokens, int) and 0 < n_tokens <= max_tokens + 1 and end is None:
        return Answer(text, n_tokens, is_finished), True
    return Answer(text[:end], 0, is_finished), False
