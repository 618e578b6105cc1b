"""Run directories made by hand from the schema, for tests of what reads them: no model, no scan."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit.samples import Source
from audit.schema import (
    CLUSTERS,
    FLAGS,
    FORMAT_VERSION,
    RANDOM_EVIDENCE,
    SAMPLES,
    SCORES,
    TURNS,
    VERDICTS,
    cluster_summary_schema,
    differences_schema,
)
from audit.store import PART_TABLES


@dataclass
class FakeTurn:
    """A turn: per trait (projection, baseline projection or None), orthogonal difference, evidence and its variance.

    `random` is evidence along random directions: of the response, and of drawn tokens.
    """

    scores: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    side: str = "response"
    turn: int = 1
    part: str = "answer"
    status: str = "ok"
    n_response_tokens: int = 10
    n_baseline_tokens: int | None = 12
    is_refusal: bool = False
    baseline_kind: str | None = "generated"
    baseline_response: str | None = "A plain baseline."
    prompt_projection: float = 0.25
    list_share: float = 0.0
    language: str | None = None
    is_role_play: bool | None = None
    baseline_is_refusal: bool | None = False
    baseline_list_share: float | None = None
    response_nll: float | None = None
    orthogonal: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    random: tuple[Sequence[float], Sequence[float]] | None = None


@dataclass
class FakeRecord:
    """A record: its turns, or the reason why it was skipped."""

    turns: Sequence[FakeTurn] = ()
    prompt: str = "How are you?"
    response: str = "Fine, thank you."
    reason: str | None = None
    flagged: Sequence[str] = ()
    cluster_id: int | None = None
    raw: bytes | None = None


def chat_line(prompt: str, response: str) -> bytes:
    """Return a chat record as a JSON line without its ending."""
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return json.dumps({"messages": messages}).encode()


def scored(evil: float, sycophantic: float = 0.0, **options: Any) -> FakeRecord:
    """Return a record of one turn with two traits, whose baseline projects to 0.5."""
    scores = {"evil": (evil + 0.5, 0.5), "sycophantic": (sycophantic + 0.5, 0.5)}
    turn = {name: options.pop(name) for name in list(options) if name in FakeTurn.__dataclass_fields__}
    return FakeRecord(turns=[FakeTurn(scores=scores, **turn)], **options)


def write_dataset(path: Path, records: Sequence[FakeRecord], *, ending: bytes = b"\n") -> list[tuple[int, int]]:
    """Write the records as JSON lines; return each one's byte offset and length."""
    spans, offset = [], 0
    with path.open("wb") as file:
        for record in records:
            raw = record.raw if record.raw is not None else chat_line(record.prompt, record.response)
            spans.append((offset, len(raw)))
            file.write(raw + ending)
            offset += len(raw) + len(ending)
    return spans


def make_run(
    path: Path,
    records: Sequence[FakeRecord],
    *,
    dataset: Path,
    traits: Sequence[str] = ("evil", "sycophantic"),
    baseline: str = "generate",
    verdicts: Mapping[str, str] | None = None,
    is_finished: bool = True,
    part_rows: int = 3,
    kept: Mapping[str, Sequence[str | None]] | None = None,
    evidence: str | None = None,
) -> Path:
    """Write a dataset and a run over it, finished or killed before the flags were made.

    Args:
        evidence: what `--evidence` was; None: off, as in runs from before there was any.
    """
    return _write_run(
        path,
        records,
        spans=write_dataset(dataset, records),
        source_path=str(dataset),
        inputs=[_describe_lines(records, dataset)],
        traits=traits,
        baseline=baseline,
        verdicts=verdicts or {},
        is_finished=is_finished,
        part_rows=part_rows,
        kept=kept or {},
        evidence=evidence,
    )


def make_run_over(path: Path, sources: Sequence[Source], records: Sequence[FakeRecord] | None = None) -> Path:
    """Write a finished run over surveyed inputs that are there; without records, each of theirs is scored."""
    n_records = sum(source.n_records for source in sources)
    records = [scored(0.1) for _ in range(n_records)] if records is None else records
    assert len(records) == n_records
    return _write_run(
        path,
        records,
        spans=[(None, None)] * n_records,
        source_path=sources[0].path,
        inputs=[asdict(source) for source in sources],
        traits=("evil", "sycophantic"),
        baseline="generate",
        verdicts={},
        is_finished=True,
        part_rows=1_000,
        kept={},
    )


