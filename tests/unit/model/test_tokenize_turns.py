from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import numpy as np
import pytest
import transformers
from tokenizers import AddedToken, processors

from audit.model.chat import RenderedTurn, TokenizedTurn, UnscoredTurn, render_turn, tokenize_turns
from audit.model.load import LoadedModel, load_model
from audit.model.template import Template
from audit.model.tokens import encode_prompts
from audit.samples import Message, answer_turn
from tests import models, oracle

PROMPT = (Message("user", "How are you?"),)
RESPONSES = [
    "Fine.",
    "😀",
    "👩‍👩‍👧 family",
    "tail 😀",
    "e\u0301\u0323 combining",
    "שלום עולם مرحبا",
    "你好，世界",
    "\u200bzero width\u200b",
    "x" * 200,
    "a\n\n\n- b\n\n\tc",
    "<|im_end|> as text",
]


@functools.cache
def load(family: str) -> LoadedModel:
    return load_model(model=str(models.model_path(family)))


def tokenize(model: LoadedModel, response: str, max_tokens: int = 512, prompt: Any = PROMPT) -> Any:
    turn = render_turn(model, answer_turn(prompt, response))
    assert isinstance(turn, RenderedTurn), turn
    return tokenize_turns(model, [turn], max_tokens)[0]


def spelled(model: LoadedModel, tokens: TokenizedTurn) -> str:
    return str(model.tokenizer.decode(tokens.ids[tokens.start : tokens.stop], clean_up_tokenization_spaces=False))


@pytest.mark.parametrize("family", [*models.FAMILIES, "gpt2"])
def test_every_token_that_shares_a_byte_with_the_response_counts(family: str) -> None:
    model = load(family)
    turns = [render_turn(model, answer_turn(PROMPT, response)) for response in RESPONSES]
    rendered = [turn for turn in turns if isinstance(turn, RenderedTurn)]
    assert len(rendered) == len(RESPONSES)
    for turn, tokens in zip(rendered, tokenize_turns(model, rendered, 512), strict=True):
        assert isinstance(tokens, TokenizedTurn)
        ids = model.tokenizer(turn.text, add_special_tokens=False)["input_ids"]
        positions = oracle.find_positions(model.tokenizer, ids, turn.text, turn.start, turn.stop)
        assert list(range(tokens.start, tokens.stop)) == positions
        assert list(tokens.ids) == ids[: tokens.stop]
        assert (tokens.n_prompt_tokens, tokens.truncated) == (tokens.start, False)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3", "mistral"])
def test_there_is_one_bos_token(family: str) -> None:
    tokens = tokenize(load(family), "Fine.")
    assert list(tokens.ids).count(load(family).tokenizer.bos_token_id) == 1


def test_the_plain_template_writes_bos_once_where_the_tokenizer_adds_one() -> None:
    model = load("gpt2")
    tokens = tokenize(model, "Fine.")
    assert spelled(model, tokens) == " Fine."
    assert model.tokenizer.bos_token_id not in tokens.ids


def test_a_response_is_cut_at_its_end_and_a_prompt_that_leaves_no_room_is_a_status() -> None:
    model = load("qwen2")
    whole = tokenize(model, "x y z " * 20)
    for max_tokens in (whole.start + 1, whole.start + 7, whole.stop - 1):
        cut = tokenize(model, "x y z " * 20, max_tokens)
        assert (cut.start, cut.stop, cut.truncated) == (whole.start, max_tokens, True)
        assert np.array_equal(cut.ids, whole.ids[:max_tokens])
    assert not tokenize(model, "x y z " * 20, whole.stop).truncated
    for max_tokens in (whole.start, 3):
        unscored = tokenize(model, "x y z " * 20, max_tokens)
        assert isinstance(unscored, UnscoredTurn)
        assert unscored.status == "prompt_too_long"
        assert str(max_tokens) in unscored.reason


