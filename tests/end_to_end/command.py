"""The command in a process of its own, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "demo.jsonl"
COMMAND = (sys.executable, "-m", "audit")


@dataclass(frozen=True)
class Outcome:
    """What the command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON: nothing else may stand there."""
        return json.loads(self.out)


def run(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> Outcome:
    """Run `persona-audit` with these arguments in `cwd`."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(env),
        input=stdin,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of the tests, with the checkout importable and no hub to reach."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive", **(extra or {})}


def demo_rows(n: int) -> bytes:
    """Return the first n lines of the demo dataset."""
    return b"".join(DEMO.read_bytes().splitlines(keepends=True)[:n])
