"""Measure what the README promises about speed and memory: whole commands, on the machine at hand.

`make bench` prints a table and writes `bench.json`. Off by default: timings are no tests.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.check import LARGE_ROWS as LARGE_CHECK
from tests.benchmarks.check import SMALL_ROWS as SMALL_CHECK
from tests.benchmarks.check import measure_check, measure_peak_mib

CHECK_ROWS = (SMALL_CHECK, LARGE_CHECK)
ROOT = Path(__file__).resolve().parents[2]
HELP_RUNS = 7
SMALL_ROWS, LARGE_ROWS = 1_000, 20_000
WORLD_SEED = 7100


@dataclass(frozen=True)
class Result:
    """One measured figure beside its bar."""

    id: str
    what: str
    value: float | None
    bar: float
    met: bool | None
    unit: str


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


def measure_all(folder: Path) -> list[Result]:
    """Run every measurement; `folder` is for what the commands write."""
    help_s = statistics.median(run_command(audit("--help")).wall_s for _ in range(HELP_RUNS))
    demo = run_command(
        audit("scan", "examples/demo.jsonl", "--out", str(folder / "demo.audit"), "--quiet", "--no-cache")
    )
    peaks = {}
    for n_rows in (SMALL_ROWS, LARGE_ROWS):
        data = folder / f"{n_rows}.jsonl"
        labels = folder / f"{n_rows}.labels.jsonl"
        make = ["--rows", str(n_rows), "--seed", str(WORLD_SEED), "--output", str(data), "--labels", str(labels)]
        run_command([sys.executable, "-m", "audit.demo.world", *make])
        peaks[n_rows] = run_command(
            audit("scan", str(data), "--out", str(folder / f"{n_rows}.audit"), "--quiet", "--no-cache")
        )
    growth = peaks[LARGE_ROWS].peak_mib / peaks[SMALL_ROWS].peak_mib
    return [
        _result("S1", "scan of the 1,000 demo rows with generated baselines", demo.wall_s, 60.0, "s"),
        _result("S2", "persona-audit --help, median of 7", help_s, 0.4, "s"),
        _result("S3", f"peak memory, {LARGE_ROWS:,} rows against {SMALL_ROWS:,}", growth, 1.15, "ratio"),
        _result("S4", f"peak memory of a scan of {LARGE_ROWS:,} rows", peaks[LARGE_ROWS].peak_mib, 2048.0, "MiB"),
        _result(
            "S5", f"scan of {LARGE_ROWS:,} rows, per 1,000", peaks[LARGE_ROWS].wall_s * 1000 / LARGE_ROWS, 60.0, "s"
        ),
        _result("C1", "check of chat rows of 1 KB, all trainers", measure_check(), 50_000.0, "rows/s", is_least=True),
        _result(
            "C2",
            f"peak memory of check, {CHECK_ROWS[1]:,} rows against {CHECK_ROWS[0]:,}",
            measure_peak_mib(CHECK_ROWS[1]) / measure_peak_mib(CHECK_ROWS[0]),
            1.15,
            "ratio",
        ),
    ]


def _result(name: str, what: str, value: float, bar: float, unit: str, *, is_least: bool = False) -> Result:
    """Return a figure that is to be at most the bar, or at least, where `is_least`."""
    return Result(name, what, round(value, 3), bar, value >= bar if is_least else value <= bar, unit)


def describe_machine() -> str:
    """Return processor, cores and versions in one line."""
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def main() -> None:
    """Measure, print, and write `bench.json`."""
    with tempfile.TemporaryDirectory(prefix="persona-audit-bench-") as folder:
        results = measure_all(Path(folder))
    print(describe_machine())
    for result in results:
        mark = "met" if result.met else "MISSED"
        print(f"{result.id}  {result.what:58} {result.value:10.3f} {result.unit:6} bar {result.bar:g}  {mark}")
    (ROOT / "bench.json").write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
