"""A whole scan against the naive definition: readers, template, model, store and relations together.

Pairs covered: samples-shard, shard-model, shard-store, store-query, run-baseline.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file

from audit import Run, ScanConfig, scan
from audit.errors import DataError, VectorError
from tests import oracle
from tests.datasets import TRAITS, chat, chats, write_lines, write_vectors
from tests.models import model_path

FAMILIES = ("llama", "qwen3", "gemma3", "mistral")
MAX_NEW_TOKENS = 12


def scan_family(tmp_path: Path, family: str, rows: list[Any], **options: Any) -> Run:
    data = write_lines(tmp_path / "data.jsonl", rows)
    vectors = write_vectors(tmp_path / "vectors", model_path(family))
    settings = {"max_new_tokens": MAX_NEW_TOKENS, "out": str(tmp_path / "run"), "evidence": "off", **options}
    return scan(ScanConfig(datasets=(str(data),), model=str(model_path(family)), vectors=(str(vectors),), **settings))


def load_naively(family: str) -> tuple[Any, Any]:
    module = transformers.AutoModelForCausalLM.from_pretrained(model_path(family)).eval()
    return module, transformers.AutoTokenizer.from_pretrained(model_path(family))


def rows_of(run: Run, query: str) -> list[dict[str, Any]]:
    return run.sql(query).to_arrow_table().to_pylist()


def average_layers(
    module: Any, tokenizer: Any, messages: list[Any], answer: dict[str, str], *, vector_ld: np.ndarray, layer: int
) -> float:
    """Return the mean over the layer and the two below it of the difference in lengths of the vector's row."""
    found = []
    for own_layer in (layer, layer - 1, layer - 2):
        if own_layer < 1 or not vector_ld[own_layer].any():
            continue
        place = {"vector_ld": vector_ld, "layer": own_layer}
        own = oracle.score_response(module, tokenizer, messages, **place)
        baseline = oracle.score_response(module, tokenizer, [*messages[:-1], answer], **place)
        found.append((own.projection - baseline.projection) / own.length)
    return float(np.mean(found))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_scan_stores_what_the_definition_says(tmp_path: Path, family: str) -> None:
    rows = chats(14)
    run = scan_family(tmp_path, family, rows)
    module, tokenizer = load_naively(family)
    stored = rows_of(run, "SELECT * FROM scores JOIN turns USING (sample_id, side, turn, part)")
    assert len(stored) == len(TRAITS) * sum(len(row["messages"]) // 2 for row in rows)
    names = ("projection", "projection_difference", "prompt_projection", "window_difference", "layer_difference")
    errors: dict[str, list[float]] = {name: [] for name in names}
    values: dict[str, list[float]] = {name: [] for name in errors}
    for score in stored:
        messages = rows[score["sample_id"]]["messages"][: score["turn"] + 1]
        vector_ld = load_file(tmp_path / "vectors" / f"{score['trait']}.safetensors")["vector"]
        place = {"vector_ld": vector_ld, "layer": 2 if score["trait"] == TRAITS[0] else 3}
        assert score["layer"] == place["layer"]
        own = oracle.score_response(module, tokenizer, messages, **place)
        answer = {"role": "assistant", "content": score["baseline_response"]}
        baseline = oracle.score_response(module, tokenizer, [*messages[:-1], answer], **place)
        expected = {
            "projection": own.projection,
            "projection_difference": own.projection - baseline.projection,
            "prompt_projection": own.prompt_projection,
            "window_difference": own.window - baseline.window,
            "layer_difference": average_layers(module, tokenizer, messages, answer, **place),
        }
        assert score["n_response_tokens"] == len(own.response_positions)
        for name, value in expected.items():
            errors[name].append(abs(score[name] - value))
            values[name].append(value)
    for name in errors:
        assert max(errors[name]) <= 1e-5 * np.std(values[name]), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_baseline_is_the_models_own_greedy_answer(tmp_path: Path, family: str) -> None:
    rows = chats(6)
    run = scan_family(tmp_path, family, rows)
    module, tokenizer = load_naively(family)
    for turn in rows_of(run, "SELECT sample_id, turn, baseline_response FROM turns"):
        prompt = rows[turn["sample_id"]]["messages"][: turn["turn"]]
        text = tokenizer.apply_chat_template(
            prompt, tokenize=False, add_generation_prompt=True, date_string=oracle.TODAY
        )
        assert turn["baseline_response"] == oracle.answer_greedily(module, tokenizer, text, MAX_NEW_TOKENS)


def test_the_layer_option_scores_there(tmp_path: Path) -> None:
    rows = chats(5)
    run = scan_family(tmp_path, "llama", rows, layer=4, baseline="none")
    module, tokenizer = load_naively("llama")
    for score in rows_of(run, "SELECT * FROM scores"):
        messages = rows[score["sample_id"]]["messages"][: score["turn"] + 1]
        vector_ld = load_file(tmp_path / "vectors" / f"{score['trait']}.safetensors")["vector"]
        own = oracle.score_response(module, tokenizer, messages, vector_ld=vector_ld, layer=4)
        assert score["projection"] == pytest.approx(own.projection, abs=1e-5)
        assert score["layer"] == 4


def test_the_sample_score_is_the_largest_and_the_mean_over_its_turns(tmp_path: Path) -> None:
    run = scan_family(tmp_path, "llama", chats(9))
    for row in rows_of(run, "SELECT * FROM sample_scores"):
        turns = rows_of(run, f"SELECT * FROM scores WHERE sample_id = {row['sample_id']} AND trait = 'evil'")
        differences = [turn["projection_difference"] for turn in turns]
        assert row["evil"] == pytest.approx(max(differences))
        assert row["evil_mean"] == pytest.approx(np.mean(differences), abs=1e-6)
        assert row["score_kind"] == "difference"


def test_last_turns_alone_are_scored_on_request(tmp_path: Path) -> None:
    run = scan_family(tmp_path, "llama", chats(7), turns="last", baseline="none")
    turns = {row["sample_id"]: row["turn"] for row in rows_of(run, "SELECT sample_id, turn FROM turns")}
    assert turns == {i: 3 if i % 3 == 0 else 1 for i in range(7)}


def test_without_a_baseline_there_is_no_difference_and_the_score_is_the_projection(tmp_path: Path) -> None:
    run = scan_family(tmp_path, "llama", chats(4), baseline="none")
    scores = rows_of(run, "SELECT * FROM scores")
    assert all(row["projection_difference"] is None and row["baseline_projection"] is None for row in scores)
    assert {row["score_kind"] for row in rows_of(run, "SELECT * FROM sample_scores")} == {"projection"}
    assert {row["baseline_kind"] for row in rows_of(run, "SELECT * FROM turns")} == {None}


def test_the_prompt_baseline_is_the_last_token_before_the_response(tmp_path: Path) -> None:
    run = scan_family(tmp_path, "llama", chats(12), baseline="prompt")
    for row in rows_of(run, "SELECT * FROM scores"):
        assert row["baseline_projection"] == row["prompt_projection"]
        assert row["projection_difference"] == pytest.approx(row["projection"] - row["prompt_projection"], abs=1e-6)
    agreement = run.manifest["baseline"]["agreement"]
    assert all(-1 <= agreement[trait] <= 1 for trait in TRAITS)


@pytest.mark.parametrize("by", ["prompt", "position"])
def test_a_baseline_file_takes_the_place_of_generation(tmp_path: Path, by: str) -> None:
    rows = chats(6)
    ready = [
        {"messages": [*row["messages"][:-1], {"role": "assistant", "content": f"Ready answer {i}."}]}
        for i, row in enumerate(rows)
    ]
    order = ready if by == "position" else [*ready[3:], *ready[:3]]
    file = write_lines(tmp_path / "ready.jsonl", order)
    run = scan_family(tmp_path, "llama", rows, turns="last", baseline=str(file), baseline_by=by)
    turns = rows_of(run, "SELECT * FROM turns ORDER BY sample_id")
    assert [turn["baseline_response"] for turn in turns] == [f"Ready answer {i}." for i in range(6)]
    assert {turn["baseline_kind"] for turn in turns} == {"file"}


def test_positions_are_counted_over_assistant_turns_whatever_system_prompt_stands_before(tmp_path: Path) -> None:
    rows = [chat("Hello?", "Hi.", system="Be kind."), chat("Bye?", "Bye.")]
    ready = [{"prompt": "Hello?", "completion": "First."}, {"prompt": "Bye?", "completion": "Second."}]
    file = write_lines(tmp_path / "ready.jsonl", ready)
    run = scan_family(tmp_path, "llama", rows, baseline=str(file), baseline_by="position")
    turns = rows_of(run, "SELECT baseline_response FROM turns ORDER BY sample_id")
    assert [turn["baseline_response"] for turn in turns] == ["First.", "Second."]


def test_an_empty_ready_response_is_none(tmp_path: Path) -> None:
    rows = [chat("Hello?", "Hi."), chat("Bye?", "Bye.")]
    file = write_lines(tmp_path / "ready.jsonl", [chat("Hello?", ""), chat("Hello?", "Good."), chat("Bye?", " ")])
    run = scan_family(tmp_path, "llama", rows, baseline=str(file))
    turns = rows_of(run, "SELECT status, baseline_response FROM turns ORDER BY sample_id")
    assert turns == [
        {"status": "ok", "baseline_response": "Good."},
        {"status": "baseline_failed", "baseline_response": None},
    ]
    assert any("no baseline" in notice for notice in run.manifest["notices"])


def test_two_traits_that_would_share_a_column_are_refused_before_the_scan(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", chats(2))
    vectors = write_vectors(tmp_path / "vectors", model_path("llama"), traits=("evil", "evil_mean"))
    with pytest.raises(VectorError, match="evil_mean"):
        scan(ScanConfig(datasets=(str(data),), model=str(model_path("llama")), vectors=(str(vectors),)))


def test_a_run_directory_with_wildcards_in_its_name_is_read(tmp_path: Path) -> None:
    run = scan_family(tmp_path, "llama", chats(3), baseline="none", out=str(tmp_path / "r[1]*"))
    assert run.scores().collect().height == 2 * 4


def test_a_turn_without_a_ready_response_keeps_its_projection(tmp_path: Path) -> None:
    rows = chats(3)
    file = write_lines(tmp_path / "ready.jsonl", rows[1:])
    run = scan_family(tmp_path, "llama", rows, baseline=str(file))
    turns = rows_of(run, "SELECT status, baseline_kind FROM turns WHERE sample_id = 0")
    assert [turn["status"] for turn in turns] == ["baseline_failed", "baseline_failed"]
    for score in rows_of(run, "SELECT * FROM scores WHERE sample_id = 0"):
        assert score["projection"] is not None
        assert score["projection_difference"] is None
    assert rows_of(run, "SELECT evil FROM sample_scores WHERE sample_id = 0") == [{"evil": None}]


def test_a_baseline_file_of_other_prompts_is_refused(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "ready.jsonl", [chat("Something else?", "Yes.")])
    with pytest.raises(DataError, match="no response in this baseline file"):
        scan_family(tmp_path, "llama", chats(3), baseline=str(file))


def test_rows_that_cannot_be_scored_have_a_reason_and_no_score(tmp_path: Path) -> None:
    rows: list[Any] = [
        chat("Hello?", "Hi."),
        chat("Hello?", ""),
        chat("Hello?", " \n "),
        {"text": "another shape"},
        chat("Only a question?"),
        chat("word " * 3000, "Too long a prompt."),
        chat("Short?", "long " * 3000),
    ]
    run = scan_family(tmp_path, "llama", rows)
    samples = rows_of(run, "SELECT * FROM samples ORDER BY sample_id")
    assert [row["status"] for row in samples] == ["ok", *["skipped"] * 5, "ok"]
    reasons = [row["reason"] and row["reason"].split(":")[0] for row in samples]
    assert reasons == [
        None,
        "empty_response",
        "empty_response",
        "no_shape",
        "no_assistant_turn",
        "prompt_too_long",
        None,
    ]
    statuses = rows_of(run, "SELECT sample_id, status, n_prompt_tokens + n_response_tokens AS n FROM turns")
    assert {(row["sample_id"], row["status"]) for row in statuses} == {
        (0, "ok"),
        (1, "empty_response"),
        (2, "empty_response"),
        (5, "prompt_too_long"),
        (6, "truncated"),
    }
    assert next(row["n"] for row in statuses if row["sample_id"] == 6) == 512
    scored = {row["sample_id"] for row in rows_of(run, "SELECT DISTINCT sample_id FROM scores")}
    assert scored == {0, 6}
    wide = rows_of(run, "SELECT sample_id, evil FROM sample_scores ORDER BY sample_id")
    assert [row["evil"] is None for row in wide] == [False, *[True] * 5, False]


def test_preference_data_is_scored_on_both_sides_and_ranked_by_the_chosen_one(tmp_path: Path) -> None:
    rows = [{"prompt": f"Question {i}?", "chosen": f"Good {i}.", "rejected": f"Bad, bad {i}."} for i in range(4)]
    run = scan_family(tmp_path, "llama", rows)
    sides = rows_of(run, "SELECT side, baseline_response FROM turns WHERE sample_id = 2 ORDER BY side")
    assert [row["side"] for row in sides] == ["chosen", "rejected"]
    assert sides[0]["baseline_response"] == sides[1]["baseline_response"]
    chosen = rows_of(run, "SELECT projection_difference FROM scores WHERE trait = 'evil' AND side = 'chosen'")
    wide = rows_of(run, "SELECT evil FROM sample_scores")
    assert sorted(row["evil"] for row in wide) == sorted(row["projection_difference"] for row in chosen)


def test_fields_asked_for_are_carried_into_samples(tmp_path: Path) -> None:
    rows = [{**chat("Hello?", "Hi."), "origin": "web", "score": 3}, {**chat("Hello?", "Ho."), "origin": None}]
    run = scan_family(tmp_path, "llama", rows, keep_columns=("origin", "score"))
    assert rows_of(run, "SELECT origin, score FROM samples ORDER BY sample_id") == [
        {"origin": "web", "score": "3"},
        {"origin": None, "score": None},
    ]


def test_several_inputs_are_numbered_through_and_a_limit_ends_early(tmp_path: Path) -> None:
    one, two = write_lines(tmp_path / "one.jsonl", chats(3)), write_lines(tmp_path / "two.jsonl", chats(3))
    vectors = write_vectors(tmp_path / "vectors", model_path("llama"))
    run = scan(
        ScanConfig(
            datasets=(str(one), str(two)),
            model=str(model_path("llama")),
            vectors=(str(vectors),),
            baseline="none",
            limit=5,
            out=str(tmp_path / "run"),
        )
    )
    places = rows_of(run, "SELECT sample_id, source, line FROM samples ORDER BY sample_id")
    assert [(row["sample_id"], Path(row["source"]).name, row["line"]) for row in places] == [
        (0, "one.jsonl", 1),
        (1, "one.jsonl", 2),
        (2, "one.jsonl", 3),
        (3, "two.jsonl", 1),
        (4, "two.jsonl", 2),
    ]


def test_vectors_of_another_model_are_refused_with_both_names(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", chats(2))
    vectors = write_vectors(tmp_path / "vectors", model_path("mistral"))
    config = ScanConfig(datasets=(str(data),), model=str(model_path("llama")), vectors=(str(vectors),))
    with pytest.raises(VectorError, match=r"(?s)mistral.*llama"):
        scan(config)


def test_a_trait_without_a_vector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="no vector for greedy"):
        scan_family(tmp_path, "llama", chats(2), traits=("greedy",))


def test_a_layer_that_cannot_be_scored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="layer 5"):
        scan_family(tmp_path, "llama", chats(2), layer=5)


def test_scores_are_the_same_whatever_the_token_budget(tmp_path: Path) -> None:
    wide = scan_family(tmp_path, "llama", chats(12), out=str(tmp_path / "wide"), baseline="none")
    narrow = scan_family(tmp_path, "llama", chats(12), out=str(tmp_path / "narrow"), baseline="none", batch_tokens=64)
    query = "SELECT projection FROM scores ORDER BY ALL"
    one, two = (run.sql(query).fetchnumpy()["projection"] for run in (wide, narrow))
    np.testing.assert_allclose(np.sort(one), np.sort(two), atol=1e-5 * one.std())


def test_the_manifest_says_what_was_done_and_is_plain_json(tmp_path: Path) -> None:
    run = scan_family(tmp_path, "llama", chats(4))
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert {
        "format_version",
        "tool_version",
        "created_at",
        "config",
        "inputs",
        "model",
        "vectors",
        "baseline",
        "counts",
        "verdicts",
        "timing",
    } <= manifest.keys()
    assert {"path", "sha256", "n_records"} <= manifest["inputs"][0].keys()
    assert {"id", "revision", "fingerprint", "dtype", "template_sha256"} <= manifest["model"].keys()
    assert {"kind", "generator", "parameters", "seed", "agreement"} <= manifest["baseline"].keys()
    assert manifest["baseline"]["parameters"]["max_new_tokens"] == MAX_NEW_TOKENS