def _write_run(
    path: Path,
    records: Sequence[FakeRecord],
    *,
    spans: Sequence[tuple[int | None, int | None]],
    source_path: str,
    inputs: list[dict[str, Any]],
    traits: Sequence[str],
    baseline: str,
    verdicts: Mapping[str, str],
    is_finished: bool,
    part_rows: int,
    kept: Mapping[str, Sequence[str | None]],
    evidence: str | None = None,
) -> Path:
    # A run from before there was evidence has no directory of it.
    for table in {*PART_TABLES} - {"random_evidence"} | ({"random_evidence"} if evidence else set()):
        (path / table).mkdir(parents=True)
    for start in range(0, len(records), part_rows):
        stop = min(start + part_rows, len(records))
        name = f"part-{start:012d}-{stop:012d}.parquet"
        ids = range(start, stop)
        _write(path / "turns" / name, [row for i in ids for row in _turn_rows(i, records[i])], TURNS)
        _write(path / "scores" / name, [row for i in ids for row in _score_rows(i, records[i])], SCORES)
        _write(path / "differences" / name, [], differences_schema(64))
        if evidence:
            rows = [row for i in ids for row in _random_rows(i, records[i])]
            _write(path / "random_evidence" / name, rows, RANDOM_EVIDENCE)
        schema = SAMPLES
        for column in kept:
            schema = schema.append(pa.field(column, pa.string()))
        rows = [_sample_row(i, records[i], source_path, spans[i]) for i in ids]
        rows = [{**row, **{column: kept[column][row["sample_id"]] for column in kept}} for row in rows]
        _write(path / "samples" / name, rows, schema)
    if is_finished:
        _write_finish(path, records, traits, verdicts)
    manifest = _manifest(records, inputs, traits, baseline, verdicts, is_finished)
    if evidence is not None:
        manifest["config"]["evidence"] = evidence
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _sample_row(sample_id: int, record: FakeRecord, source: str, span: tuple[int | None, int | None]) -> dict[str, Any]:
    return {
        "sample_id": sample_id,
        "source": source,
        "line": sample_id + 1,
        "byte_offset": span[0],
        "byte_length": span[1],
        "format": None if record.reason else "chat",
        "n_turns": len(record.turns),
        "status": "skipped" if record.reason else "ok",
        "reason": record.reason,
    }


def _turn_rows(sample_id: int, record: FakeRecord) -> list[dict[str, Any]]:
    return [
        {
            "sample_id": sample_id,
            "side": turn.side,
            "turn": turn.turn,
            "part": turn.part,
            "status": turn.status,
            "n_prompt_tokens": 5,
            "n_response_tokens": turn.n_response_tokens,
            "n_baseline_tokens": turn.n_baseline_tokens,
            "response_nll": turn.response_nll,
            "is_refusal": turn.is_refusal,
            "baseline_is_refusal": turn.baseline_is_refusal,
            "list_share": turn.list_share,
            "code_share": 0.0,
            "language": turn.language,
            "is_role_play": turn.is_role_play,
            "baseline_list_share": turn.baseline_list_share,
            "baseline_kind": turn.baseline_kind,
            "baseline_response": turn.baseline_response,
        }
        for turn in record.turns
    ]


def _score_rows(sample_id: int, record: FakeRecord) -> list[dict[str, Any]]:
    return [
        {
            "sample_id": sample_id,
            "side": turn.side,
            "turn": turn.turn,
            "part": turn.part,
            "trait": trait,
            "layer": 2,
            "projection": projection,
            "baseline_projection": baseline,
            "projection_difference": None if baseline is None else projection - baseline,
            "prompt_projection": turn.prompt_projection,
            "orthogonal_difference": turn.orthogonal.get(trait),
            **_evidence_columns(turn.evidence.get(trait)),
        }
        for turn in record.turns
        for trait, (projection, baseline) in turn.scores.items()
    ]


def _evidence_columns(found: tuple[float, float] | None) -> dict[str, float | None]:
    if found is None:
        return {}
    score, variance = found
    return {
        "evidence": score,
        "evidence_variance": variance,
        "evidence_z": score / variance**0.5 if variance else None,
    }


def _random_rows(sample_id: int, record: FakeRecord) -> list[dict[str, Any]]:
    return [
        {
            "sample_id": sample_id,
            "side": turn.side,
            "turn": turn.turn,
            "part": turn.part,
            "layer": 2,
            "evidence": list(turn.random[0]),
            "null_evidence": list(turn.random[1]),
        }
        for turn in record.turns
        if turn.random is not None
    ]


