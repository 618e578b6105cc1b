"""Measure what evidence sees and where it fails: `python -m audit.demo.evidence`, or `make evidence`.

Five parts, two at a time, each in a process of its own: the null on the model's own samples, fresh rows against rivals,
paired sets, clean sets, and chats that plant a trait which none of them shows. Seeds and choices are fixed in the
files of the parts; nothing is tuned on what is measured here.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

from transformers.utils import logging

from audit.demo.evidence_claims import list_claims
from audit.demo.evidence_null import run_null
from audit.demo.evidence_pairs import run_clean, run_pairs
from audit.demo.evidence_planting import run_planting
from audit.demo.evidence_separation import run_separation
from audit.demo.evidence_tables import write_report

# The longest first, so that two workers end at about the same time.
PARTS: Final[dict[str, Callable[[Path], dict[str, Any]]]] = {
    "separation": run_separation,
    "planting": run_planting,
    "null": lambda _: run_null(),
    "pairs": run_pairs,
    "clean": run_clean,
}
N_WORKERS: Final = 2


def run_part(name: str) -> tuple[dict[str, Any], dict[str, float]]:
    """Run one part in a folder of its own; return its figures and the seconds that it took, by clock and processor."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    began, processor_began = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="persona-audit-evidence-") as folder:
        figures = PARTS[name](Path(folder) / name)
    return figures, {"clock": time.monotonic() - began, "processor": time.process_time() - processor_began}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, print the report, and write it beside all figures."""
    parser = argparse.ArgumentParser(prog="python -m audit.demo.evidence", description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated: %(default)s")
    parser.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="of evidence.json and evidence.md")
    chosen = parser.parse_args(arguments)
    names = chosen.parts.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"--parts: there is no {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    # Workers that share cores gain nothing from threads of their own.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, dict[str, float]] = {}
    report = ""
    with ProcessPoolExecutor(N_WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(run_part, name): name for name in names}
        for done in as_completed(waiting):
            name = waiting[done]
            found[name], seconds[name] = done.result()
            print(f"{name}: {seconds[name]['clock']:.0f} s", flush=True)
            report = _write({own: found[own] for own in PARTS if own in found}, seconds, chosen.output)
    print(report)


def _write(parts: Mapping[str, Any], seconds: Mapping[str, Any], folder: Path) -> str:
    claims = list_claims(parts)
    report = write_report(claims, parts, seconds)
    content = {"claims": claims, "seconds": seconds, **parts}
    (folder / "evidence.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "evidence.md").write_text(report, encoding="utf-8")
    return report


if __name__ == "__main__":
    main()
