"""An OpenAI-compatible chat server with a script: a small ASGI app behind uvicorn, in a thread."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.servers import Reply


def say(text: Any, reason: Any = "stop", logprobs: dict[str, float] | None = None) -> Reply:
    """Return a chat answer; `logprobs` are those of the first token."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    if logprobs is not None:
        alternatives = [{"token": token, "logprob": value, "bytes": None} for token, value in logprobs.items()]
        choice["logprobs"] = {"content": [{**alternatives[0], "top_logprobs": alternatives}]}
    return Reply({"object": "chat.completion", "choices": [choice], "usage": {"completion_tokens": 1}})


def last_words(body: dict[str, Any]) -> str:
    """Return what the last message of a request says."""
    return str(body["messages"][-1]["content"])


class ScriptedServer:
    """What the server was asked, and what it says."""

    def __init__(self, url: str, server: uvicorn.Server) -> None:
        self.url = url
        self.is_dead = False
        self._server = server
        self.reset()

    def reset(self) -> None:
        """Forget everything, for the next test."""
        self.models: Any = {"data": [{"id": "chatty"}]}
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.script: Callable[[dict[str, Any], int], Reply] = lambda body, number: say("Hello.")

    def die(self) -> None:
        """Drop all connections and refuse new ones."""
        self.is_dead = self._server.force_exit = self._server.should_exit = True
        for listener in getattr(self._server, "servers", []):
            listener.get_loop().call_soon_threadsafe(listener.close)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request."""
        content = b""
        is_whole = False
        while not is_whole:
            message = await receive()
            content += message.get("body", b"")
            is_whole = not message.get("more_body", False)
        self.paths.append(scope["path"])
        self.keys.append(dict(scope["headers"]).get(b"authorization", b"").decode() or None)
        if scope["method"] == "GET":
            reply = self.models if isinstance(self.models, Reply) else Reply(self.models)
        else:
            self.asked.append(json.loads(content))
            reply = self.script(self.asked[-1], len(self.asked))
        await asyncio.sleep(reply.delay_s)
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        # Of a body that is cut the rest never comes; uvicorn then closes the connection.
        length = len(body) + 4000 * reply.is_cut
        headers = {"content-type": "application/json", "content-length": str(length), **reply.headers}
        start = {"type": "http.response.start", "status": reply.status}
        await send({**start, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]})
        await send({"type": "http.response.body", "body": body})


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Run a server for the time of a test."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await scripted(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_level="critical"))
    scripted = ScriptedServer(f"http://127.0.0.1:{listener.getsockname()[1]}", server)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.started
        yield scripted
    finally:
        server.force_exit = server.should_exit = True
        thread.join(10)
        listener.close()
