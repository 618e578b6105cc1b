"""A model behind `/v1/completions`: which one it is, and one prompt answered, asked again while that may help."""

from __future__ import annotations

import os
import random
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.answers import Answer, FailedAnswer
from audit.errors import ConfigError, ServerError
from audit.server.wire import WireError, request_json

COMPLETION_PARAMETERS: dict[str, Any] = {"temperature": 0, "n": 1, "stream": False}
"""How a server is asked for baselines: greedily."""

KEY_VARIABLES = ("PERSONA_AUDIT_API_KEY", "OPENAI_API_KEY")
MOST_TRIES = 6
MOST_TIMEOUTS = 2
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
LONGEST_ASKED_WAIT_S = 300.0
"""A server may ask for a longer wait than ours, up to this."""

_CHECK_TIMEOUT_S = 30.0
_ENDED = frozenset({"stop", "eos", "eos_token", "stop_sequence"})
_CUT = frozenset({"length", "max_tokens"})
_FATAL_CURES = {
    401: f"set {KEY_VARIABLES[0]} to a key that the server accepts",
    403: f"set {KEY_VARIABLES[0]} to a key that the server accepts",
    404: "check the URL, and the name with --baseline-server-model",
    405: "check the URL: it has to end before /v1/completions",
}
_OPTION = "--baseline-server"


@dataclass(frozen=True, slots=True)
class CompletionServer:
    """A server and the model on it that answers.

    Attributes:
        url: of the API, ending in `/v1`.
        model: the name that the server knows the model by.
        root: what the server says the model was loaded from, if it does.
        timeout_s: how long one answer may take.
    """

    url: str
    model: str
    root: str | None = None
    timeout_s: float = 300.0

    def complete(
        self, prompt: str, options: Mapping[str, Any], *, max_tokens: int, wait: Callable[[float], bool]
    ) -> tuple[Answer, bool] | FailedAnswer:
        """Ask for the completion of a prompt; what fails in passing is asked again.

        Args:
            options: more of the request, such as `seed` and `stop`.
            wait: waits for seconds; True: nobody wants the answer any more.

        Returns:
            The answer and whether its `n_tokens` is the server's count; or why there is none.

        Raises:
            ServerError: the server refuses every prompt: the key, the URL or the model's name is wrong.
        """
        body = {"model": self.model, "prompt": prompt, "max_tokens": max_tokens, **COMPLETION_PARAMETERS, **options}
        n_timeouts, number = 0, 0
        while True:
            number += 1
            try:
                found = request_json(f"{self.url}/completions", key=_api_key(), timeout_s=self.timeout_s, body=body)
                return _read_completion(found, options.get("stop", ()), max_tokens)
            except WireError as error:
                failure = error
            if failure.code in _FATAL_CURES or (failure.code is not None and 300 <= failure.code < 400):
                cure = _FATAL_CURES.get(failure.code, "name the URL that it redirects to")
                raise ServerError(self.url, failure.reason, cure)
            n_timeouts += failure.is_timeout
            is_over = number >= MOST_TRIES or n_timeouts >= MOST_TIMEOUTS or not failure.is_passing
            if is_over or wait(_pause_s(number, failure.wait_s)):
                return FailedAnswer(f"the server gave no answer: {failure.reason}", is_passing=failure.is_passing)

    def check(self) -> None:
        """Ask the server for its models.

        Raises:
            ServerError: it does not answer.
        """
        try:
            request_json(f"{self.url}/models", key=_api_key(), timeout_s=_CHECK_TIMEOUT_S)
        except WireError as error:
            # Any answer at all shows that it is there.
            if error.code is None:
                raise ServerError(self.url, error.reason, "start the server; the same command then continues") from None


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
    base = normalise_url(url)
    try:
        listed = _list_models(base)
    except WireError as error:
        if model is not None and error.code in (404, 405, 501):
            return CompletionServer(base, model, None, timeout_s)
        raise _explain(base, error) from None
    names = ", ".join(listed)
    if model is not None and model not in listed:
        raise ConfigError("--baseline-server-model", f"{model!r} is not served", f"the server has {names or 'none'}")
    if model is None:
        alike = [name for name in listed if is_same_model(name, listed[name], audited)]
        fitting = alike if len(listed) > 1 else list(listed)
        if len(fitting) != 1:
            finding = f"serves {len(listed)} models ({names})" if listed else "serves no model"
            raise ConfigError(f"{_OPTION} {base}", finding, "name one with --baseline-server-model")
        model = fitting[0]
    return CompletionServer(base, model, listed[model], timeout_s)


