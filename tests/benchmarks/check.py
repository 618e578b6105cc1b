"""Measure `check`: chat rows of 1 KB a second through the rules of all trainers, and what memory does.

Run as `python tests/benchmarks/check.py`. Off by default: timings are no tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

N_ROWS = 100_000
SMALL_ROWS, LARGE_ROWS = 10_000, 300_000
ROW_BYTES = 1_000
_WORDS = "the quick brown fox jumps over the lazy dog and then it rests in the shade of a tree "


def write_chats(path: Path, n_rows: int) -> Path:
    """Write chat rows of about 1 KB, with two to six messages and a flaw in every hundredth."""
    with path.open("w", encoding="utf-8") as file:
        for row in range(n_rows):
            n_messages = 2 + 2 * (row % 3)
            text = (_WORDS * 12)[: (ROW_BYTES - 60 * n_messages) // n_messages]
            messages = [
                {"role": ("user", "assistant")[turn % 2], "content": f"{row} {turn} {text}"}
                for turn in range(n_messages)
            ]
            if row % 100 == 0:
                messages = messages[:-1]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path


def measure_check(n_rows: int = N_ROWS) -> float:
    """Return the rows a second that one check of a jsonl file reads, all trainers, without the start of Python."""
    from audit.preflight import check_datasets

    with tempfile.TemporaryDirectory() as directory:
        path = write_chats(Path(directory) / "chats.jsonl", n_rows)
        check_datasets([str(path)], limit=1_000)
        began = time.perf_counter()
        check_datasets([str(path)])
        return n_rows / (time.perf_counter() - began)


def measure_peak_mib(n_rows: int) -> float:
    """Return the peak of resident memory of a process that checks so many rows."""
    code = (
        "import resource, sys; from audit.preflight import check_datasets; check_datasets([sys.argv[1]]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    with tempfile.TemporaryDirectory() as directory:
        path = write_chats(Path(directory) / "chats.jsonl", n_rows)
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print the figures."""
    print(f"{measure_check():,.0f} rows/s")
    for n_rows in (SMALL_ROWS, LARGE_ROWS):
        print(f"{n_rows:,} rows: {measure_peak_mib(n_rows):.0f} MiB at most")


if __name__ == "__main__":
    main()
