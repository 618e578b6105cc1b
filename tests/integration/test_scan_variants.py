"""The scores beside the plain difference, in whole scans against loops over all hidden states.

Window difference, ensemble over layers, content id and stored difference vectors; the scans of test_scan_scores.py hold
them against the definition with generated baselines, those here with long ready ones and every other kind.
Pairs covered: shard-tables, plan-vectors.layer_rows, tables-samples.content, tables-groups.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import transformers
from safetensors.numpy import load_file

from audit import Run, ScanConfig, scan
from audit.vectors import PersonaVector, load_vector, save_vector
from tests import oracle
from tests.datasets import TRAITS, chat, chats, write_lines, write_vectors
from tests.models import model_path

WORDS = "Mix flour and water, then wait an hour; naïve café, 😀: bake it. The quick brown fox jumps. "


def long_rows(n: int) -> list[dict[str, Any]]:
    """Chats whose responses are one to several windows long."""
    return [chat(f"How can I bake bread {i}?", f"{i}: {WORDS[i:]}" * (1 + i % 3)) for i in range(n)]


def ready_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same prompts with other answers, of other lengths."""
    return [
        {"messages": [*row["messages"][:-1], {"role": "assistant", "content": f"No. {WORDS[::-1][i:]}" * (1 + i % 2)}]}
        for i, row in enumerate(rows)
    ]


def scan_rows(tmp_path: Path, rows: list[Any], family: str = "llama", **options: Any) -> Run:
    data = write_lines(tmp_path / "data.jsonl", rows)
    if not (tmp_path / "vectors").exists():
        write_vectors(tmp_path / "vectors", model_path(family))
    settings = {"out": str(tmp_path / "run"), "evidence": "off", **options}
    return scan(
        ScanConfig(
            datasets=(str(data),), model=str(model_path(family)), vectors=(str(tmp_path / "vectors"),), **settings
        )
    )


def rows_of(run: Run, query: str) -> list[dict[str, Any]]:
    return run.sql(query).to_arrow_table().to_pylist()


def load_naively(family: str) -> tuple[Any, Any]:
    module = transformers.AutoModelForCausalLM.from_pretrained(model_path(family)).eval()
    return module, transformers.AutoTokenizer.from_pretrained(model_path(family))


class Naive:
    """Scores of one model, one response at a time."""

    def __init__(self, family: str, vectors: Path) -> None:
        self._module, self._tokenizer = load_naively(family)
        self.vectors = {trait: load_file(vectors / f"{trait}.safetensors")["vector"] for trait in TRAITS}

    def score(self, messages: list[Any], trait: str, layer: int) -> oracle.OracleScore:
        return oracle.score_response(
            self._module, self._tokenizer, messages, vector_ld=self.vectors[trait], layer=layer
        )


@pytest.mark.parametrize(
    ("family", "layer", "layers"),
    [("llama", 4, (4, 3, 2)), ("gemma2", 3, (3, 2, 1)), ("qwen3", 2, (2, 1)), ("mistral", 1, (1,))],
)
def test_long_responses_and_baselines_have_the_windows_and_ensembles_of_the_definition(
    tmp_path: Path, family: str, layer: int, layers: tuple[int, ...]
) -> None:
    rows = long_rows(8)
    ready = ready_rows(rows)
    file = write_lines(tmp_path / "ready.jsonl", ready)
    run = scan_rows(tmp_path, rows, family, baseline=str(file), layer=layer)
    naive = Naive(family, tmp_path / "vectors")
    wanted: dict[str, list[float]] = {"window_difference": [], "layer_difference": []}
    plain = []
    stored = rows_of(run, "SELECT * FROM scores ORDER BY sample_id, trait")
    assert len(stored) == len(rows) * len(TRAITS)
    for score in stored:
        pair = (rows[score["sample_id"]]["messages"], ready[score["sample_id"]]["messages"])
        own, baseline = (naive.score(messages, score["trait"], layer) for messages in pair)
        wanted["window_difference"].append(own.window - baseline.window)
        plain.append(own.projection - baseline.projection)
        terms = []
        for each in layers:
            own, baseline = (naive.score(messages, score["trait"], each) for messages in pair)
            terms.append((own.projection - baseline.projection) / own.length)
        wanted["layer_difference"].append(sum(terms) / len(terms))
    for name, values in wanted.items():
        np.testing.assert_allclose([score[name] for score in stored], values, atol=1e-5 * np.std(values), err_msg=name)
    # Neither is the plain difference under another name.
    assert np.abs(np.array(wanted["window_difference"]) - plain).min() > 1e-3


def test_a_row_of_zeros_is_left_out_of_the_ensemble(tmp_path: Path) -> None:
    folder = write_vectors(tmp_path / "vectors", model_path("llama"))
    whole = load_vector(folder / "evil.safetensors")
    holed_ld = whole.vector_ld.copy()
    holed_ld[2] = 0
    (folder / "evil.safetensors").unlink()
    save_vector(folder / "evil.safetensors", PersonaVector("evil", holed_ld, 3, whole.model_id, whole.fingerprint))
    rows = long_rows(4)
    ready = ready_rows(rows)
    run = scan_rows(tmp_path, rows, baseline=str(write_lines(tmp_path / "ready.jsonl", ready)))
    naive = Naive("llama", folder)
    for score in rows_of(run, "SELECT * FROM scores WHERE trait = 'evil'"):
        terms = []
        for layer in (3, 1):
            own = naive.score(rows[score["sample_id"]]["messages"], "evil", layer)
            baseline = naive.score(ready[score["sample_id"]]["messages"], "evil", layer)
            terms.append((own.projection - baseline.projection) / own.length)
        assert score["layer_difference"] == pytest.approx(np.mean(terms), abs=1e-5)


