"""Several drawn baselines a prompt: their mean and its standard error, the same whatever interrupts or batches them.

Pairs covered: generation-model, generation-answers, shard-baseline_turns, tables-states, plan-server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from audit import Run, ScanConfig, estimate_scan, generation, scan
from audit.errors import ConfigError, RunError
from audit.events import Event, StageAdvanced, StageStarted, Warned
from audit.server import service
from tests import oracle
from tests.datasets import TRAITS, chats, write_lines, write_vectors
from tests.models import model_path, one_thread
from tests.servers import Reply, answer_to, completion, running_server

__all__ = ["one_thread"]

pytestmark = pytest.mark.usefixtures("one_thread")
N_ROWS, K = 6, 3
MAX_NEW_TOKENS, LONG = 12, 24
"""Answers, and answers that hold several windows."""
KEY = "sample_id, side, turn, part"


def config(folder: Path, name: str, family: str = "llama", **options: Any) -> ScanConfig:
    data, vectors = folder / "data.jsonl", folder / f"vectors-{family}"
    if not vectors.exists():
        write_vectors(vectors, model_path(family))
    if not data.exists():
        write_lines(data, chats(N_ROWS))
    settings = {"baseline_samples": K, "max_new_tokens": MAX_NEW_TOKENS, "evidence": "off", "shard_rows": 4, **options}
    return ScanConfig(
        datasets=(str(data),),
        model=str(model_path(family)),
        vectors=(str(vectors),),
        out=str(folder / name),
        **settings,
    )


def table(run: Run, query: str = f"SELECT * FROM scores ORDER BY {KEY}, trait") -> pa.Table:
    return run.sql(query).to_arrow_table()


def texts(run: Run) -> list[str | None]:
    return table(run, f"SELECT baseline_response FROM turns ORDER BY {KEY}")["baseline_response"].to_pylist()


def draw_naively(module: Any, tokenizer: Any, prompt: str, sample: int) -> str:
    """Draw one answer at temperature 1, token by token: each token where the sum of probabilities passes a number."""
    digest = hashlib.sha256(prompt.encode()).digest()
    numbers = np.random.default_rng([0, sample, int.from_bytes(digest[:8], "big")]).random(LONG)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer: list[int] = []
    for number in numbers:
        with torch.no_grad():
            share_v = torch.softmax(module(torch.tensor([ids + answer])).logits[0, -1].double(), dim=0).numpy()
        token = int(np.searchsorted(np.cumsum(share_v), number, side="right"))
        if token in tokenizer.all_special_ids and token == module.generation_config.eos_token_id:
            break
        answer.append(token)
    return str(tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def mean_state(module: Any, tokenizer: Any, messages: Sequence[dict[str, str]], layer: int) -> np.ndarray:
    text, start, stop = oracle.find_response(tokenizer, messages)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    positions = oracle.find_positions(tokenizer, ids, text, start, stop)
    with torch.no_grad():
        hidden = module(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0]
    return hidden[positions].double().mean(dim=0).numpy()


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_scores_are_held_against_the_mean_of_drawn_answers_as_the_definition_has_it(
    tmp_path: Path, family: str
) -> None:
    run = scan(config(tmp_path, "run", family, max_new_tokens=LONG))
    module = transformers.AutoModelForCausalLM.from_pretrained(model_path(family)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_path(family))
    rows = chats(N_ROWS)
    turns = table(run, f"SELECT * FROM turns ORDER BY {KEY}").to_pylist()
    stored = pq.read_table(run.path / "differences").to_pylist()
    difference_of = {(row["sample_id"], row["turn"]): row["difference"] for row in stored}
    scores = {(row["sample_id"], row["turn"], row["trait"]): row for row in table(run).to_pylist()}
    assert len(turns) == N_ROWS + 2
    n_different = 0
    for turn in turns:
        messages = rows[turn["sample_id"]]["messages"][: turn["turn"] + 1]
        prompt = tokenizer.apply_chat_template(
            messages[:-1], tokenize=False, add_generation_prompt=True, date_string=oracle.TODAY
        )
        drawn = [draw_naively(module, tokenizer, prompt, sample) for sample in range(K)]
        n_different += len(set(drawn)) == K
        drawn = [text for text in drawn if text.strip()]
        assert turn["baseline_response"] == drawn[0]
        ends = [[*messages[:-1], {"role": "assistant", "content": text}] for text in drawn]
        states = [mean_state(module, tokenizer, end, 3) for end in ends]
        wanted_d = mean_state(module, tokenizer, messages, 3) - np.mean(states, axis=0)
        found_d = difference_of[turn["sample_id"], turn["turn"]]
        np.testing.assert_allclose(found_d, wanted_d, rtol=2e-3, atol=2e-3)
        for place, trait in enumerate(TRAITS):
            vector_ld = load_file(tmp_path / f"vectors-{family}" / f"{trait}.safetensors")["vector"]
            of = {"vector_ld": vector_ld, "layer": 2 + place}
            own = oracle.score_response(module, tokenizer, messages, **of)
            baselines = [oracle.score_response(module, tokenizer, end, **of) for end in ends]
            values = np.array([baseline.projection for baseline in baselines])
            row = scores[turn["sample_id"], turn["turn"], trait]
            assert row["baseline_projection"] == pytest.approx(values.mean(), abs=2e-5)
            assert row["projection_difference"] == pytest.approx(own.projection - values.mean(), abs=2e-5)
            windows = [baseline.window for baseline in baselines]
            assert row["window_difference"] == pytest.approx(own.window - np.mean(windows), abs=2e-5)
            error = np.sqrt(((values - values.mean()) ** 2).sum() / (len(values) - 1) / len(values))
            assert row["standard_error"] == pytest.approx(error, abs=2e-5)
            n_tokens = [len(baseline.response_positions) for baseline in baselines]
            assert turn["n_baseline_tokens"] == round(np.mean(n_tokens))
    assert n_different > N_ROWS / 2


class Stop(KeyboardInterrupt):
    """The user has had enough."""


def stop_after(n_shards: int) -> Callable[[Event], None]:
    seen = 0

    def listen(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, StageAdvanced) and event.stage == "generating"
        if seen == n_shards:
            raise Stop

    return listen


def test_neither_batches_nor_kills_nor_other_samples_change_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scan(config(tmp_path, "whole", no_cache=True))
    other = scan(config(tmp_path, "other", no_cache=True, batch_tokens=300, shard_rows=2))
    assert texts(other) == texts(whole)
    monkeypatch.setattr(generation, "SHARD_PROMPTS", 5)
    made: list[int] = []
    draw: Callable[..., Any] = generation.sample_answers

    def listen(model: Any, prompts: Sequence[str], **options: Any) -> Any:
        made.append(len(prompts))
        return draw(model, prompts, **options)

    monkeypatch.setattr(generation, "sample_answers", listen)
    for _ in range(2):
        with pytest.raises(Stop):
            scan(config(tmp_path, "cut", no_cache=True), listener=stop_after(2))
    continued = scan(config(tmp_path, "cut", no_cache=True))
    # 8 prompts, 3 answers to each, 5 at a time: a part of them ends within a prompt's answers.
    assert made == [5, 5, 5, 5, 4]
    assert texts(continued) == texts(whole)
    assert table(continued).equals(table(whole))
    # The first two of three are the two, and the response's own projection knows nothing of baselines.
    two = scan(config(tmp_path, "two", no_cache=True, baseline_samples=2))
    assert texts(two) == texts(whole)
    greedy = scan(config(tmp_path, "greedy", no_cache=True, baseline_samples=0))
    for name in ("projection", "prompt_projection"):
        assert table(two)[name].equals(table(whole)[name])
        assert table(greedy)[name].equals(table(whole)[name])
    assert table(greedy)["standard_error"].null_count == len(table(greedy))
    assert texts(greedy) != texts(whole)


def test_another_seed_draws_other_answers_and_more_samples_take_the_known_ones_from_the_cache(tmp_path: Path) -> None:
    two = scan(config(tmp_path, "two", baseline_samples=2))
    heard: list[Event] = []
    four = scan(config(tmp_path, "four", baseline_samples=4), listener=heard.append)
    (started,) = [event for event in heard if isinstance(event, StageStarted) and event.stage == "generating"]
    assert (started.total, started.done, started.unit) == (32, 16, "answers")
    baseline = four.manifest["baseline"]
    assert (baseline["n_prompts"], baseline["n_generated"], baseline["n_cached"]) == (8, 16, 16)
    assert (baseline["samples"], baseline["seed"], baseline["parameters"]["temperature"]) == (4, 0, 1.0)
    assert "sample" in baseline["seeds"]
    assert four.summary()["baseline"]["samples"] == 4
    # Neither is a greedy answer taken for a drawn one.
    greedy = scan(config(tmp_path, "greedy", baseline_samples=0))
    assert greedy.manifest["baseline"]["n_cached"] == 0
    assert greedy.manifest["baseline"]["samples"] == 0
    other = scan(config(tmp_path, "seeded", baseline_samples=2, seed=1))
    assert other.manifest["baseline"]["n_cached"] == 0
    assert texts(other) != texts(two) == texts(four)


def test_a_dry_run_counts_every_answer(tmp_path: Path) -> None:
    scan(config(tmp_path, "two", baseline_samples=2))
    estimate = estimate_scan(config(tmp_path, "run", baseline_samples=4))
    assert (estimate.n_prompts.value, estimate.n_answers_each) == (8, 4)
    assert (estimate.n_cached.value, estimate.n_generated.value) == (16, 16)
    assert estimate.share_generated == estimate.to_json()["share_generated"] == 0.5
    assert estimate.seconds["generating"] > 0


def test_evidence_is_not_touched(tmp_path: Path) -> None:
    runs = [scan(config(tmp_path, f"run{k}", baseline_samples=k, evidence="full", limit=3)) for k in (0, 2)]
    for name in ("evidence", "evidence_z", "evidence_variance"):
        greedy, drawn = (table(run)[name] for run in runs)
        assert greedy.null_count == 0
        assert greedy.equals(drawn)


def test_runs_and_references_of_another_number_do_not_fit(tmp_path: Path) -> None:
    write_lines(tmp_path / "data.jsonl", chats(110))
    short: dict[str, Any] = {"max_new_tokens": 2, "turns": "last", "shard_rows": 1000}
    clean = scan(config(tmp_path, "clean", baseline_samples=2, **short))
    with pytest.raises(RunError, match="baseline_samples: the run has 2, this scan 3"):
        scan(config(tmp_path, "clean", **short))
    short |= {"reference": str(clean.path), "limit": 5}
    with pytest.raises(RunError, match="number of baseline samples is 2, this run's is 3"):
        scan(config(tmp_path, "run", **short))
    with pytest.raises(RunError, match="number of baseline samples is 2, this run's is none"):
        scan(config(tmp_path, "run", baseline_samples=0, **short))
    fitting = scan(config(tmp_path, "run", baseline_samples=2, **short))
    assert fitting.manifest["reference"]["n"] > 100


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ({"baseline_samples": 1}, "nothing tells how much.*choose 2 or more"),
        ({"baseline_samples": -2}, "out of range"),
        ({"baseline_samples": 65}, "2 to 64"),
        ({"baseline": "prompt"}, "nothing is generated with --baseline prompt"),
        ({"baseline": "none"}, "nothing is generated with --baseline none"),
        ({"baseline": "ready.jsonl"}, "--baseline auto or generate"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, options: dict[str, Any], finding: str) -> None:
    with pytest.raises(ConfigError, match=f"--baseline-samples.*{finding}"):
        config(tmp_path, "run", **options)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FIRST_WAIT_S", 0.01)
    for variable in service.KEY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def draw_text(body: dict[str, Any]) -> str:
    return answer_to(f"{body['prompt']} {body['seed']}")


@pytest.mark.usefixtures("quick")
def test_a_server_is_asked_for_each_answer_with_a_seed_of_its_own(tmp_path: Path) -> None:
    with running_server() as server:
        server.script = lambda body, number: Reply(completion(draw_text(body)))
        run = scan(config(tmp_path, "run", baseline_server=server.url))
        trial, *asked = server.asked
        assert (trial["prompt"], trial["max_tokens"]) == ("Hello", 1)
        assert len(asked) == 8 * K
        assert len({body["seed"] for body in asked}) == 8 * K
        assert all(0 <= body["seed"] < 2**31 for body in asked)
        wanted = {"temperature": 1, "top_p": 1, "n": 1, "top_k": -1, "min_p": 0, "repetition_penalty": 1}
        assert all(body | wanted == body for body in asked)
        assert {draw_text(body) for body in asked} >= set(texts(run))
        assert not [notice for notice in run.manifest["notices"] if "standard errors" in notice]
        again = scan(config(tmp_path, "again", baseline_server=server.url))
        # The trial alone: the answers lie in the cache.
        assert len(server.asked) == len(asked) + 2
        assert table(again).equals(table(run))


@pytest.mark.usefixtures("quick")
def test_a_server_that_refuses_an_option_is_asked_without_and_one_that_draws_nothing_is_noticed(tmp_path: Path) -> None:
    def refuse(body: dict[str, Any], number: int) -> Reply:
        if "min_p" in body:
            return Reply({"error": {"message": "Unexpected fields: {'min_p'}"}}, status=422)
        return Reply(completion(answer_to(body["prompt"])))

    heard: list[Event] = []
    with running_server() as server:
        server.script = refuse
        run = scan(config(tmp_path, "run", baseline_server=server.url), listener=heard.append)
        assert len(server.asked) == 2 + 8 * K
        assert not [body for body in server.asked[1:] if "top_k" in body]
    warnings = [event.message for event in heard if isinstance(event, Warned)]
    assert [words for words in warnings if "takes none of top_k" in words]
    assert [words for words in warnings if "prompts are all the same: the server" in words]
    assert set(warnings) <= set(run.manifest["notices"])
    assert set(table(run)["standard_error"].to_pylist()) == {0.0}


@pytest.mark.usefixtures("quick")
def test_samples_that_fail_are_left_out_and_a_prompt_without_any_has_no_baseline(tmp_path: Path) -> None:
    met: dict[str, list[int]] = {}

    def fail_some(body: dict[str, Any], number: int) -> Reply:
        if body["prompt"] == "Hello":
            return Reply(completion("Hi"))
        seeds = met.setdefault(body["prompt"], [])
        if body["seed"] not in seeds:
            seeds.append(body["seed"])
        place, sample = list(met).index(body["prompt"]), seeds.index(body["seed"])
        # The n-th prompt has K - n answers: the first fail, one of them by having nothing to say.
        if sample < place:
            return Reply(completion("  ")) if sample == 1 else Reply({"error": "no"}, status=400)
        return Reply(completion(draw_text(body)))

    with running_server() as server:
        server.script = fail_some
        ours = config(tmp_path, "run", baseline_server=server.url, baseline_server_concurrency=1, limit=3, turns="last")
        run = scan(ours)
    found = table(run, f"SELECT * FROM scores JOIN turns USING ({KEY}) WHERE trait = 'evil' ORDER BY {KEY}").to_pylist()
    assert [row["status"] for row in found] == ["ok", "ok", "ok"]
    assert [row["standard_error"] is None for row in found] == [False, False, True]
    by_prompt = [[body for body in server.asked if body["prompt"] == prompt] for prompt in met]
    assert [row["baseline_response"] for row in found] == [draw_text(by_prompt[n][n]) for n in range(3)]
    assert run.manifest["baseline"]["n_failed"] == 2

    write_lines(tmp_path / "data.jsonl", chats(8)[3:])
    met.clear()
    with running_server() as server:
        server.script = fail_some
        run = scan(
            config(tmp_path, "none", baseline_server=server.url, baseline_server_concurrency=1, turns="last", limit=4)
        )
    last = table(run, f"SELECT * FROM scores JOIN turns USING ({KEY}) ORDER BY {KEY}").to_pylist()[-1]
    assert (last["status"], last["reason"]) == ("baseline_failed", "the server gave no answer: HTTP 400: no")
    assert last["projection"] is not None
    assert [last[name] for name in ("projection_difference", "standard_error", "n_baseline_tokens")] == [None] * 3
