"""Measure how good flags, verdicts and clusters are: `python -m audit.demo.decisions`, or `make decisions`.

Two parts, side by side, each in a process of its own: flags and verdicts on fresh rows, and clusters. Seeds and choices
are fixed in the files of the parts; nothing is tuned on what is measured here. `--parts choice` repeats the choice of
rule and score on validation rows.
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

from audit.assets import demo_reference_path
from audit.config import ScanConfig
from audit.demo.decisions_clusters import run_clusters
from audit.demo.decisions_draws import (
    measure_crowded_discoveries,
    measure_discoveries,
    measure_null,
    measure_power,
)
from audit.demo.decisions_flags import (
    VALIDATION_SEEDS,
    compare_rules,
    compare_variants,
    measure_rivals,
    scan_pools,
)
from audit.demo.decisions_pools import make_reference
from audit.demo.decisions_tables import list_claims, write_report
from audit.reference import load_reference
from audit.run import open_run

RULE: Final = ScanConfig(datasets=("-",)).flag
"""What flags by default."""


def run_rows(folder: Path) -> dict[str, Any]:
    """Measure flags and verdicts on rows of seeds that nothing was chosen on."""
    audit, clean = scan_pools(folder)
    bundled = load_reference(demo_reference_path())["difference"]
    scanned = open_run(next(folder.glob("audit-*/rows.audit")))
    return {
        "rule": RULE,
        "validation": scanned.validate(folder / "labels.jsonl", by="fiction").to_json(),
        "variants": compare_variants(clean, audit, RULE),
        "rules": compare_rules(audit, bundled),
        "rivals": measure_rivals(audit),
        "null": measure_null(clean, RULE),
        "power": measure_power(clean, audit, RULE),
        "discoveries": measure_discoveries(clean, audit),
        "crowded": measure_crowded_discoveries(clean, audit),
    }


def run_choice(folder: Path) -> dict[str, Any]:
    """Repeat what rule and score were chosen on."""
    audit, clean = scan_pools(folder, VALIDATION_SEEDS)
    return {"variants": compare_variants(clean, audit, RULE), "rules": compare_rules(audit, make_reference(clean))}


PARTS: Final[dict[str, Callable[[Path], dict[str, Any]]]] = {
    "rows": run_rows,
    "clusters": run_clusters,
    "choice": run_choice,
}
DEFAULT_PARTS: Final = ("rows", "clusters")
N_WORKERS: Final = 2


def run_part(name: str) -> tuple[dict[str, Any], float]:
    """Run one part in a folder of its own; return its figures and the seconds that it took."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="persona-audit-decisions-") as folder:
        figures = PARTS[name](Path(folder) / name)
    return figures, time.monotonic() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, print the report, and write it beside all figures."""
    parser = argparse.ArgumentParser(prog="python -m audit.demo.decisions", description=__doc__)
    parser.add_argument("--parts", default=",".join(DEFAULT_PARTS), help="comma-separated: %(default)s; also choice")
    parser.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="of decisions.json and decisions.md")
    chosen = parser.parse_args(arguments)
    names = chosen.parts.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"--parts: there is no {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    # Workers that share cores gain nothing from threads of their own.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    report = ""
    with ProcessPoolExecutor(N_WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(run_part, name): name for name in names}
        for done in as_completed(waiting):
            name = waiting[done]
            found[name], seconds[name] = done.result()
            print(f"{name}: {seconds[name]:.0f} s", flush=True)
            report = _write({own: found[own] for own in PARTS if own in found}, seconds, chosen.output)
    print(report)


def _write(parts: Mapping[str, Any], seconds: Mapping[str, float], folder: Path) -> str:
    claims = list_claims(parts)
    report = write_report(claims, parts, seconds)
    content = {"claims": claims, "seconds": seconds, **parts}
    (folder / "decisions.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "decisions.md").write_text(report, encoding="utf-8")
    return report


if __name__ == "__main__":
    main()