def list_models(url: str) -> list[str]:
    """Return the names of the models that a server has.

    Raises:
        ConfigError: the URL is none.
        ServerError: the server does not answer, or not with a list of models.
    """
    base = normalise_url(url)
    try:
        return list(_list_models(base))
    except WireError as error:
        raise _explain(base, error) from None


def is_same_model(name: str, root: str | None, audited: str | None) -> bool:
    """Tell whether a served model goes by the name of the audited one: whole, or its last part."""
    if audited is None:
        return False
    wanted = {audited.casefold(), _last_part(audited)}
    return any(given.casefold() in wanted or _last_part(given) in wanted for given in (name, root) if given)


def normalise_url(url: str) -> str:
    """Return the URL of the API, ending in `/v1`.

    Raises:
        ConfigError: no http or https URL, or one that holds a secret.
    """
    text = url.strip()
    try:
        parts = urllib.parse.urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_url = False
    if not is_url or any(character.isspace() or not character.isprintable() for character in text):
        raise ConfigError(_OPTION, "is no http or https URL", "write it as http://localhost:8000/v1")
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown: it would stand in logs.
        finding = "the URL holds a user, a query or a fragment"
        raise ConfigError(_OPTION, finding, f"leave it out; a key belongs in {KEY_VARIABLES[0]}")
    path = parts.path.rstrip("/").removesuffix("/completions").removesuffix("/chat")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/v1') else path + '/v1'}"


def _explain(base: str, error: WireError) -> ServerError:
    return ServerError(base, error.reason, _FATAL_CURES.get(error.code or 0, "start the server, or check the URL"))


def _list_models(base: str) -> dict[str, str | None]:
    found = request_json(f"{base}/models", key=_api_key(), timeout_s=_CHECK_TIMEOUT_S)
    entries = found.get("data") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise WireError("no list of models")
    named = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    return {entry["id"]: root if isinstance(root := entry.get("root"), str) else None for entry in named}


def _read_completion(found: Any, stops: Sequence[str], max_tokens: int) -> tuple[Answer, bool]:
    """Return the answer in a response; anything else is an answer gone wrong."""
    choices = found.get("choices") if isinstance(found, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise WireError("the answer holds no choice")
    text, reason = choices[0].get("text"), choices[0].get("finish_reason")
    if not isinstance(text, str):
        raise WireError("the answer holds no text")
    if reason == "content_filter":
        raise WireError("the server filtered the answer", is_passing=False)
    if not isinstance(reason, str) or reason not in _ENDED | _CUT:
        raise WireError("the answer does not say how it ended (finish_reason)")
    # Halves of a surrogate pair are no text, and could not be stored.
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    # A server that does not know a stop text goes on behind it.
    end = min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)
    if not text.strip() and reason in _CUT:
        raise WireError("the answer is empty and was cut off")
    usage = found.get("usage")
    n_tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    is_finished = reason in _ENDED or end is not None
    if isinstance(n_tokens, int) and 0 < n_tokens <= max_tokens + 1 and end is None:
        return Answer(text, n_tokens, is_finished), True
    return Answer(text[:end], 0, is_finished), False


def _pause_s(number: int, asked_s: float | None) -> float:
    if asked_s is not None:
        return min(asked_s, LONGEST_ASKED_WAIT_S) + random.uniform(0, 0.1)
    # Spread out, or all requests that failed together would come back together.
    return min(FIRST_WAIT_S * 2.0 ** (number - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1.0)


def _api_key() -> str | None:
    for variable in KEY_VARIABLES:
        key = os.environ.get(variable, "").strip()
        if key:
            if not (key.isascii() and key.isprintable()):
                raise ConfigError(variable, "holds characters that no key has", "set it anew")
            return key
    return None


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()
