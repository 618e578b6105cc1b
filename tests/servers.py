"""A small OpenAI-compatible server in a thread, that can be told to answer slowly, wrongly or not at all."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ["bread", "water", "yeast", "honest", "kind", "friend", "day", "good"]


@dataclass
class Reply:
    """What to answer: a JSON value or raw bytes; `is_cut`: the connection closes without an answer."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    is_cut: bool = False


def answer_to(prompt: str) -> str:
    """Return the right answer to a prompt: a few words that depend on it."""
    return " ".join(WORDS[byte % len(WORDS)] for byte in hashlib.sha256(prompt.encode()).digest()[:6])


def completion(text: Any, reason: Any = "stop") -> dict[str, Any]:
    """Return a response body."""
    return {"choices": [{"index": 0, "text": text, "finish_reason": reason}], "usage": {"completion_tokens": 6}}


class FakeServer:
    """What the server was asked, and what it is to do about it."""

    def __init__(self, http: ThreadingHTTPServer) -> None:
        self.http = http
        self.models: Any = {"data": [{"id": "llama"}]}
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.script: Callable[[dict[str, Any], int], Reply | None] = lambda body, number: None
        self.n_open = self.most_open = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address, without `/v1`."""
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def tries(self, prompt: str) -> int:
        """How often a prompt was asked."""
        return sum(body["prompt"] == prompt for body in self.asked)

    def stop(self) -> None:
        """Refuse connections from now on."""
        self.http.shutdown()
        self.http.server_close()


@contextmanager
def running_server() -> Iterator[FakeServer]:
    """Run a server for the time of a test."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._note()
            self._send(Reply(server.models) if not isinstance(server.models, Reply) else server.models)

        def do_POST(self) -> None:
            self._note()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.asked.append(body)
                number = len(server.asked)
                server.n_open += 1
                server.most_open = max(server.most_open, server.n_open)
            reply = server.script(body, number) or Reply(completion(answer_to(body["prompt"])))
            time.sleep(reply.delay_s)
            with server.lock:
                server.n_open -= 1
            self._send(reply)

        def _note(self) -> None:
            server.paths.append(self.path)
            server.keys.append(self.headers.get("Authorization"))

        def _send(self, reply: Reply) -> None:
            if reply.is_cut:
                self.close_connection = True
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                # Whoever asked has left.
                pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    http = Server(("127.0.0.1", 0), Handler)
    server = FakeServer(http)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(5)