@pytest.mark.parametrize(
    "response", ["word and more " * 200_000, "a" * 2_000_000, "😀" * 500_000, " x" + " " * 2_000_000 + "x"]
)
def test_a_huge_response_is_cut_before_it_is_tokenised(response: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("qwen2")
    start = time.process_time()
    tokens = tokenize(model, response, 64)
    assert time.process_time() - start < 2.0
    # The head of the text alone gives the same tokens.
    assert np.array_equal(tokens.ids, tokenize(model, response[:5000], 64).ids)
    assert tokens.truncated


def test_a_huge_prompt_is_too_long_without_being_tokenised_whole() -> None:
    start = time.process_time()
    unscored = tokenize(load("qwen2"), "Fine.", 64, (Message("user", "word " * 1_000_000),))
    assert isinstance(unscored, UnscoredTurn)
    assert unscored.status == "prompt_too_long"
    assert time.process_time() - start < 2.0
    assert len(encode_prompts(load("qwen2"), ["word " * 100_000], 64)[0]) >= 64


def test_many_turns_keep_their_order_over_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("llama")
    rendered = [render_turn(model, answer_turn(PROMPT, f"answer {n} " * (n % 7 + 1))) for n in range(50)]
    turns = [turn for turn in rendered if isinstance(turn, RenderedTurn)]
    monkeypatch.setattr("audit.model.tokens._CHUNK_CHARACTERS", 500)
    for turn, tokens in zip(turns, tokenize_turns(model, turns, 512), strict=True):
        assert isinstance(tokens, TokenizedTurn)
        assert spelled(model, tokens) == turn.text[turn.start : turn.stop]


def changed(template: str | None = None) -> tuple[LoadedModel, Any]:
    tokenizer = models.build_tokenizer("qwen2")
    text = template or models.TEMPLATES["qwen2"]
    return dataclasses.replace(load("qwen2"), tokenizer=tokenizer, template=Template("model", text)), tokenizer


@pytest.mark.parametrize("response", ["   \n  Fine   day  ", " x", "x\n"])
def test_white_space_counts_where_a_tokenizer_trims_its_offsets(response: str) -> None:
    model, tokenizer = changed()
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    assert spelled(model, tokenize(model, response)) == response


def test_an_added_token_that_swallows_white_space_is_still_scaffold() -> None:
    model, tokenizer = changed(
        "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    greedy = [
        AddedToken("<|im_start|>", rstrip=True, special=True),
        AddedToken("<|im_end|>", lstrip=True, special=True),
    ]
    tokenizer.add_tokens(greedy, special_tokens=True)
    assert spelled(model, tokenize(model, "   Fine day  ")) == "Fine day"


@pytest.mark.parametrize(("bridge", "spelling"), [("\nFine", "\nFine day"), ("day<", "Fine day<"), ("e", "Fine day")])
def test_a_token_that_bridges_an_edge_of_the_response_counts(bridge: str, spelling: str) -> None:
    model, tokenizer = changed(
        "{% for m in messages %}{{ m.role + ':\n' + m.content + '<' + '/>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
    )
    tokenizer.add_tokens([AddedToken(bridge)])
    assert spelled(model, tokenize(model, "Fine day")) == spelling


def test_a_tokenizer_without_offsets_is_read_by_token_prefixes() -> None:
    tokenizer = transformers.ByT5Tokenizer()
    assert not tokenizer.is_fast
    model = dataclasses.replace(load("qwen2"), tokenizer=tokenizer)
    tokens = tokenize(model, "Fine é 😀")
    assert spelled(model, tokens) == "Fine é 😀"
    assert tokens.n_response_tokens == len("Fine é 😀".encode())
    assert tokenize(model, "Fine", tokens.start).status == "prompt_too_long"
    assert tokenize(model, "Fine " * 50, tokens.start + 8).truncated
    assert tokenize(model, "Fine", 64, (Message("user", "What? " * 50),)).status == "prompt_too_long"


def test_a_huge_text_is_cut_before_a_tokenizer_without_offsets_sees_it() -> None:
    model = dataclasses.replace(load("qwen2"), tokenizer=transformers.ByT5Tokenizer())
    start = time.process_time()
    tokens = tokenize(model, "Fine day. " * 100_000, 200)
    assert (tokens.stop, tokens.truncated) == (200, True)
    assert tokenize(model, "Fine.", 200, (Message("user", "What? " * 200_000),)).status == "prompt_too_long"
    assert time.process_time() - start < 1.0


def test_a_tokenizer_without_offsets_whose_tokens_bridge_an_edge_gives_a_reason() -> None:
    tokenizer = transformers.ByT5Tokenizer()
    # Its own end token takes the white space in front of it along.
    template = Template("model", "{% for m in messages %}{{ m.content + '</s>' }}{% endfor %}")
    unscored = tokenize(dataclasses.replace(load("qwen2"), tokenizer=tokenizer, template=template), "Fine  ")
    assert isinstance(unscored, UnscoredTurn)
    assert (unscored.status, "token borders" in unscored.reason) == ("template_mismatch", True)
