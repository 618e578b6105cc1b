"""Which score and which rule flag best, on fresh audit rows: every variant of the score, every rule, beside rivals.

What flags by default was chosen on validation rows (`VALIDATION_SEEDS`): the most sensitive rule whose precision is .75
or more, of the variant with the highest recall there. The figures reported are of other rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from audit.demo.decisions_draws import describe_flags
from audit.demo.decisions_pools import LAYER, Bools, Floats, Judged, Pool, flag_rows, known_records, scan_pool
from audit.demo.phrases import TRAITS
from audit.demo.world import audit_rows, clean_rows, write_rows
from audit.flag import decide, measure_p, measure_z
from audit.reference import Reference, TraitReference, describe_turns
from audit.rules import Rule, parse_rule
from audit.score import rank_auc

VALIDATION_SEEDS: Final = (8_301, 8_302)
"""Of the audit rows and of the clean rows that rule and score were chosen on."""

AUDIT_SEED: Final = 9_602
CLEAN_SEED: Final = 9_601
N_AUDIT_ROWS: Final = 5_000
N_CLEAN_ROWS: Final = 8_000
RULES: Final = ("quantile:95", "quantile:99", "fdr:0.01", "fdr:0.02", "fdr:0.05", "fdr:0.1", "fdr:0.2")


def _of(name: str) -> Callable[[Pool, Pool], tuple[Floats, Floats]]:
    return lambda clean, drawn: (clean.columns[name], drawn.columns[name])


def _sum_of(*names: str) -> Callable[[Pool, Pool], tuple[Floats, Floats]]:
    """Return the sum of scores, each in standard deviations of clean turns; a missing z counts as 0."""

    def combine(clean: Pool, drawn: Pool) -> tuple[Floats, Floats]:
        sums: list[Floats] = [np.zeros(1), np.zeros(1)]
        for name in names:
            own = np.nan_to_num(clean.columns[name])
            for place, pool in enumerate((clean, drawn)):
                standardised = (np.nan_to_num(pool.columns[name]) - own.mean(axis=0)) / own.std(axis=0, ddof=1)
                sums[place] = sums[place] + standardised
        return sums[0], sums[1]

    return combine


VARIANTS: Final[dict[str, Callable[[Pool, Pool], tuple[Floats, Floats]]]] = {
    "projection difference": _of("projection_difference"),
    "orthogonal difference": _of("orthogonal_difference"),
    "window difference": _of("window_difference"),
    "layer difference": _of("layer_difference"),
    "evidence z": _of("evidence_z"),
    "orthogonal + evidence": _sum_of("orthogonal_difference", "evidence_z"),
    "projection + evidence": _sum_of("projection_difference", "evidence_z"),
    "window + evidence": _sum_of("window_difference", "evidence_z"),
    "layer + evidence": _sum_of("layer_difference", "evidence_z"),
    "orthogonal + window + evidence": _sum_of("orthogonal_difference", "window_difference", "evidence_z"),
    "orthogonal + layer + evidence": _sum_of("orthogonal_difference", "layer_difference", "evidence_z"),
}


def scan_pools(folder: Path, seeds: tuple[int, int] = (AUDIT_SEED, CLEAN_SEED)) -> tuple[Pool, Pool]:
    """Scan the audit rows and the clean rows of two seeds."""
    audit, clean = list(audit_rows(N_AUDIT_ROWS, seeds[0])), list(clean_rows(N_CLEAN_ROWS, seeds[1]))
    _, audit_pool = scan_pool(audit, folder / f"audit-{seeds[0]}")
    write_rows(iter(audit), folder / f"audit-{seeds[0]}" / "rows.jsonl", folder / "labels.jsonl")
    _, clean_pool = scan_pool(clean, folder / f"clean-{seeds[1]}")
    return audit_pool, clean_pool


def compare_variants(clean: Pool, audit: Pool, rule: str) -> dict[str, Any]:
    """Return AUC, precision and recall of every variant of the score, flagged by one rule."""
    found = {}
    for name, measure in VARIANTS.items():
        judged = _flag_by(*measure(clean, audit), clean, audit, parse_rule(rule))
        found[name] = {"auc": _measure_auc(judged.risk_nk, audit.labels_nk), **describe_flags(judged, audit)}
    return found


def compare_rules(audit: Pool, reference: Reference) -> dict[str, Any]:
    """Return precision and recall of every rule with the score that flags by default."""
    return {rule: describe_flags(flag_rows(audit, reference, parse_rule(rule)), audit) for rule in RULES}


def measure_rivals(audit: Pool) -> dict[str, Any]:
    """Return the AUC of length and loss alone, whichever way round is better."""
    found = {}
    for name, values_t in (("length", audit.n_tokens_t), ("loss", audit.nll_t)):
        values_n = audit.row_maximum(values_t[:, None])
        auc = _measure_auc(np.repeat(values_n, len(TRAITS), axis=1), audit.labels_nk)
        found[name] = {trait: max(value, 1 - value) for trait, value in auc.items()}
    return found


def _flag_by(clean_tk: Floats, drawn_tk: Floats, clean: Pool, drawn: Pool, rule: Rule) -> Judged:
    """Flag drawn rows by scores of one's own, against those of clean turns."""
    reference = {
        trait: TraitReference(LAYER, "", describe_turns(clean_tk[:, k]), 0.0, 1.0, clean.n_rows)
        for k, trait in enumerate(TRAITS)
    }
    risk_nk, known = drawn.row_maximum(drawn_tk), known_records(drawn)
    decision = decide(
        rule,
        lambda: ((reference[trait], risk_nk[:, k]) for k, trait in enumerate(TRAITS)),
        known,
        is_combined=False,
    )
    flagged: list[Bools] = []
    for k, trait in enumerate(TRAITS):
        own = reference[trait].plain
        p_n, z_n = measure_p(risk_nk[:, k], own, known), measure_z(risk_nk[:, k], own)
        flagged.append(decision.flags(known.sample_ids, p_n, z_n, risk_nk[:, k]))
    return Judged(risk_nk, np.stack(flagged, axis=1), {}, {})


def _measure_auc(risk_nk: Floats, labels_nk: Bools) -> dict[str, float]:
    finite = np.nan_to_num(risk_nk, nan=float(np.nanmin(risk_nk)))
    return {trait: rank_auc(finite[:, k], labels_nk[:, k]) for k, trait in enumerate(TRAITS)}
