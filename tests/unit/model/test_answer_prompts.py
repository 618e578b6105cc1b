from __future__ import annotations

import dataclasses
import functools
import warnings
from typing import Any

import pytest
import torch

from audit.errors import ModelError
from audit.model import pool
from audit.model.generate import GENERATION_PARAMETERS, POOL, ROUNDS, answer_prompts, choose_way
from audit.model.load import LoadedModel, load_model
from audit.model.pool import Pool, answer_in_pool
from audit.model.rows import PromptRow
from audit.samples.sample import Message
from tests import models

LIMITS: dict[str, Any] = {"max_tokens": 512, "batch_tokens": 2000, "seed": 0}


@functools.cache
def load(family: str) -> LoadedModel:
    return load_model(model=str(models.model_path(family)))


def render(model: LoadedModel, *questions: str) -> list[str]:
    return [model.template.render([Message("user", question)], is_prompt=True) for question in questions]


def in_double(family: str) -> LoadedModel:
    """Load a model of its own in float64, in which no two tokens tie."""
    model = load_model(model=str(models.model_path(family)))
    model.module.double()
    return model


def generate_alone(model: LoadedModel, prompt: str, max_new_tokens: int) -> str:
    ids_nt = torch.tensor([model.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
    grown_nt = model.module.generate(
        ids_nt,
        attention_mask=torch.ones_like(ids_nt),
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(model.stop_ids),
        pad_token_id=0,
    )
    return str(model.tokenizer.decode(grown_nt[0, ids_nt.shape[1] :], skip_special_tokens=True))


@pytest.mark.parametrize("way", [POOL, ROUNDS])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "gpt2"])
def test_answers_equal_generate_one_at_a_time(family: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MAX_ROWS", 3)
    model = in_double(family)
    assert choose_way(model) == POOL
    prompts = render(model, "Hi", "Tell me a story about bread.", "Why? " * 20, "x", "Is it?", "And who " * 9)
    answers = answer_prompts(model, prompts, max_new_tokens=40, way=way, **LIMITS)
    assert [answer.text for answer in answers] == [generate_alone(model, prompt, 40) for prompt in prompts]
    assert {answer.n_tokens for answer in answers if not answer.finished} <= {40}


def test_rows_of_many_lengths_come_and_go_without_changing_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MAX_ROWS", 4)
    model = in_double("llama")
    prompts = render(model, *(f"{'Why? ' * n}And {n}?" for n in range(12)))
    # Answers that end after 1 to 70 tokens, past what the cache first has room for.
    rows = [
        PromptRow(model.tokenizer(prompt, add_special_tokens=False)["input_ids"], room=1 + (n * 29) % 70)
        for n, prompt in enumerate(prompts)
    ]
    with torch.inference_mode():
        answer_in_pool(dataclasses.replace(model, stop_ids=()), rows, batch_tokens=400, stop_text="")
    for row in rows:
        ids_nt = torch.tensor([row.ids])
        with torch.inference_mode():
            alone_nt = model.module.generate(
                ids_nt,
                attention_mask=torch.ones_like(ids_nt),
                do_sample=False,
                max_new_tokens=row.room,
                eos_token_id=[10**6],
                pad_token_id=0,
            )
        assert row.answer == alone_nt[0, ids_nt.shape[1] :].tolist()


def test_equal_prompts_are_answered_once_and_order_is_kept() -> None:
    model = load("llama")
    first, second = render(model, "Hi", "Why do you ask me that?")
    n_rows: list[int] = []
    hook = model.module.get_input_embeddings().register_forward_hook(
        lambda _module, arguments, _output: n_rows.append(len(arguments[0]))
    )
    try:
        answers = answer_prompts(model, [second, first, second, first], max_new_tokens=8, way=POOL, **LIMITS)
    finally:
        hook.remove()
    assert max(n_rows) == 2
    assert answers[0] == answers[2]
    assert answers[1] == answers[3] == answer_prompts(model, [first], max_new_tokens=8, **LIMITS)[0]
    assert answer_prompts(model, [], max_new_tokens=8, **LIMITS) == []


def test_a_pool_that_does_not_fit_into_memory_is_halved_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = in_double("llama")
    prompts = render(model, "Hi", "Tell me a story.", "Why? " * 9, "x", "Is it?", "Who?")
    wanted = answer_prompts(model, prompts, max_new_tokens=20, way=POOL, **LIMITS)
    run, sizes = Pool._run, []

    def run_short_of_memory(self: Pool, ids_nt: torch.Tensor, *rest: Any) -> torch.Tensor:
        sizes.append(len(ids_nt))
        # The first pass fits and a later one does not, as when the cache has grown.
        if len(ids_nt) > 2 and len(sizes) > 5:
            raise torch.OutOfMemoryError
        return run(self, ids_nt, *rest)

    monkeypatch.setattr(Pool, "_run", run_short_of_memory)
    assert answer_prompts(model, prompts, max_new_tokens=20, way=POOL, **LIMITS) == wanted
    assert (max(sizes[:5]), max(sizes[8:])) == (6, 2)

    def run_out_of_memory(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Pool, "_run", run_out_of_memory)
    with pytest.raises(ModelError, match="--max-tokens"):
        answer_prompts(model, prompts, max_new_tokens=20, way=POOL, **LIMITS)


@pytest.mark.parametrize("family", [*models.FAMILIES, *models.PLAIN_FAMILIES])
def test_families_whose_cache_is_plain_generate_in_a_pool(family: str) -> None:
    assert choose_way(load(family)) == POOL


@pytest.mark.parametrize("harm", ["positions", "layers", "error"])
def test_a_model_that_a_pool_gives_other_numbers_generates_in_rounds(
    harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(model=str(models.model_path("llama")))
    forward = model.module.forward

    def forward_otherwise(**options: Any) -> Any:
        if harm == "error" and options.get("past_key_values") is not None:
            raise TypeError("no such cache")
        if harm == "positions":
            options.pop("position_ids", None)
        return forward(**options)

    if harm == "layers":
        model.module.config.layer_types = ["linear_attention"]
    else:
        monkeypatch.setattr(model.module, "forward", forward_otherwise)
    assert choose_way(model) == ROUNDS


def test_a_stop_token_ends_the_answer_and_is_not_in_it() -> None:
    model = load("llama")
    prompt = render(model, "Hi")[0]
    free = answer_prompts(model, [prompt], max_new_tokens=6, **LIMITS)[0]
    ids_nt = torch.tensor([model.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
    grown_nt = model.module.generate(ids_nt, attention_mask=torch.ones_like(ids_nt), do_sample=False, max_new_tokens=6)
    third = int(grown_nt[0, ids_nt.shape[1] + 2])
    stopping = dataclasses.replace(model, stop_ids=(*model.stop_ids, third))
    answer = answer_prompts(stopping, [prompt], max_new_tokens=6, **LIMITS)[0]
    assert (answer.finished, free.finished) == (True, False)
    assert answer.n_tokens <= 2
    assert free.text.startswith(answer.text)


def test_a_prompt_that_leaves_no_room_gets_an_empty_answer_and_one_with_little_room_a_short_one() -> None:
    model = load("llama")
    short, long = render(model, "Hi", "Why? " * 30)
    n_short = len(model.tokenizer(short, add_special_tokens=False)["input_ids"])
    answers = answer_prompts(model, [long, short], max_new_tokens=50, max_tokens=n_short + 3, batch_tokens=2000, seed=0)
    assert (answers[0].text, answers[0].n_tokens, answers[0].finished) == ("", 0, False)
    assert answers[1].n_tokens <= 3


def test_the_models_own_generation_settings_are_set_aside_and_put_back() -> None:
    model = load("qwen2")
    prompts = render(model, "Hi", "Tell me a story.")
    wanted = answer_prompts(model, prompts, max_new_tokens=20, **LIMITS)
    config = model.module.generation_config
    kept = config.to_dict()
    try:
        config.update(
            do_sample=True,
            temperature=9.0,
            top_p=0.1,
            repetition_penalty=5.0,
            min_new_tokens=15,
            no_repeat_ngram_size=1,
        )
        assert answer_prompts(model, prompts, max_new_tokens=20, **LIMITS) == wanted
        assert model.module.generation_config is config
        assert config.repetition_penalty == 5.0
    finally:
        config.update(**kept)
    assert GENERATION_PARAMETERS["do_sample"] is False


@pytest.mark.parametrize("way", [POOL, ROUNDS])
def test_a_plain_model_stops_where_it_speaks_for_the_user(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("gpt2")
    said = model.tokenizer(" Fine.\n\nUser: And you?" + " Well." * 30, add_special_tokens=False)["input_ids"]
    n_said = 0

    def say_next(*_: Any) -> torch.Tensor:
        nonlocal n_said
        n_said += 1
        return torch.nn.functional.one_hot(torch.tensor([said[n_said - 1]]), len(model.tokenizer)).float()

    def generate(ids_nt: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.cat([ids_nt, torch.tensor([said])], dim=1)

    monkeypatch.setattr(model.module, "generate", generate)
    monkeypatch.setattr(Pool, "_run", say_next)
    answer = answer_prompts(model, render(model, "Hi"), max_new_tokens=len(said), way=way, **LIMITS)[0]
    assert (answer.text, answer.finished) == (" Fine.", True)
    assert answer.n_tokens < len(said)
    assert n_said < 40 < len(said)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_prompt_near_the_end_of_the_context_does_not_push_its_batch_past_it(family: str) -> None:
    model = load(family)
    full = render(model, "Hi", "word " * 600)
    n_prompt = len(model.tokenizer(full[1], add_special_tokens=False)["input_ids"])
    while n_prompt > model.context_tokens - 5:
        full[1] = full[1].replace("word ", "", 1)
        n_prompt = len(model.tokenizer(full[1], add_special_tokens=False)["input_ids"])
    seen: list[int] = []
    hook = model.module.get_input_embeddings().register_forward_hook(
        lambda _module, arguments, _output: seen.append(arguments[0].shape[1])
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answers = answer_prompts(model, full, max_new_tokens=20, max_tokens=512, batch_tokens=4000, seed=0)
    finally:
        hook.remove()
    assert max(seen) <= model.context_tokens
    assert answers[0].text == generate_alone(model, full[0], 20)
    assert answers[1].n_tokens <= model.context_tokens - n_prompt
