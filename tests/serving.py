"""`transformers serve` on loopback: a real OpenAI-compatible server with a model of ours."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 120.0


@contextmanager
def transformers_serve(model: Path) -> Iterator[str]:
    """Serve a model directory; give the URL, without `/v1`. The server always ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="persona-audit-serve-") as home:
        # It lists the models of a cache, which has to be there.
        (Path(home) / "hub").mkdir()
        variables = {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        program = [sys.executable, "-c", "from transformers.cli.transformers import main; main()"]
        log = Path(home) / "serve.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*program, "serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
                env={name: value for name, value in os.environ.items() if not name.startswith("HF_")} | variables,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
            try:
                url = f"http://127.0.0.1:{port}"
                _wait_until_up(url, process, log)
                yield url
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"transformers serve did not start: {log.read_text(errors='replace')[-3000:]}")
