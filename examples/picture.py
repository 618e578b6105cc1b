"""Draw the summary of a run as an SVG, as a terminal shows it: `python examples/picture.py RUN summary.svg`."""

from __future__ import annotations

import io
import sys

from rich.console import Console

import audit
from audit.cli.summary_view import render_summary


def main(run_path: str, output: str) -> None:
    """Write the picture."""
    console = Console(record=True, width=108, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for block in render_summary(audit.open_run(run_path).summary(), console):
        console.print(block)
    console.save_svg(output, title=f"persona-audit summary {run_path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
