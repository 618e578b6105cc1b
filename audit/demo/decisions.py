"""Measure how good flags, verdicts and clusters are: `python -m audit.demo.decisions`, or `make decisions`.

Two parts, side by side, each in a process of its own: flags and verdicts on fresh rows, and clusters. Seeds and choices
are fixed in the files of the parts; nothing is tuned on what is measured here. `--parts choice` repeats the choice of
rule and score on validation rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

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
from audit.demo.lab import Part, run_lab
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


PARTS: Final[dict[str, Part]] = {"rows": run_rows, "clusters": run_clusters, "choice": run_choice}


def report(parts: Mapping[str, Any], seconds: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the text and the claims of what was measured."""
    claims = list_claims(parts)
    return write_report(claims, parts, seconds), claims


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, print the report, and write it beside all figures."""
    run_lab("decisions", __doc__, PARTS, report, arguments, default=("rows", "clusters"))


if __name__ == "__main__":
    main()
