"""One HTTP request and what can become of it: JSON, or a failure that says whether asking again may help."""

from __future__ import annotations

import email.utils
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

MOST_BYTES = 16 << 20
"""An answer larger than this is none."""

_MOST_REASON = 300
_RETRIED = frozenset({408, 425, 429})


class WireError(Exception):
    """A request that gave no usable answer.

    Attributes:
        reason: one line for people, without the API key.
        code: the HTTP status; None where there was none.
        is_passing: asking again may help.
        is_timeout: nothing came in time.
        wait_s: how long the server asked to wait.
    """

    def __init__(
        self,
        reason: str,
        *,
        code: int | None = None,
        is_passing: bool = True,
        is_timeout: bool = False,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.is_passing = is_passing
        self.is_timeout = is_timeout
        self.wait_s = wait_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another place, and turn a POST into a GET."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


_opener = urllib.request.build_opener(_NoRedirect)


def request_json(url: str, *, key: str | None, timeout_s: float, body: Mapping[str, Any] | None = None) -> Any:
    """Send a GET, or a POST with a JSON body, and return the JSON of the answer.

    Raises:
        WireError: whatever came instead.
    """
    headers = {"Accept": "application/json", "User-Agent": "persona-audit"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers)
    deadline = time.monotonic() + timeout_s
    try:
        with _opener.open(request, timeout=timeout_s) as response:
            content = _read(response, deadline)
    except urllib.error.HTTPError as error:
        with error:
            raise _explain_status(error, key) from None
    except (OSError, http.client.HTTPException) as error:
        raise _explain_failure(error, timeout_s) from None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise WireError("the answer is no JSON") from None


def _read(response: Any, deadline: float) -> bytes:
    content = bytearray()
    while block := response.read1(1 << 16):
        content += block
        if len(content) > MOST_BYTES:
            raise WireError(f"the answer is larger than {MOST_BYTES >> 20} MiB")
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(bytes(content), response.length)
    return bytes(content)


def _explain_status(error: urllib.error.HTTPError, key: str | None) -> WireError:
    try:
        content = error.read(1 << 16)
    except (OSError, http.client.HTTPException):
        content = b""
    message = _message(content) or str(error.reason or "")
    if key:
        # Some servers say which key they refuse.
        message = message.replace(key, "…")
    reason = f"HTTP {error.code}" + (f": {_one_line(message)}" if message else "")
    is_passing = error.code in _RETRIED or error.code >= 500
    return WireError(reason, code=error.code, is_passing=is_passing, wait_s=_wait_s(error.headers.get("Retry-After")))


def _explain_failure(error: Exception, timeout_s: float) -> WireError:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return WireError(f"no answer within {timeout_s:g} s", is_timeout=True)
    return WireError(_one_line(f"{getattr(cause, 'strerror', None) or cause or type(cause).__name__}"))


def _message(content: bytes) -> str:
    text = content.decode(errors="replace").strip()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    return found if isinstance(found, str) else json.dumps(found)


def _wait_s(value: str | None) -> float | None:
    """Read `Retry-After`: seconds, or a date."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if seconds == seconds else None


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_REASON else line[: _MOST_REASON - 1] + "…"
