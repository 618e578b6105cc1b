"""Measure what evidence sees and where it fails: `python -m audit.demo.evidence`, or `make evidence`.

Five parts, two at a time, each in a process of its own: the null on the model's own samples, fresh rows against rivals,
paired sets, clean sets, and chats that plant a trait which none of them shows. Seeds and choices are fixed in the
files of the parts; nothing is tuned on what is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from audit.demo.evidence_claims import list_claims
from audit.demo.evidence_null import run_null
from audit.demo.evidence_pairs import run_clean, run_pairs
from audit.demo.evidence_planting import run_planting
from audit.demo.evidence_separation import run_separation
from audit.demo.evidence_tables import write_report
from audit.demo.lab import Part, run_lab


def _run_null(_: Path) -> dict[str, Any]:
    return run_null()


# The longest first, so that two workers end at about the same time.
PARTS: Final[dict[str, Part]] = {
    "separation": run_separation,
    "planting": run_planting,
    "null": _run_null,
    "pairs": run_pairs,
    "clean": run_clean,
}


def report(parts: Mapping[str, Any], seconds: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the text and the claims of what was measured."""
    claims = list_claims(parts)
    return write_report(claims, parts, seconds), claims


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, print the report, and write it beside all figures."""
    run_lab("evidence", __doc__, PARTS, report, arguments)


if __name__ == "__main__":
    main()
