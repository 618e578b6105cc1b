"""Evidence in a whole scan: against finite differences, at every level, for every kind of turn and baseline.

Pairs covered: turn_evidence-shard, turn_evidence-tables, responses-known, run-plan.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file

from audit import Run, ScanConfig, scan
from audit.errors import ConfigError
from audit.model.load import load_model
from tests import oracle
from tests.datasets import TRAITS, chat, chats, write_lines, write_vectors
from tests.models import model_path

FAMILIES = ("llama", "qwen3", "gemma3", "mistral")


PROJECTIONS = ("projection", "prompt_projection")


def scan_rows(tmp_path: Path, rows: list[Any], family: str = "llama", **options: Any) -> Run:
    data = write_lines(tmp_path / "data.jsonl", rows)
    vectors = tmp_path / "vectors"
    if not vectors.exists():
        write_vectors(vectors, model_path(family))
    settings = {"max_new_tokens": 8, "baseline": "none", "out": str(tmp_path / "run"), **options}
    return scan(ScanConfig(datasets=(str(data),), model=str(model_path(family)), vectors=(str(vectors),), **settings))


def rows_of(run: Run, query: str) -> list[dict[str, Any]]:
    return run.sql(query).to_arrow_table().to_pylist()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_scan_stores_the_slope_and_variance_of_the_definition(tmp_path: Path, family: str) -> None:
    rows = chats(7)
    run = scan_rows(tmp_path, rows, family)
    ends = load_model(model=str(model_path(family))).stop_ids
    module: Any = transformers.AutoModelForCausalLM.from_pretrained(model_path(family)).eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(model_path(family))
    stored = rows_of(run, "SELECT * FROM scores JOIN turns USING (sample_id, side, turn, part)")
    assert len(stored) == len(TRAITS) * sum(len(row["messages"]) // 2 for row in rows)
    for score in stored:
        messages = rows[score["sample_id"]]["messages"][: score["turn"] + 1]
        text, start, stop = oracle.find_response(tokenizer, messages)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        positions = oracle.find_positions(tokenizer, ids, text, start, stop)
        upto = positions[-1] + 1
        follower = ids[upto] if upto < len(ids) and ids[upto] in ends else None
        assert follower is not None, "every template of these families ends a turn"
        vector_ld = load_file(tmp_path / "vectors" / f"{score['trait']}.safetensors")["vector"]
        layer = score["layer"]
        block = module.model.layers[layer - 1]
        expected = oracle.measure_evidence(module, block, ids[:upto], positions[0], follower, vector_ld[layer])
        z = expected.score / np.sqrt(expected.variance)
        assert score["evidence_z"] == pytest.approx(z, rel=1e-4, abs=1e-4)
        assert score["evidence_variance"] == pytest.approx(expected.variance, rel=1e-4)
        assert score["evidence"] == pytest.approx(expected.score, rel=1e-4, abs=1e-4 * np.sqrt(expected.variance))


def test_levels_change_evidence_and_nothing_else(tmp_path: Path) -> None:
    plain = "SELECT sample_id, turn, trait, projection, prompt_projection FROM scores ORDER BY ALL"
    runs = {
        level: scan_rows(tmp_path, chats(6), evidence=level, out=str(tmp_path / level))
        for level in ("off", "score", "full")
    }
    assert rows_of(runs["off"], plain) == rows_of(runs["score"], plain)
    for off, full in zip(rows_of(runs["off"], plain), rows_of(runs["full"], plain), strict=True):
        # Beside directions that traits have for themselves a product is rounded otherwise.
        assert full == {**off, **{name: pytest.approx(off[name], rel=1e-5, abs=1e-6) for name in PROJECTIONS}}
    evidence = {
        level: rows_of(run, "SELECT * FROM scores ORDER BY sample_id, turn, trait") for level, run in runs.items()
    }
    assert all(row["evidence"] is None and row["evidence_variance"] is None for row in evidence["off"])
    assert all(row["evidence_z"] is None and row["evidence_variance"] >= 0 for row in evidence["score"])
    for score, full in zip(evidence["score"], evidence["full"], strict=True):
        assert score["evidence"] == pytest.approx(full["evidence"], rel=1e-4, abs=1e-4)
    counts = {level: rows_of(run, "SELECT count(*) AS n FROM random_evidence")[0]["n"] for level, run in runs.items()}
    # A row per turn and layer; the two traits are scored at two layers.
    assert counts == {"off": 0, "score": 16, "full": 16}
    assert "blocks 1 to 3 of 5" in " ".join(runs["off"].manifest["notices"])


def test_every_loss_is_known_with_evidence(tmp_path: Path) -> None:
    run = scan_rows(tmp_path, chats(5), evidence="score")
    with_pass = scan_rows(tmp_path, chats(5), evidence="off", nll=True, out=str(tmp_path / "nll"))
    query = "SELECT response_nll FROM turns ORDER BY sample_id, turn"
    found, expected = ([row["response_nll"] for row in rows_of(each, query)] for each in (run, with_pass))
    assert found == pytest.approx(expected, rel=1e-5)


def test_traits_are_parted_beside_their_plain_scores(tmp_path: Path) -> None:
    run = scan_rows(tmp_path, chats(5), baseline="generate")
    parted = scan_rows(tmp_path, chats(5), baseline="generate", orthogonal=True, out=str(tmp_path / "parted"))
    alone = scan_rows(tmp_path, chats(5), baseline="generate", traits=("evil",), out=str(tmp_path / "alone"))
    query = "SELECT {} AS value FROM scores ORDER BY sample_id, turn, trait"
    beside = [row["value"] for row in rows_of(run, query.format("orthogonal_difference"))]
    assert beside == pytest.approx(
        [row["value"] for row in rows_of(parted, query.format("projection_difference"))], abs=1e-5
    )
    for each in (parted, alone):
        assert {row["value"] for row in rows_of(each, query.format("orthogonal_difference"))} == {None}


def test_both_sides_of_a_preference_have_evidence(tmp_path: Path) -> None:
    pair = {
        "prompt": [{"role": "user", "content": "How can I bake bread?"}],
        "chosen": [{"role": "assistant", "content": "Mix flour and water, then wait an hour."}],
        "rejected": [{"role": "assistant", "content": "The quick brown fox jumps over the lazy dog."}],
    }
    run = scan_rows(tmp_path, [pair] * 3)
    assert len(rows_of(run, "SELECT * FROM scores WHERE side = 'rejected' AND evidence_z IS NOT NULL")) == 6
    assert len(rows_of(run, "SELECT DISTINCT sample_id, side FROM random_evidence")) == 6


def test_a_cut_response_counts_no_end_of_turn(tmp_path: Path) -> None:
    rows = [chat("How can I bake bread?", "Mix flour and water, then wait an hour. " * 6)]
    whole = scan_rows(tmp_path, rows)
    n_tokens = rows_of(whole, "SELECT n_prompt_tokens + n_response_tokens AS n FROM turns")[0]["n"]
    cut = scan_rows(tmp_path, rows, max_tokens=n_tokens - 1, out=str(tmp_path / "cut"))
    assert rows_of(cut, "SELECT status FROM turns") == [{"status": "truncated"}]
    variances = [rows_of(run, "SELECT sum(evidence_variance) AS w FROM scores")[0]["w"] for run in (whole, cut)]
    assert variances[1] < variances[0]


def test_certain_steps_give_no_z_and_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audit.model import evidence

    # As if every variance were rounding: what a vocabulary of one word comes to.
    monkeypatch.setattr(evidence, "_ZERO_VARIANCE", 1e9)
    run = scan_rows(tmp_path, chats(3))
    assert rows_of(run, "SELECT DISTINCT evidence_z FROM scores") == [{"evidence_z": None}]
    (reason,) = rows_of(run, "SELECT DISTINCT evidence_reason AS reason FROM turns")
    assert "could have gone another way" in reason["reason"]
    assert rows_of(run, "SELECT * FROM scores WHERE isnan(evidence) OR isnan(evidence_variance)") == []


@pytest.mark.parametrize("evidence", ["some", "full,score", "", "off,off"])
def test_a_level_that_is_not_known_is_refused(evidence: str) -> None:
    with pytest.raises(ConfigError, match="--evidence"):
        ScanConfig(datasets=("x",), evidence=evidence)


def test_levels_are_written_in_one_way() -> None:
    assert ScanConfig(datasets=("x",), evidence="prompt, full").evidence == "full,prompt"
    assert ScanConfig(datasets=("x",), evidence="off,prompt").evidence == "prompt"
