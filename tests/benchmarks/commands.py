"""Measure whole commands: how long a scan and the help take, and what more rows do to memory: S1 to S5, C1, C2.

Run as `python -m tests.benchmarks.commands`. Scans are run as they are by default: answers are generated, and evidence
is measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.check import LARGE_ROWS as LARGE_CHECK
from tests.benchmarks.check import SMALL_ROWS as SMALL_CHECK
from tests.benchmarks.check import measure_check, measure_peak_mib
from tests.benchmarks.part import ROOT, Findings

HELP_RUNS = 7
SMALL_ROWS, LARGE_ROWS = 1_000, 4_000
WORLD_SEED = 7100


@dataclass(frozen=True)
class Usage:
    """What one command took: wall-clock seconds and the peak of its resident memory in MiB."""

    wall_s: float
    peak_mib: float


def run_command(arguments: Sequence[str]) -> Usage:
    """Run a command to its end and measure it; its own output is shown only if it fails."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        if status != 0:
            output.seek(0)
            sys.exit(f"{' '.join(arguments)} failed:\n{output.read().decode(errors='replace')}")
    return Usage(wall_s, usage.ru_maxrss / 1024)


def audit(*arguments: str) -> list[str]:
    """Return the command line of the tool in this environment."""
    return [sys.executable, "-m", "audit", *arguments]


def measure_start(folder: Path) -> Findings:
    """Return the scan of the demo, and the help."""
    help_s = statistics.median(run_command(audit("--help")).wall_s for _ in range(HELP_RUNS))
    demo = run_command(
        audit("scan", "examples/demo.jsonl", "--out", str(folder / "demo.audit"), "--quiet", "--no-cache")
    )
    return Findings({"S1": demo.wall_s, "S2": help_s})


def measure_growth(folder: Path) -> Findings:
    """Return time and memory of a scan of many rows, against one of few."""
    usages = {}
    for n_rows in (SMALL_ROWS, LARGE_ROWS):
        data = folder / f"{n_rows}.jsonl"
        labels = folder / f"{n_rows}.labels.jsonl"
        make = ["--rows", str(n_rows), "--seed", str(WORLD_SEED), "--output", str(data), "--labels", str(labels)]
        run_command([sys.executable, "-m", "audit.demo.world", *make])
        usages[n_rows] = run_command(
            audit("scan", str(data), "--out", str(folder / f"{n_rows}.audit"), "--quiet", "--no-cache")
        )
    large = usages[LARGE_ROWS]
    return Findings(
        {
            "S3": large.peak_mib / usages[SMALL_ROWS].peak_mib,
            "S4": large.peak_mib,
            "S5": large.wall_s * 1000 / LARGE_ROWS,
        }
    )


def measure_preflight() -> Findings:
    """Return rows a second of `check`, and what memory does."""
    return Findings({"C1": measure_check(), "C2": measure_peak_mib(LARGE_CHECK) / measure_peak_mib(SMALL_CHECK)})


def main() -> None:
    """Measure with all cores."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="no large scan, no large check")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="persona-audit-bench-") as folder:
        found = measure_start(Path(folder))
        found.send()
        if options.quick:
            found.add(Findings({"C1": measure_check(20_000)}))
        else:
            found.add(measure_preflight())
            found.send()
            found.add(measure_growth(Path(folder)))
        found.send()


if __name__ == "__main__":
    main()