def test_orthogonal_scores_change_windows_and_leave_the_ensemble_as_it_is(tmp_path: Path) -> None:
    rows = long_rows(6)
    file = write_lines(tmp_path / "ready.jsonl", ready_rows(rows))
    query = "SELECT window_difference, layer_difference FROM scores ORDER BY sample_id, trait"
    plain, parted, beside = (
        rows_of(scan_rows(tmp_path, rows, baseline=str(file), out=str(tmp_path / name), **options), query)
        for name, options in {
            "plain": {},
            "parted": {"orthogonal": True},
            # With evidence, directions that traits have for themselves stand between the two.
            "beside": {"evidence": "full"},
        }.items()
    )
    for own, other, third in zip(plain, parted, beside, strict=True):
        for each in (other, third):
            assert each["layer_difference"] == pytest.approx(own["layer_difference"], abs=1e-5)
        assert third["window_difference"] == pytest.approx(own["window_difference"], abs=1e-5)
        assert abs(other["window_difference"] - own["window_difference"]) > 1e-4


def test_the_prompt_as_baseline_has_layers_and_no_window(tmp_path: Path) -> None:
    rows = long_rows(5)
    run = scan_rows(tmp_path, rows, baseline="prompt", max_new_tokens=4)
    naive = Naive("llama", tmp_path / "vectors")
    for score in rows_of(run, "SELECT * FROM scores"):
        assert score["window_difference"] is None
        terms = []
        for layer in range(score["layer"], max(score["layer"] - 3, 0), -1):
            own = naive.score(rows[score["sample_id"]]["messages"], score["trait"], layer)
            terms.append((own.projection - own.prompt_projection) / own.length)
        assert score["layer_difference"] == pytest.approx(np.mean(terms), abs=1e-5)


def test_without_a_baseline_there_is_neither(tmp_path: Path) -> None:
    rows = long_rows(3)
    missing = str(write_lines(tmp_path / "ready.jsonl", ready_rows(rows)[1:]))
    nothing = {"window_difference": None, "layer_difference": None}
    query = "SELECT DISTINCT window_difference, layer_difference FROM scores"
    assert rows_of(scan_rows(tmp_path, rows, baseline="none"), query) == [nothing]
    failed = scan_rows(tmp_path, rows, baseline=missing, out=str(tmp_path / "failed"))
    assert rows_of(failed, f"{query} WHERE sample_id = 0") == [nothing]
    assert nothing not in rows_of(failed, f"{query} WHERE sample_id > 0")


def test_windows_are_the_same_to_the_bit_whatever_the_token_budget_and_the_neighbours(tmp_path: Path) -> None:
    rows = long_rows(9)
    file = write_lines(tmp_path / "ready.jsonl", ready_rows(rows))
    query = "SELECT window_difference, layer_difference FROM scores ORDER BY sample_id, trait"
    wide, narrow = (
        rows_of(scan_rows(tmp_path, rows, baseline=str(file), out=str(tmp_path / str(n)), batch_tokens=n), query)
        for n in (4096, 64)
    )
    assert wide == narrow
    few = scan_rows(tmp_path, rows[3:5], baseline=str(file), out=str(tmp_path / "few"))
    assert rows_of(few, query) == wide[3 * len(TRAITS) : 5 * len(TRAITS)]


def test_a_conversation_has_one_content_id_in_every_file_and_shape(tmp_path: Path) -> None:
    rows = [*chats(3), chat("Hello?", "Hi.", system="Be kind."), {"text": "no shape"}]
    first = scan_rows(tmp_path, rows, baseline="none")
    ids = [row["content_id"] for row in rows_of(first, "SELECT content_id FROM samples ORDER BY sample_id")]
    assert ids[4] is None
    assert len(set(ids[:4])) == 4
    assert all(0 <= own < 2**63 for own in ids[:4])
    shapes = {
        "table.parquet": [{"messages": row["messages"], "origin": "web"} for row in rows[:4]],
        "sharegpt.json": [
            {
                "conversations": [
                    {"from": {"user": "human", "assistant": "gpt"}[own["role"]], "value": own["content"]}
                    for own in row["messages"]
                    if own["role"] != "system"
                ],
                **({"system": "Be kind."} if row["messages"][0]["role"] == "system" else {}),
            }
            for row in reversed(rows[:4])
        ],
    }
    pq.write_table(pa.Table.from_pylist(shapes["table.parquet"]), tmp_path / "table.parquet")
    (tmp_path / "sharegpt.json").write_text(json.dumps(shapes["sharegpt.json"]))
    for name, wanted in (("table.parquet", ids[:4]), ("sharegpt.json", ids[3::-1])):
        run = scan(
            ScanConfig(
                datasets=(str(tmp_path / name),),
                model=str(model_path("llama")),
                vectors=(str(tmp_path / "vectors"),),
                baseline="none",
                evidence="off",
                turns="last",
                out=str(tmp_path / f"{name}.audit"),
            )
        )
        assert [row["content_id"] for row in rows_of(run, "SELECT * FROM samples ORDER BY sample_id")] == wanted
