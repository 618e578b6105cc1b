"""How well evidence, and the risk that it is a part of, separates fresh demo rows: against rivals, and against fiction.

Scores are standardised by a clean set of its own seed, with equal weights; nothing is fitted on what is reported. The
bag of words alone sees labels, those of another set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from audit.bag_of_words import fit_bag_of_words
from audit.demo.evidence_bootstrap import Estimate, resample_aucs
from audit.demo.evidence_scans import Floats, ScannedTurns, pool_evidence, scan_sets
from audit.demo.laboratory import join_answers
from audit.demo.phrases import TRAITS
from audit.demo.world import Row, audit_rows, clean_rows
from audit.run import Run
from audit.score import correlation

AUDIT_SEED: Final = 9_501
WORDS_SEED: Final = 9_502
REFERENCE_SEED: Final = 9_503
N_ROWS: Final = 5_000
N_WORD_ROWS: Final = 2_000
N_REFERENCE: Final = 1_000
RIVALS: Final = ("projection difference", "orthogonal difference", "loss", "length", "bag of words")

_BOOTSTRAP_SEED: Final = 9_507


def combine_scores(turns: ScannedTurns, reference: ScannedTurns, trait: str) -> Floats:
    """Return orthogonal difference + z of each turn, each in standard deviations of the reference's turns.

    A turn whose null has no variance counts the null's own expectation for z, which is 0.
    """
    total_t = np.zeros(len(turns.row_t))
    for column in ("orthogonal_difference", "evidence_z"):
        clean_t = reference.columns[column][trait]
        own_t = turns.columns[column][trait]
        if column == "evidence_z":
            own_t = np.where(np.isfinite(own_t), own_t, 0.0)
        total_t += (own_t - np.nanmean(clean_t)) / np.nanstd(clean_t, ddof=1)
    return total_t


def score_rows(
    turns: ScannedTurns, reference: ScannedTurns, words: Mapping[str, npt.NDArray[np.float32]], trait: str
) -> dict[str, Floats]:
    """Return each score of every row for one trait: the largest over the row's turns."""
    columns = turns.columns
    return {
        "combined": turns.row_maximum(combine_scores(turns, reference, trait)),
        "evidence z": turns.row_maximum(columns["evidence_z"][trait]),
        "evidence S": turns.row_maximum(columns["evidence"][trait]),
        "projection difference": turns.row_maximum(columns["projection_difference"][trait]),
        "orthogonal difference": turns.row_maximum(columns["orthogonal_difference"][trait]),
        "loss": turns.row_maximum(turns.nll_t),
        "length": turns.row_maximum(turns.n_tokens_t),
        "bag of words": words[trait].astype(np.float64),
    }


def tabulate_trait(scores: Mapping[str, Floats], shown_n: npt.NDArray[np.bool_], seed: int) -> dict[str, Any]:
    """Return the AUC of each score and how far the combined one lies above each rival, with 95 % intervals."""
    found = resample_aucs(scores, shown_n, seed=seed)
    return {
        "n": len(shown_n),
        "n_shown": int(shown_n.sum()),
        "auc": {name: _to_json(found.estimate(name)) for name in scores},
        "gain": {rival: _to_json(found.gain("combined", rival)) for rival in RIVALS},
    }


def run_separation(folder: Path, *, n_rows: int = N_ROWS, n_reference: int = N_REFERENCE) -> dict[str, Any]:
    """Scan fresh rows as a user would, judged by a clean run, and tabulate every score."""
    clean = list(clean_rows(n_reference, REFERENCE_SEED))
    clean_run, clean_turns = scan_sets({"clean": clean}, folder / "clean", baseline="generate")
    rows = list(audit_rows(n_rows, AUDIT_SEED))
    run, found = scan_sets({"all": rows}, folder / "rows", baseline="generate", reference=str(clean_run.path))
    turns, reference = found["all"], clean_turns["clean"]
    words = _score_words(rows)
    is_fiction = np.array([row.is_fiction for row in rows])
    tables: dict[str, Any] = {}
    for place, trait in enumerate(TRAITS):
        shown = np.array([trait in row.traits for row in rows])
        scores = score_rows(turns, reference, words, trait)
        risk_n = _read_risk(run, trait, len(rows))
        if risk_n is not None:
            scores["risk of the run"] = risk_n
        compared = shown | is_fiction
        pooled = pool_evidence(turns, trait)
        tables[trait] = {
            "all": tabulate_trait(scores, shown, _BOOTSTRAP_SEED + place),
            "fiction": tabulate_trait(
                {name: values[compared] for name, values in scores.items()}, shown[compared], _BOOTSTRAP_SEED + place
            ),
            "pooled_z": pooled.z,
            "band": pooled.band,
            "mean_z": pooled.mean_z,
            "verdict": _read_verdict(run, trait),
            "correlation_with_risk": None if risk_n is None else correlation(scores["combined"], risk_n),
        }
    return {
        "seeds": {"rows": AUDIT_SEED, "bag of words": WORDS_SEED, "reference": REFERENCE_SEED},
        "n_rows": n_rows,
        "n_reference": n_reference,
        "n_word_rows": N_WORD_ROWS,
        "traits": tables,
    }


def _score_words(rows: Sequence[Row]) -> dict[str, npt.NDArray[np.float32]]:
    known = list(audit_rows(N_WORD_ROWS, WORDS_SEED))
    labels_nk = np.array([[trait in row.traits for trait in TRAITS] for row in known])
    logits_nk = fit_bag_of_words([join_answers(row) for row in known], labels_nk, [join_answers(row) for row in rows])
    return {trait: logits_nk[:, k] for k, trait in enumerate(TRAITS)}


def _read_risk(run: Run, trait: str, n_rows: int) -> Floats | None:
    values = run.sql(f"SELECT risk::DOUBLE AS risk FROM flags WHERE trait = '{trait}' ORDER BY sample_id").fetchnumpy()
    risk_n = np.ma.filled(values["risk"], np.nan)
    return risk_n if len(risk_n) == n_rows and np.isfinite(risk_n).any() else None


def _read_verdict(run: Run, trait: str) -> dict[str, Any]:
    """Return the tool's own pooled figures, which ours have to agree with."""
    own = next(verdict for verdict in run.verdicts if verdict["trait"] == trait)
    return {name: own.get(name) for name in ("verdict", "evidence_z_pooled", "evidence_band", "mean_evidence_z")}


def _to_json(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
