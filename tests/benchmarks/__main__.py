"""Measure what the README promises about speed and memory, print it beside its bars, and write `bench.json`.

`make bench`. Off by default: timings are no tests. Parts run one after another, each in a process of its own and with
a time limit, in 40 minutes together. An id that is not measured has no value.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from tests.benchmarks.bars import BARS, Result, judge
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.part import ROOT, Findings, run_part

GPU_FILE = "bench-gpu.json"
GPU_SHAPE = "Qwen2.5-7B"
LEAST_GPU_SHARE = 0.5
N_CORES = 2


@dataclass(frozen=True, slots=True)
class Part:
    """A module that measures some of the bars, how it is called, also in short, and when it is stopped."""

    ids: tuple[str, ...]
    module: str
    limit_s: float
    options: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = None
    threads: int = 1


# The limits add up to 40 minutes.
PARTS = (
    Part(
        ("P1", "P1m", "P2", "P2f", "P3", "P4", "P4b", "P5"),
        "scoring",
        520,
        ("--budget-s", "300"),
        ("--budget-s", "1", "--pairs", "2", "--inexact"),
    ),
    Part(("P1", "P1m", "P2", "P2f", "P3"), "scoring", 80, ("--pairs", "2", "--rounds", "1", "--inexact"), None, 2),
    Part(("P6",), "generation", 170, ("--budget-s", "100"), ("--budget-s", "1", "--quick")),
    Part(
        ("E1", "E1s", "E2", "E2s", "E3", "E3s", "E4"),
        "evidence",
        300,
        ("--budget-s", "120"),
        ("--budget-s", "1", "--quick"),
    ),
    Part(("P8",), "tokenising", 40, (), ("--pairs", "300"), N_CORES),
    Part(("P9w", "P9t", "P9g", "P9x", "P9m"), "optional", 170, ("storage",), ("storage", "--rows", "200000"), N_CORES),
    Part(("P10", "P10m"), "kmeans", 90, (), ("--rows", "100000"), N_CORES),
    Part(("N1", "N1r", "N1m"), "neighbours", 100, (), ("--rows", "100000"), N_CORES),
    Part(("F1", "F2", "F3", "F4", "F5"), "findings", 360, (), ("--rows", "50000", "--vectors", "20000"), N_CORES),
    Part(("P11", "P11b"), "optional", 210, ("cascade",), None, N_CORES),
    Part(("S1", "S2", "S3", "S4", "S5", "C1", "C2"), "commands", 360, (), ("--quick",), N_CORES),
)


def measure(wanted: Collection[str], *, is_quick: bool, patience: float, console: Console) -> Findings:
    """Run the parts that measure what is wanted; their time limits are multiplied by `patience`."""
    findings = Findings()
    for part in PARTS:
        options = part.quick if is_quick else part.options
        if options is None or not wanted & set(part.ids):
            continue
        console.print(f"{part.module} {' '.join(options)} …", style="dim")
        found = run_part(
            f"tests.benchmarks.{part.module}", *options, threads=part.threads, limit_s=patience * part.limit_s
        )
        findings.add(found)
    findings.values = {name: value for name, value in findings.values.items() if name in wanted}
    return findings


def read_gpu() -> tuple[Findings, bool]:
    """Return what `gpu.py` found where it has run, and whether the share of the matrix product was too low."""
    path = ROOT / GPU_FILE
    if not path.is_file():
        return Findings(notes=["P12: not measured (python -m tests.benchmarks.gpu, on a machine with a GPU)"]), False
    found = json.loads(path.read_text())
    if found["shape"]["name"] != GPU_SHAPE or found["device"] == "cpu":
        return Findings(notes=[f"P12: not measured ({GPU_FILE} is of another model or device)"]), False
    note = f"P12: {found['device']}, {found['executed_share']:.2f} of the matrix product by executed operations"
    return Findings({"P12": found["tokens_per_s"]}, [note]), found["executed_share"] < LEAST_GPU_SHARE


def print_table(results: Sequence[Result], notes: Sequence[str], console: Console) -> None:
    """Print every figure beside its bar, then what is worth a line, then the machine."""
    table = Table(box=None, header_style="bold")
    for heading in ("", "what", "measured", "bar", ""):
        table.add_column(heading, justify="right" if heading in ("measured", "bar") else "left")
    is_least = {bar.id: bar.is_least for bar in BARS}
    for result in results:
        missing = "[dim]not measured[/]" if result.value is None else "[dim]no bar[/]"
        mark = {True: "[green]pass[/]", False: "[red]FAIL[/]", None: missing}[result.met]
        value = "" if result.value is None else f"{result.value:,g} {result.unit}"
        bar = "" if result.bar is None else f"{'≥' if is_least[result.id] else '≤'} {result.bar:,g}"
        table.add_row(result.id, result.what, value, bar, mark)
    console.print(table)
    for note in notes:
        console.print(note, markup=False, highlight=False)
    console.print(describe_machine(), markup=False, highlight=False)


def main() -> None:
    """Measure, print, and write `bench.json`."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="P1,P2", help="these ids alone; the others are written without a value")
    parser.add_argument("--quick", action="store_true", help="smaller workloads, a few minutes; writes no bench.json")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--patience", type=float, default=1.0, help="times the time limits, where others work as well")
    options = parser.parse_args()
    known = {bar.id for bar in BARS}
    wanted = set(options.only.split(",")) if options.only else known
    if wanted - known:
        parser.error(
            f"--only: {', '.join(sorted(wanted - known))} is not known (choose from {', '.join(sorted(known))})"
        )
    console = Console(width=110 if not sys.stdout.isatty() else None)
    findings = measure(wanted, is_quick=options.quick, patience=options.patience, console=console)
    missed = set()
    if "P12" in wanted:
        gpu, is_low = read_gpu()
        findings.add(gpu)
        missed = {"P12"} if is_low else set()
    results = judge(findings.values, missed)
    print_table([result for result in results if result.id in wanted], findings.notes, console)
    if not options.quick:
        (ROOT / "bench.json").write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    if options.strict and any(result.met is False for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
