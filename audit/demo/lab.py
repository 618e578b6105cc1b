"""How an experiment of several parts is run: two at a time, each in a process and a folder of its own.

Knows nothing of what the parts measure.
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

Part = Callable[[Path], dict[str, Any]]
N_WORKERS: Final = 2


def run_lab(
    name: str,
    description: str | None,
    parts: Mapping[str, Part],
    report: Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[str, Any]],
    arguments: Sequence[str] | None = None,
    *,
    default: Sequence[str] | None = None,
) -> None:
    """Run the parts that the command line names; write `<name>.md` and `<name>.json` after each, print the first.

    Args:
        parts: functions of modules, which another process can import; the longest first.
        report: makes the text and the claims of the figures and the seconds that are there so far.
        default: the parts where none are named; None: all.
    """
    parser = argparse.ArgumentParser(prog=f"python -m audit.demo.{name}", description=description)
    parser.add_argument("--parts", default=",".join(default or parts), help=f"of {', '.join(parts)}: %(default)s")
    parser.add_argument("--output", type=Path, default=Path(), metavar="DIR", help=f"of {name}.json and {name}.md")
    chosen = parser.parse_args(arguments)
    names = chosen.parts.split(",")
    if unknown := set(names) - set(parts):
        parser.error(f"--parts: there is no {', '.join(sorted(unknown))}; choose from {', '.join(parts)}")
    # Workers that share cores gain nothing from threads of their own.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, dict[str, float]] = {}
    text = ""
    with ProcessPoolExecutor(N_WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_run_part, name, own, parts[own]): own for own in names}
        for done in as_completed(waiting):
            own = waiting[done]
            found[own], seconds[own] = done.result()
            print(f"{own}: {seconds[own]['clock']:.0f} s", flush=True)
            ordered = {each: found[each] for each in parts if each in found}
            text, claims = report(ordered, seconds)
            content = {"claims": claims, "seconds": seconds, **ordered}
            (chosen.output / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            (chosen.output / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


def _run_part(name: str, part: str, run: Part) -> tuple[dict[str, Any], dict[str, float]]:
    """Return a part's figures and the seconds that it took, by clock and processor."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    began, processor_began = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(prefix=f"persona-audit-{name}-") as folder:
        figures = run(Path(folder) / part)
    return figures, {"clock": time.monotonic() - began, "processor": time.process_time() - processor_began}