def _write_finish(
    path: Path, records: Sequence[FakeRecord], traits: Sequence[str], verdicts: Mapping[str, str]
) -> None:
    flags = [
        {
            "sample_id": i,
            "trait": trait,
            "projection_difference": record.turns[0].scores[trait][0] - (record.turns[0].scores[trait][1] or 0.0),
            "risk": record.turns[0].scores[trait][0],
            "z": 3.0 if trait in record.flagged else 0.1,
            "percentile": 99.0 if trait in record.flagged else 50.0,
            "q_value": 0.01 if trait in record.flagged else 0.9,
            "flagged": trait in record.flagged,
            "reason": "above the clean 95th percentile" if trait in record.flagged else None,
        }
        for i, record in enumerate(records)
        for trait in traits
        if record.turns and trait in record.turns[0].scores
    ]
    clusters = [
        {"sample_id": i, "cluster_id": record.cluster_id, "x": 0.0, "y": 0.0}
        for i, record in enumerate(records)
        if record.cluster_id is not None
    ]
    summary = [
        {"cluster_id": cluster, "size": 1, "n_flagged": 0, "flagged_share": 0.0, "enrichment": float(cluster)}
        for cluster in sorted({row["cluster_id"] for row in clusters})
    ]
    _write(path / "flags.parquet", flags, FLAGS)
    _write(path / "clusters.parquet", clusters, CLUSTERS)
    _write(path / "cluster_summary.parquet", summary, cluster_summary_schema(tuple(traits)))
    _write(path / "verdicts.parquet", verdict_rows(traits, verdicts), VERDICTS)


def verdict_rows(traits: Sequence[str], verdicts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a row of `verdicts` per trait."""
    return [
        {
            "trait": trait,
            "layer": 2,
            "n": 4,
            "mean_difference": 0.4,
            "ci_low": 0.3,
            "ci_high": 0.5,
            "cohens_d": 0.8,
            "n_flagged": 1,
            "expected_false_flags": 0.2,
            "verdict": verdicts.get(trait, "clear"),
            "reason": "25.0% flagged, 5.0% expected of clean data",
        }
        for trait in traits
    ]


def _describe_lines(records: Sequence[FakeRecord], dataset: Path) -> dict[str, Any]:
    return {
        "path": str(dataset),
        "container": "jsonl",
        "codec": "none",
        "encoding": "utf-8",
        "sha256": hashlib.sha256(dataset.read_bytes()).hexdigest(),
        "n_records": len(records),
        "format": "chat",
        "fit_share": 1.0,
        "n_probed": len(records),
        "description": "chat messages in JSON lines",
    }


def _manifest(
    records: Sequence[FakeRecord],
    inputs: list[dict[str, Any]],
    traits: Sequence[str],
    baseline: str,
    verdicts: Mapping[str, str],
    is_finished: bool,
) -> dict[str, Any]:
    n_ok = sum(record.reason is None for record in records)
    counts: dict[str, Any] = {"n_samples": len(records)}
    if is_finished:
        counts |= {
            "n_ok": n_ok,
            "n_skipped": len(records) - n_ok,
            "n_turns": sum(len(record.turns) for record in records),
            "n_scored_turns": n_ok,
            "skipped_reasons": dict(Counter(record.reason.split(":")[0] for record in records if record.reason)),
            "turn_statuses": dict(Counter(turn.status for record in records for turn in record.turns)),
            "n_judged": n_ok,
            "n_flagged": sum(bool(record.flagged) for record in records),
            "expected_false_flags": 0.4,
            "n_clusters": 2,
        }
    return {
        "format_version": FORMAT_VERSION,
        "tool_version": "0.1.0",
        "created_at": "2026-01-01T00:00:00+00:00",
        "finished_at": "2026-01-01T00:00:10+00:00" if is_finished else None,
        "state": "finished" if is_finished else "running",
        "config": {"datasets": [entry["path"] for entry in inputs], "limit": None, "turns": "all", "seed": 0},
        "settings": {},
        "inputs": inputs,
        "model": {
            "id": "persona-audit-demo",
            "revision": None,
            "fingerprint": "0123456789ab",
            "dtype": "float32",
            "device": "cpu",
            "adapter": None,
        },
        "vectors": [
            {
                "trait": trait,
                "layer": 2,
                "sha256": "0" * 64,
                "purpose": "measure",
                "source": f"vectors/{trait}.safetensors",
            }
            for trait in traits
        ],
        "baseline": {"kind": baseline, "agreement": None, "parameters": {}},
        "counts": counts,
        "domain": {"n_probed": 4, "mean_nll": 0.7, "out_share": 0.0, "threshold": 4.5, "in_domain": True},
        "reference": {"source": "a clean set", "n": 500} if is_finished else None,
        "verdicts": verdict_rows(traits, verdicts) if is_finished else [],
        "notices": ["the bundled demo model scores; it knows its own demo world only"],
        "timing": {"probe": 0.5, "scoring": 8.0},
    }
