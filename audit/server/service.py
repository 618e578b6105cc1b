"""A model on an OpenAI-compatible server: where it is, which one, and a request repeated while that may help.

Knows addresses, keys, patience and refusals; what is asked, and how an answer is read, is the caller's.
"""

from __future__ import annotations

import os
import random
import urllib.parse
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from audit.answers import FailedAnswer
from audit.errors import ConfigError, ServerError
from audit.server.wire import WireError, request_json

KEY_VARIABLES = ("PERSONA_AUDIT_API_KEY", "OPENAI_API_KEY")
MOST_TRIES = 6
MOST_TIMEOUTS = 2
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
LONGEST_ASKED_WAIT_S = 300.0
"""A server may ask for a longer wait than ours, up to this."""

CHECK_TIMEOUT_S = 30.0
ENDED = frozenset({"stop", "eos", "eos_token", "stop_sequence"})
CUT = frozenset({"length", "max_tokens"})
"""What a server calls an answer that the model ended, and one that the limit of tokens did."""

_PATHS = ("/chat/completions", "/completions")

Read = TypeVar("Read")
Wait = Callable[[float], bool]
"""Waits for seconds; True: nobody wants the answer any more."""


@dataclass(frozen=True, slots=True)
class OptionNames:
    """How the user named a server and its model, for messages."""

    server: str
    model: str


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A server and the model on it that answers.

    Attributes:
        url: of the API, ending in `/v1`.
        model: the name that the server knows the model by.
        root: what the server says the model was loaded from, if it does.
        timeout_s: how long one answer may take.
        options: what the user can change.
    """

    url: str
    model: str
    root: str | None = None
    timeout_s: float = 300.0
    options: OptionNames = OptionNames("--server", "--model")

    def post(
        self, path: str, body: Mapping[str, Any], read: Callable[[Any], Read], *, wait: Wait
    ) -> Read | FailedAnswer:
        """Send a request and read its answer; what fails in passing is asked again.

        Args:
            path: behind the URL, such as `/completions`.
            read: makes a value of the JSON of the answer, or raises WireError.

        Returns:
            The value; or why there is none.

        Raises:
            ServerError: the server refuses every request: the key, the URL or the model's name is wrong.
        """
        n_timeouts, number = 0, 0
        while True:
            number += 1
            try:
                return read(request_json(self.url + path, key=read_key(), timeout_s=self.timeout_s, body=body))
            except WireError as error:
                failure = error
            cure = _fatal_cure(failure.code, self.options)
            if cure is not None:
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
            request_json(f"{self.url}/models", key=read_key(), timeout_s=CHECK_TIMEOUT_S)
        except WireError as error:
            # Any answer at all shows that it is there.
            if error.code is None:
                raise ServerError(self.url, error.reason, "start the server; the same command then continues") from None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server at a URL says that it serves.

    Attributes:
        url: of the API, ending in `/v1`.
        roots: names of models, with what each was loaded from; None: the server keeps no list.
    """

    url: str
    roots: Mapping[str, str | None] | None

    @property
    def names(self) -> str:
        """The models, for messages."""
        return ", ".join(self.roots or ()) or "none"

    def choose(self, audited: str | None, options: OptionNames) -> str:
        """Return the only model, or the one named like `audited`.

        Raises:
            ConfigError: there is no such one.
        """
        roots = self.roots or {}
        fitting = [name for name in roots if is_same_model(name, roots[name], audited)] if len(roots) > 1 else [*roots]
        if len(fitting) != 1:
            finding = f"serves {len(roots)} models ({self.names})" if roots else "serves no model"
            raise ConfigError(f"{options.server} {self.url}", finding, f"name one with {options.model}")
        return fitting[0]


def ask_listing(url: str, options: OptionNames, *, model: str | None) -> Listing:
    """Ask a server what it serves.

    Args:
        model: what the user named; without it a server has to keep a list.

    Raises:
        ConfigError: the URL is none.
        ServerError: the server does not answer, or not with a list of models.
    """
    base = normalise_url(url, options.server)
    try:
        return Listing(base, _list_models(base))
    except WireError as error:
        if model is not None and error.code in (404, 405, 501):
            return Listing(base, None)
        cure = _fatal_cure(error.code, options) or "start the server, or check the URL"
        raise ServerError(base, error.reason, cure) from None


def list_models(url: str, option: str = "--server") -> list[str]:
    """Return the names of the models that a server has.

    Raises:
        ConfigError: the URL is none.
        ServerError: the server does not answer, or not with a list of models.
    """
    return list(ask_listing(url, OptionNames(option, "the model"), model=None).roots or ())


def is_same_model(name: str, root: str | None, audited: str | None) -> bool:
    """Tell whether a served model goes by the name of the audited one: whole, or its last part."""
    if audited is None:
        return False
    wanted = {audited.casefold(), _last_part(audited)}
    return any(given.casefold() in wanted or _last_part(given) in wanted for given in (name, root) if given)


def normalise_url(url: str, option: str) -> str:
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
        raise ConfigError(option, "is no http or https URL", "write it as http://localhost:8000/v1")
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown: it would stand in logs.
        finding = "the URL holds a user, a query or a fragment"
        raise ConfigError(option, finding, f"leave it out; a key belongs in {KEY_VARIABLES[0]}")
    path = parts.path.rstrip("/")
    for tail in _PATHS:
        path = path.removesuffix(tail)
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/v1') else path + '/v1'}"


def read_key() -> str | None:
    """Return the API key of the environment, if there is one.

    Raises:
        ConfigError: it holds what no header may.
    """
    for variable in KEY_VARIABLES:
        key = os.environ.get(variable, "").strip()
        if key:
            if not (key.isascii() and key.isprintable()):
                raise ConfigError(variable, "holds characters that no key has", "set it anew")
            return key
    return None


def read_choice(found: Any, also: Collection[str] = ()) -> tuple[dict[str, Any], str]:
    """Return the first choice of an answer and how it ended: one of `ENDED` or `CUT`, or of `also`.

    Raises:
        WireError: there is none, or it does not say how it ended.
    """
    choices = found.get("choices") if isinstance(found, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise WireError("the answer holds no choice")
    reason = choices[0].get("finish_reason")
    if reason == "content_filter":
        raise WireError("the server filtered the answer", is_passing=False)
    if not isinstance(reason, str) or reason not in ENDED | CUT | set(also):
        raise WireError("the answer does not say how it ended (finish_reason)")
    return choices[0], reason


def _fatal_cure(code: int | None, options: OptionNames) -> str | None:
    """Return what to do about a status that every request will meet; None for any other."""
    if code in (401, 403):
        return f"set {KEY_VARIABLES[0]} to a key that the server accepts"
    if code == 404:
        return f"check the URL, and the name with {options.model}"
    if code == 405:
        return "check the URL: it has to end with /v1"
    if code is not None and 300 <= code < 400:
        return "name the URL that it redirects to"
    return None


def _list_models(base: str) -> dict[str, str | None]:
    found = request_json(f"{base}/models", key=read_key(), timeout_s=CHECK_TIMEOUT_S)
    entries = found.get("data") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise WireError("no list of models")
    named = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    return {entry["id"]: root if isinstance(root := entry.get("root"), str) else None for entry in named}


def _pause_s(number: int, asked_s: float | None) -> float:
    if asked_s is not None:
        return min(asked_s, LONGEST_ASKED_WAIT_S) + random.uniform(0, 0.1)
    # Spread out, or all requests that failed together would come back together.
    return min(FIRST_WAIT_S * 2.0 ** (number - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1.0)


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()
