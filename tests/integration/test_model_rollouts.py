"""What extraction asks of a model, against the definition: drawn answers, steering, activations of every layer.

Pairs: model.generate-model.choosing, model.generate-model.steer, model.passes-model.activations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from audit.errors import ModelError, VectorError
from audit.model.activations import read_activations
from audit.model.chat import RenderedTurn, TokenizedTurn, render_turn, tokenize_turns
from audit.model.generate import answer_prompts, sample_answers
from audit.model.load import LoadedModel, load_model
from audit.model.pool import Pool
from audit.samples import Message, answer_turn
from tests import models

pytestmark = pytest.mark.usefixtures("one_thread")
one_thread = models.one_thread

PROMPTS = [f"Tell me {'more ' * n}about bread." for n in range(12)]
LIMITS: dict[str, Any] = {"max_new_tokens": 12, "max_tokens": 200, "batch_tokens": 400}


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(model=str(models.model_path("llama")))


def sample(model: LoadedModel, prompts: list[str], **changes: Any) -> list[str]:
    options: dict[str, Any] = {"seeds": [[7, n] for n in range(len(prompts))], "temperature": 1.0, **LIMITS, **changes}
    return [answer.text for answer in sample_answers(model, prompts, **options)]


def test_a_drawn_answer_depends_on_its_own_seed_and_not_on_its_neighbours(model: LoadedModel) -> None:
    together = sample(model, PROMPTS)
    for n, prompt in enumerate(PROMPTS):
        assert sample(model, [prompt], seeds=[[7, n]]) == [together[n]]
    assert sample(model, PROMPTS, way="rounds") == together
    assert sample(model, PROMPTS, batch_tokens=60) == together
    assert len(set(sample(model, PROMPTS[:1] * 8))) > 1


def test_hardly_any_temperature_is_greedy(model: LoadedModel) -> None:
    greedy = [answer.text for answer in answer_prompts(model, PROMPTS, seed=0, **LIMITS)]
    assert sample(model, PROMPTS, temperature=1e-4) == greedy


@pytest.mark.parametrize("way", ["cached_batches", "rounds"])
def test_tokens_are_drawn_as_often_as_their_probability_says(model: LoadedModel, way: str) -> None:
    n = 3_000
    answers = sample_answers(
        model,
        PROMPTS[:1] * n,
        seeds=[[n] for n in range(n)],
        temperature=0.7,
        max_new_tokens=1,
        max_tokens=200,
        batch_tokens=4_000,
        way=way,
    )
    ids = model.tokenizer(PROMPTS[0], return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        share_v = torch.softmax(model.module(ids).logits[0, -1].double() / 0.7, dim=0)
    wanted: dict[str, float] = {}
    for token, share in enumerate(share_v.tolist()):
        text = "" if token in model.stop_ids else model.tokenizer.decode([token], skip_special_tokens=True)
        wanted[text] = wanted.get(text, 0.0) + share
    found = {text: sum(answer.text == text for answer in answers) / n for text in wanted}
    assert sum(found.values()) == pytest.approx(1.0)
    for text, share in wanted.items():
        assert abs(found[text] - share) < 5 * np.sqrt(share * (1 - share) / n) + 1e-9, text


def naive_steered(module: Any, tokenizer: Any, prompt: str, layer: int, addition_d: np.ndarray, n: int) -> list[int]:
    """Greedy tokens, the whole sequence run anew for every one, with the vector on every token from the prompt's last.

    A causal model gives earlier tokens the states that they had when they were last.
    """
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    first = len(ids) - 1

    def add(_: object, __: object, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        states = states.clone()
        states[:, first:] += torch.from_numpy(addition_d)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    hook = module.model.layers[layer - 1].register_forward_hook(add)
    try:
        for _ in range(n):
            with torch.no_grad():
                ids = [*ids, int(module(torch.tensor([ids])).logits[0, -1].argmax())]
    finally:
        hook.remove()
    return ids[first + 1 :]


@pytest.mark.parametrize("way", ["cached_batches", "rounds"])
def test_steering_adds_its_own_vector_to_every_row_at_every_token_that_is_chosen_from(
    model: LoadedModel, way: str
) -> None:
    path = str(models.model_path("llama"))
    module = transformers.AutoModelForCausalLM.from_pretrained(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    draw = np.random.default_rng(1)
    additions: list[dict[int, np.ndarray]] = [
        {1 + n % 3: draw.normal(size=models.D_HIDDEN).astype(np.float32) * 4} if n % 4 else {}
        for n in range(len(PROMPTS))
    ]
    plain = sample(model, PROMPTS, temperature=1e-4)
    found = sample(model, PROMPTS, temperature=1e-4, additions=additions, way=way)
    for n, (prompt, text) in enumerate(zip(PROMPTS, found, strict=True)):
        assert additions[n] or text == plain[n]
        layer, addition_d = next(iter(additions[n].items()), (1, np.zeros(models.D_HIDDEN, dtype=np.float32)))
        ids = naive_steered(module, tokenizer, prompt, layer, addition_d, LIMITS["max_new_tokens"])
        stops = [place for place, token in enumerate(ids) if token in model.stop_ids]
        ids = ids[: stops[0]] if stops else ids
        assert tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == text
    assert found != plain


def test_no_vector_stays_on_a_model(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = sample(model, PROMPTS)
    addition_d = np.full(models.D_HIDDEN, 9.0, dtype=np.float32)
    additions = [{1: addition_d, 3: addition_d}] * len(PROMPTS)

    def interrupt(self: Pool) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Pool, "step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sample(model, PROMPTS, additions=additions)
    assert not any(block._forward_hooks for block in model.blocks)
    assert sample(model, PROMPTS, additions=additions) != plain
    assert not any(block._forward_hooks for block in model.blocks)
    assert sample(model, PROMPTS) == plain
    for layer, wrong_d in ((models.N_LAYERS + 1, addition_d), (1, addition_d[:-1])):
        with pytest.raises(VectorError):
            sample(model, PROMPTS[:1], additions=[{layer: wrong_d}])


def tokenize(model: LoadedModel, *, has_system: bool) -> list[TokenizedTurn]:
    turns = []
    for n, prompt in enumerate(PROMPTS):
        messages = (Message("system", "You are kind."),) if n % 2 and has_system else ()
        turn = render_turn(model, answer_turn((*messages, Message("user", prompt)), "First mix flour. " * (n + 1)))
        assert isinstance(turn, RenderedTurn)
        turns.append(turn)
    tokenized = [turn for turn in tokenize_turns(model, turns, 400) if isinstance(turn, TokenizedTurn)]
    assert len(tokenized) == len(PROMPTS)
    return tokenized


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "gpt2"])
@pytest.mark.parametrize("batch_tokens", [40, 1_000])
def test_activations_are_the_means_of_all_hidden_states(family: str, batch_tokens: int) -> None:
    loaded = load_model(model=str(models.model_path(family)))
    module = transformers.AutoModelForCausalLM.from_pretrained(str(models.model_path(family)))
    if family == "gpt2":
        turns = tokenize_turns(loaded, [_plain_turn(loaded)], 400)
        tokenized = [turn for turn in turns if isinstance(turn, TokenizedTurn)]
    else:
        tokenized = tokenize(loaded, has_system=family != "gemma2")
    found = read_activations(loaded, tokenized, batch_tokens=batch_tokens)
    assert found.response_nld.shape == (len(tokenized), models.N_LAYERS + 1, models.D_HIDDEN)
    for n, turn in enumerate(tokenized):
        with torch.no_grad():
            states = module(torch.from_numpy(turn.ids.astype(np.int64))[None], output_hidden_states=True).hidden_states
        wanted_ltd = np.stack([state[0].double().numpy() for state in states])
        scale = wanted_ltd.std()
        for values, part in (
            (found.response_nld, wanted_ltd[:, turn.start :].mean(axis=1)),
            (found.prompt_nld, wanted_ltd[:, : turn.start].mean(axis=1)),
            (found.last_prompt_nld, wanted_ltd[:, turn.start - 1]),
        ):
            np.testing.assert_allclose(values[n], part, atol=1e-5 * scale)


def _plain_turn(model: LoadedModel) -> RenderedTurn:
    turn = render_turn(model, answer_turn((Message("user", "Why?"),), "Because it is so."))
    assert isinstance(turn, RenderedTurn)
    return turn


def test_a_model_without_its_upper_blocks_gives_no_activations() -> None:
    part = load_model(model=str(models.model_path("llama")), n_blocks=2)
    with pytest.raises(ModelError):
        read_activations(part, [], batch_tokens=100)
