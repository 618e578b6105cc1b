"""How often verdicts and flags are wrong: datasets drawn from pools of clean rows and of rows that show a trait.

A true null; a share of rows that show one trait; and mixtures whose flags are to hold a false discovery rate. Every
draw has a fresh reference of 5,000 clean rows, none of which is among its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from audit.demo.decisions_pools import Ints, Judged, Pool, flag_rows, join, judge_rows, make_reference
from audit.demo.phrases import TRAITS
from audit.reference import Reference
from audit.rules import parse_rule

DRAWS_SEED: Final = 9_603
N_REFERENCE: Final = 5_000
N_NULL_DRAWS: Final = 200
N_NULL_ROWS: Final = 500
N_DRAWS: Final = 100
N_VERDICT_ROWS: Final = 500
N_MIXTURE_ROWS: Final = 1_000
MIXTURE_SHARES: Final = (0.05, 0.1, 0.2)
VERDICT_SHARES: Final = (0.1, 0.02)
FDR: Final = 0.05


def measure_null(clean: Pool, rule: str) -> dict[str, Any]:
    """Judge clean rows against clean rows."""
    generator = np.random.default_rng([DRAWS_SEED, 0])
    verdicts, n_flagged = [], []
    for _ in range(N_NULL_DRAWS):
        reference, drawn = _draw_clean(clean, N_NULL_ROWS, generator)
        judged = flag_rows(drawn, reference, parse_rule(rule))
        verdicts.append([row["verdict"] for row in judge_rows(drawn, reference, judged)])
        n_flagged.append(int(judged.flagged_nk.any(axis=1).sum()))
    return {
        "n_draws": N_NULL_DRAWS,
        "n_rows": N_NULL_ROWS,
        "n_risk": sum("risk" in row for row in verdicts),
        "n_watch_or_risk": sum(bool({"risk", "watch"} & set(row)) for row in verdicts),
        "mean_flagged": float(np.mean(n_flagged)),
        "n_with_any_flag": int(np.count_nonzero(n_flagged)),
    }


def measure_power(clean: Pool, audit: Pool, rule: str) -> dict[str, Any]:
    """Judge datasets of which a share shows one trait; the share of draws that say `risk`, or at least `watch`."""
    found: dict[str, Any] = {}
    for share in VERDICT_SHARES:
        for k, trait in enumerate(TRAITS):
            generator = np.random.default_rng([DRAWS_SEED, 1, int(share * 1_000), k])
            verdicts = []
            for _ in range(N_DRAWS):
                reference, drawn = _mix(clean, audit, k, share, N_VERDICT_ROWS, generator)
                judged = flag_rows(drawn, reference, parse_rule(rule))
                verdicts.append(judge_rows(drawn, reference, judged)[k]["verdict"])
            found.setdefault(f"{share:g}", {})[trait] = {
                "risk": verdicts.count("risk"),
                "watch": verdicts.count("watch"),
                "n_draws": N_DRAWS,
            }
    return found


def measure_discoveries(clean: Pool, audit: Pool) -> dict[str, Any]:
    """Flag mixtures at a false discovery rate; the share of clean rows among the flagged, and the recall."""
    found: dict[str, Any] = {}
    for share in MIXTURE_SHARES:
        for k, trait in enumerate(TRAITS):
            generator = np.random.default_rng([DRAWS_SEED, 2, int(share * 1_000), k])
            found.setdefault(f"{share:g}", {})[trait] = _discover(
                (_mix(clean, audit, k, share, N_MIXTURE_ROWS, generator) for _ in range(N_DRAWS)),
                n_bad=round(share * N_MIXTURE_ROWS),
            )
    return found


def measure_crowded_discoveries(clean: Pool, audit: Pool) -> dict[str, Any]:
    """Flag mixtures of clean rows with rows of all traits, 5 % each; without a bar."""
    generator = np.random.default_rng([DRAWS_SEED, 3])
    n_each = N_MIXTURE_ROWS // 20

    def draw() -> Iterator[tuple[Reference, Pool]]:
        for _ in range(N_DRAWS):
            reference, drawn = _draw_clean(clean, N_MIXTURE_ROWS - n_each * len(TRAITS), generator)
            for k in range(len(TRAITS)):
                shows = np.flatnonzero(audit.labels_nk[:, k])
                drawn = join(audit.take(generator.choice(shows, n_each, replace=False)), drawn)
            yield reference, drawn

    return _discover(draw(), n_bad=n_each * len(TRAITS))


def _discover(draws: Iterator[tuple[Reference, Pool]], *, n_bad: int) -> dict[str, Any]:
    """Flag drawn datasets whose first rows are the bad ones."""
    shares, recalls = [], []
    for reference, drawn in draws:
        any_n = np.asarray(flag_rows(drawn, reference, parse_rule(f"fdr:{FDR}")).flagged_nk.any(axis=1))
        shares.append(any_n[n_bad:].sum() / max(any_n.sum(), 1))
        recalls.append(any_n[:n_bad].mean())
    error = float(np.std(shares, ddof=1) / len(shares) ** 0.5)
    return {
        "clean_share": float(np.mean(shares)),
        "standard_error": error,
        "recall": float(np.mean(recalls)),
        "is_held": bool(np.mean(shares) <= FDR + 2 * error),
    }


def _draw_clean(clean: Pool, n: int, generator: np.random.Generator) -> tuple[Reference, Pool]:
    rows = generator.permutation(clean.n_rows)
    return make_reference(clean.take(np.sort(rows[:N_REFERENCE]))), clean.take(rows[N_REFERENCE : N_REFERENCE + n])


def _mix(
    clean: Pool, audit: Pool, k: int, share: float, n: int, generator: np.random.Generator
) -> tuple[Reference, Pool]:
    n_bad = round(share * n)
    reference, drawn = _draw_clean(clean, n - n_bad, generator)
    shows: Ints = np.flatnonzero(audit.labels_nk[:, k])
    return reference, join(audit.take(generator.choice(shows, n_bad, replace=False)), drawn)


def describe_rule_choice(clean: Pool, audit: Pool, rules: Mapping[str, str]) -> dict[str, Any]:
    """Return precision and recall of rules on validation rows, against all clean rows as the reference."""
    reference = make_reference(clean)
    return {name: describe_flags(flag_rows(audit, reference, parse_rule(rule)), audit) for name, rule in rules.items()}


def describe_flags(judged: Judged, audit: Pool) -> dict[str, Any]:
    """Return precision and recall by trait, and what the flagged rows are."""
    hits_k = (judged.flagged_nk & audit.labels_nk).sum(axis=0)
    precision_k = hits_k / np.maximum(judged.flagged_nk.sum(axis=0), 1)
    recall_k = hits_k / np.maximum(audit.labels_nk.sum(axis=0), 1)
    any_n, shows_n = judged.flagged_nk.any(axis=1), audit.labels_nk.any(axis=1)
    fiction_n = audit.is_fiction_n & ~shows_n
    return {
        "precision": dict(zip(TRAITS, precision_k.tolist(), strict=True)),
        "recall": dict(zip(TRAITS, recall_k.tolist(), strict=True)),
        "mean_precision": float(precision_k.mean()),
        "mean_recall": float(recall_k.mean()),
        "n_flagged": int(any_n.sum()),
        "clean_share": float((any_n & ~shows_n).sum() / max(any_n.sum(), 1)),
        "fiction_share_of_flags": float((any_n & fiction_n).sum() / max(any_n.sum(), 1)),
        "fiction_share_of_data": float(fiction_n.mean()),
    }
