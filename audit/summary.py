"""What a run amounts to, as JSON values: the summary that is printed, and that limits are checked against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audit.assets import DEMO_MODEL_ID
from audit.confound import measure_confounds
from audit.errors import RunError
from audit.query import open_connection
from audit.risk import evidence_level
from audit.rules import PUBLISHED_RULE
from audit.schema import SCORED_STATUSES
from audit.store import PART_TABLES, RunStore
from audit.trivial import explain_flags

_EVIDENCE = "random_evidence"
"""The table of a part that is there where evidence was measured."""

UNNAMED_SHOWN = 3

ANSWER_COUNTS = ("n_prompts", "n_generated", "n_generated_tokens", "n_cached", "n_failed")


def count_rows(path: Path) -> dict[str, Any]:
    """Count samples and turns of a run by status; skipped samples also by the code of their reason.

    Raises:
        RunError: a file of a part is missing.
    """
    _refuse_missing_files(path)
    with open_connection(path) as connection:
        n_samples, n_ok = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE status = 'ok') FROM samples"
        ).fetchone() or (0, 0)
        reasons = connection.execute(
            "SELECT coalesce(split_part(reason, ':', 1), 'unknown') AS code, count(*) FROM samples "
            "WHERE status <> 'ok' GROUP BY code ORDER BY 2 DESC, code"
        ).fetchall()
        counts = connection.execute(
            "SELECT part, status, count(*) FROM turns GROUP BY part, status ORDER BY 3 DESC, status"
        ).fetchall()
    # Every turn has an answer, if only an empty one, so answers count turns.
    statuses = {status: count for part, status, count in counts if part == "answer"}
    n_turns = sum(statuses.values())
    return {
        "n_samples": n_samples,
        "n_ok": n_ok,
        "n_skipped": n_samples - n_ok,
        "n_turns": n_turns,
        "n_scored_turns": sum(count for status, count in statuses.items() if status in SCORED_STATUSES),
        "skipped_reasons": dict(reasons),
        "turn_statuses": statuses,
        "reasoning_statuses": {status: count for part, status, count in counts if part == "reasoning"},
        "truncated_share": statuses.get("truncated", 0) / n_turns if n_turns else None,
    }


def _refuse_missing_files(path: Path) -> None:
    """Refuse a run that has only some of the tables of a part, which no interrupted scan leaves behind."""
    store = RunStore(path)
    # A run written by an older version has no directory of it.
    measures_evidence = evidence_level(store.read_manifest()) != "off"
    tables = [*(name for name in PART_TABLES if name != _EVIDENCE), *([_EVIDENCE] if measures_evidence else [])]
    for part in store.parts():
        for table in tables:
            file = store.table_path(table, part)
            if not file.is_file():
                raise RunError(str(path), f"damaged: {file.relative_to(path)} is missing", "scan again with --fresh")


def _read_unnamed(path: Path) -> list[dict[str, Any]]:
    """Return the leading directions that no trait explains, in words; none of a run from before there were any."""
    with open_connection(path) as connection:
        found = connection.sql(
            "SELECT direction_id, spread, skew, high_keywords, low_keywords FROM unnamed_directions "
            f"ORDER BY direction_id LIMIT {UNNAMED_SHOWN}"
        )
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def summarise_run(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of a run, finished or not.

    Raises:
        RunError: a file of a part is missing.
    """
    _refuse_missing_files(path)
    counts = manifest["counts"] if manifest["state"] == "finished" else count_rows(path)
    n_flagged = counts.get("n_flagged")
    model = manifest["model"]
    confounds = manifest.get("confounds") if manifest["state"] == "finished" else None
    return {
        "run": str(path),
        "state": manifest["state"],
        "tool_version": manifest["tool_version"],
        "inputs": [
            {name: entry[name] for name in ("path", "container", "format", "n_records", "description")}
            for entry in manifest["inputs"]
        ],
        "model": {
            "id": model["id"],
            "is_demo": model["id"] == DEMO_MODEL_ID,
            "dtype": model["dtype"],
            "device": model["device"],
        },
        "vectors": [
            {name: vector[name] for name in ("trait", "layer", "purpose", "source")} for vector in manifest["vectors"]
        ],
        "baseline": {
            **{name: manifest["baseline"][name] for name in ("kind", "agreement", "parameters")},
            # A run written by an older version did not count them.
            **{name: manifest["baseline"].get(name) for name in ("auto", "generator", "samples", *ANSWER_COUNTS)},
        },
        "counts": {
            **counts,
            "n_flagged": n_flagged,
            "n_judged": counts.get("n_judged"),
            "flagged_share": n_flagged / counts["n_judged"] if counts.get("n_judged") else None,
            "expected_false_flags": counts.get("expected_false_flags"),
        },
        "domain": manifest["domain"],
        # A run written by an older version was flagged by the published rule.
        "flagging": manifest.get("flagging") or {"rule": PUBLISHED_RULE},
        "reference": manifest["reference"],
        "unnamed_directions": _read_unnamed(path),
        "verdicts": manifest["verdicts"],
        # A run written by an older version measured none.
        "evidence": manifest.get("evidence"),
        # An unfinished run has none yet, one written by an older version none at all.
        "correlations": confounds["correlations"]
        if confounds
        else measure_confounds(path, [vector["trait"] for vector in manifest["vectors"]]),
        "predictors": confounds["predictors"] if confounds else {},
        "languages": confounds["languages"] if confounds else {},
        "flagged_by_turns": confounds["flagged_by_turns"] if confounds else [],
        "notices": [*manifest["notices"], *explain_flags(confounds)],
        "timing": manifest["timing"],
    }
