"""A part of the benchmarks runs in a process of its own, with its own threads, and says what it found in one line.

It says so again whenever it has found more: every part has a time limit, and the last line counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Findings:
    """What a part found: id → value, and what else is worth a line under the table."""

    values: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        """Take over what another part found."""
        self.values |= other.values
        self.notes += other.notes

    def send(self) -> None:
        """Hand all that was found to the process that waits for it."""
        print(json.dumps({"values": self.values, "notes": self.notes}), flush=True)


def run_part(module: str, *options: str, threads: int, limit_s: float) -> Findings:
    """Run `python -m module` and return what it found; one that fails or takes too long keeps what it has sent."""
    # Threads that spin while they wait ruin timings where cores are few.
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
    environment |= {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", module, *options]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as late:
        sent = late.stdout or b""
        ending = f"{module}: stopped after {limit_s:.0f} s"
        return _read(sent.decode(errors="replace") if isinstance(sent, bytes) else sent, ending)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    return _read(done.stdout, f"{module}: failed with exit code {done.returncode}" if done.returncode else None)


def _read(output: str, ending: str | None) -> Findings:
    findings = Findings()
    for line in _finished_lines(output):
        sent: Mapping[str, object] | None = json.loads(line) if line.startswith('{"values"') else None
        if sent is not None:
            findings = Findings(**sent)  # type: ignore[arg-type]
    if ending is not None:
        findings.notes.append(ending)
    return findings


def _finished_lines(output: str) -> Sequence[str]:
    # A process that was stopped may have been in the middle of a line.
    return output[: output.rfind("\n") + 1].splitlines()
