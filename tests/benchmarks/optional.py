"""Run the benchmarks that bring a function of their own: storage of a large run, and the cascade.

Run as `python -m tests.benchmarks.optional storage|cascade`. One that is not there has no values.
"""

from __future__ import annotations

import argparse
import importlib

from tests.benchmarks.part import Findings

N_ROWS = 10_000_000


def main() -> None:
    """Measure one of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("storage", "cascade"))
    parser.add_argument("--rows", type=int, default=N_ROWS)
    options = parser.parse_args()
    try:
        module = importlib.import_module(f"tests.benchmarks.{options.what}")
    except ModuleNotFoundError:
        Findings(notes=[f"{options.what}: there is no such benchmark yet"]).send()
        return
    found = module.measure_storage(options.rows) if options.what == "storage" else module.measure_cascade()
    Findings(dict(found)).send()


if __name__ == "__main__":
    main()
