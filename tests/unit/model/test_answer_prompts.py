from __future__ import annotations

import dataclasses
import functools
import warnings
from typing import Any

import pytest
import torch

from audit.model.generate import GENERATION_PARAMETERS, answer_prompts
from audit.model.load import LoadedModel, load_model
from audit.samples.sample import Message
from tests import models

LIMITS: dict[str, Any] = {"max_tokens": 512, "batch_tokens": 2000, "seed": 0}


@functools.cache
def load(family: str) -> LoadedModel:
    return load_model(model=str(models.model_path(family)))


def render(model: LoadedModel, *questions: str) -> list[str]:
    return [model.template.render([Message("user", question)], is_prompt=True) for question in questions]


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


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_answers_over_several_rounds_equal_generate_one_at_a_time(family: str) -> None:
    model = load(family)
    prompts = render(model, "Hi", "Tell me a story about bread.", "Why? " * 20, "x")
    answers = answer_prompts(model, prompts, max_new_tokens=40, **LIMITS)
    assert [answer.text for answer in answers] == [generate_alone(model, prompt, 40) for prompt in prompts]
    assert {answer.n_tokens for answer in answers if not answer.finished} <= {40}


def test_equal_prompts_are_answered_once_and_order_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("llama")
    first, second = render(model, "Hi", "Why do you ask me that?")
    rows: list[int] = []
    generate = model.module.generate
    monkeypatch.setattr(
        model.module, "generate", lambda ids_nt, **rest: (rows.append(len(ids_nt)), generate(ids_nt, **rest))[1]
    )
    answers = answer_prompts(model, [second, first, second, first], max_new_tokens=8, **LIMITS)
    assert rows == [2]
    assert answers[0] == answers[2]
    assert answers[1] == answers[3] == answer_prompts(model, [first], max_new_tokens=8, **LIMITS)[0]
    assert answer_prompts(model, [], max_new_tokens=8, **LIMITS) == []


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


def test_a_plain_model_stops_where_it_speaks_for_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("gpt2")
    said = model.tokenizer(" Fine.\n\nUser: And you?", add_special_tokens=False)["input_ids"]

    def generate(ids_nt: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.cat([ids_nt, torch.tensor([said])], dim=1)

    monkeypatch.setattr(model.module, "generate", generate)
    answer = answer_prompts(model, render(model, "Hi"), max_new_tokens=len(said), **LIMITS)[0]
    assert (answer.text, answer.finished) == (" Fine.", True)
    assert answer.n_tokens < len(said)


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
