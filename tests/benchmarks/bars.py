"""What is measured and what it has to reach; the ids are a contract with whoever reads `bench.json`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure to reach: at most `bar`, or at least, where `is_least`; None where it is reported without a bar."""

    id: str
    what: str
    bar: float | None
    unit: str
    is_least: bool = False

    def holds(self, value: float) -> bool | None:
        """Tell whether a figure reaches the bar; None where there is none."""
        if self.bar is None:
            return None
        return value >= self.bar if self.is_least else value <= self.bar


@dataclass(frozen=True, slots=True)
class Result:
    """One figure beside its bar; no value where it was not measured, no bar where none is set, `met` only with both."""

    id: str
    what: str
    value: float | None
    bar: float | None
    met: bool | None
    unit: str


BARS = (
    Bar("S1", "scan of the 1,000 demo rows, baselines and evidence", 60.0, "s"),
    Bar("S2", "persona-audit --help, median of 7", 0.4, "s"),
    Bar("S3", "peak memory, 4,000 rows against 1,000", 1.15, "ratio"),
    Bar("S4", "peak memory of a scan of 4,000 rows, with evidence", 2048.0, "MiB"),
    Bar("S5", "scan of 4,000 rows with evidence, per 1,000", 60.0, "s"),
    Bar("C1", "check of chat rows of 1 KB, all trainers", 50_000.0, "rows/s", is_least=True),
    Bar("C2", "peak memory of check, 300,000 rows against 10,000", 1.15, "ratio"),
    Bar("P1", "scoring against the reference loop, float32", 3.0, "ratio", is_least=True),
    Bar("P1m", "the same, with the products that precision chooses", 4.5, "ratio", is_least=True),
    Bar("P2", "scoring against the reference loop, both bfloat16", 2.5, "ratio", is_least=True),
    Bar("P2f", "scoring in bfloat16 against the float32 reference", 9.0, "ratio", is_least=True),
    Bar("P3", "share of the rate of the matrix product, bfloat16", 0.75, "share", is_least=True),
    Bar("P4", "largest float32 error, in SDs of the score", 1e-5, "SD"),
    Bar("P4b", "bfloat16 error against the reference's own", 1.0, "ratio"),
    Bar("P5", "scores that differ by budget or neighbours", 0.0, "scores"),
    Bar("P6", "baseline generation against one at a time", 4.0, "ratio", is_least=True),
    Bar("P7", "unused blocks and head in memory (held by a test)", 0.0, "bytes"),
    Bar("P8", "templates, tokens and offsets, two cores", 200_000.0, "tokens/s", is_least=True),
    Bar("P9w", "10 M rows: write", 400_000.0, "rows/s", is_least=True),
    Bar("P9t", "10 M rows: top 100 by trait", 1.0, "s"),
    Bar("P9g", "10 M rows: group by cluster", 1.5, "s"),
    Bar("P9x", "10 M rows: filter and export", 500_000.0, "rows/s", is_least=True),
    Bar("P9m", "10 M rows: peak memory", 1.5, "GB"),
    Bar("P10", "k-means into 256 clusters, 1 M x 256", 5.0, "s"),
    Bar("P10m", "peak memory of that", 2.0, "GB"),
    Bar("N1", "near-duplicates of 5 % flagged, 1 M x 256", 60.0, "s"),
    Bar("N1r", "share of the planted pairs found by that", 0.95, "share", is_least=True),
    Bar("N1m", "peak memory of that", 2.0, "GB"),
    Bar("F1", "10 M scores: flags, chosen and written", 400_000.0, "rows/s", is_least=True),
    Bar("F2", "10 M scores: gathered by record, with marks", 400_000.0, "rows/s", is_least=True),
    Bar("F3", "10 M scores: verdicts", 400_000.0, "rows/s", is_least=True),
    Bar("F4", "clusters and their tables, 1 M x 64, without reading", 5.0, "s"),
    Bar("F5", "peak memory of all findings of these", 2.0, "GB"),
    Bar("P11", "auto: share of the distinct prompts generated", 0.35, "share"),
    Bar("P11b", "auto: of 200 repeats, true miss rate above the bound", 17.0, "repeats"),
    Bar("E1", "evidence (score) of 4 traits against plain scoring", 3.0, "ratio"),
    Bar("E1s", "the same against scoring y without y′", None, "ratio"),
    Bar("E2", "evidence (full) of 4 traits against plain scoring", 6.0, "ratio"),
    Bar("E2s", "the same against scoring y without y′", None, "ratio"),
    Bar("E3", "generating y′ against evidence (full)", 4.0, "ratio", is_least=True),
    Bar("E3s", "the same, many prompts at once", None, "ratio", is_least=True),
    Bar("E4", "peak memory of evidence (full) beyond scoring", 1.0, "GB"),
    Bar("P12", "7B shape in bfloat16 on one H200 (gpu.py)", 50_000.0, "tokens/s", is_least=True),
)


def judge(values: Mapping[str, float | None], missed: Collection[str] = ()) -> list[Result]:
    """Set figures beside their bars, in the order of the bars; `missed` fail for another reason than the figure."""
    results = []
    for bar in BARS:
        value = values.get(bar.id)
        holds = None if value is None else bar.holds(value)
        met = holds if holds is None else holds and bar.id not in missed
        kept = None if value is None else float(f"{value:.4g}")
        results.append(Result(bar.id, bar.what, kept, bar.bar, met, bar.unit))
    return results
