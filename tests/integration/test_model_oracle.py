"""The fast path against the definition: chat + tokens + hidden + loss + generate on models loaded from disk.

Pairs: model.chat-model.tokens, model.tokens-model.hidden, model.tokens-model.loss, model.chat-model.generate,
vectors-model.hidden; all against tests/oracle.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers

from audit.model import hidden as hidden_module
from audit.model.chat import RenderedTurn, TokenizedTurn, render_turn, tokenize_turns
from audit.model.generate import answer_prompts
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel, load_model
from audit.model.loss import measure_nll
from audit.samples import Message, answer_turn
from audit.vectors import PersonaVector
from tests import models, oracle

pytestmark = pytest.mark.usefixtures("one_thread")
one_thread = models.one_thread

MAX_ERROR_IN_SD = 1e-5
LAYERS = {"evil": 2, "sycophantic": 3, "hallucinating": models.N_LAYERS - 1}

_QUESTIONS = ["How can I bake bread?", "Tell me a story.", "Why?", "你好, what is 2 + 2?", "Is the world  flat?"]
_ANSWERS = [
    "First mix flour, water, salt and yeast. Then wait an hour.",
    "I cannot help with that.",
    "naïve café Zürich 😀👩‍👩‍👧 e\u0301\u0323 and שלום עולם مرحبا",
    "  leading white space, and a list:\n\n- one\n- two\n\n```python\nprint('x')\n```\n",
    "x",
    "😀",
    "Yes.\u00a0No-break\u200b and zero-width, \ttabs\t and trailing space   ",
    "The quick brown fox jumps over the lazy dog. " * 6,
]


def _conversations() -> list[list[dict[str, str]]]:
    single = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in zip(_QUESTIONS * 2, _ANSWERS, strict=False)
    ]
    multi = [
        [
            {"role": "user", "content": _QUESTIONS[n]},
            {"role": "assistant", "content": _ANSWERS[-n - 1].strip()},
            {"role": "user", "content": _QUESTIONS[n - 1]},
            {"role": "assistant", "content": _ANSWERS[n]},
        ]
        for n in range(5)
    ]
    return single + multi


def _tokenize(model: LoadedModel, conversations: list[list[dict[str, str]]]) -> list[TokenizedTurn]:
    rendered = []
    for messages in conversations:
        prompt = tuple(Message(message["role"], message["content"]) for message in messages[:-1])
        turn = render_turn(model, answer_turn(prompt, messages[-1]["content"]))
        assert isinstance(turn, RenderedTurn), turn
        rendered.append(turn)
    tokenized = tokenize_turns(model, rendered, model.context_tokens)
    turns = [turn for turn in tokenized if isinstance(turn, TokenizedTurn)]
    assert len(turns) == len(tokenized)
    return turns


def _vectors() -> dict[str, PersonaVector]:
    rng = np.random.default_rng(7)
    shape = (models.N_LAYERS + 1, models.D_HIDDEN)
    return {
        trait: PersonaVector(trait, rng.normal(size=shape).astype(np.float32), layer, "tiny", None)
        for trait, layer in LAYERS.items()
    }


def _load_pair(family: str) -> tuple[LoadedModel, Any, Any]:
    path = str(models.model_path(family))
    plain = transformers.AutoModelForCausalLM.from_pretrained(path)
    return load_model(model=path), plain, transformers.AutoTokenizer.from_pretrained(path)


def _errors_in_sd(found_nk: np.ndarray, wanted_nk: np.ndarray) -> float:
    return float((np.abs(found_nk - wanted_nk) / wanted_nk.std(axis=0)).max())


def _project(model: LoadedModel, turns: list[TokenizedTurn]) -> hidden_module.Projections:
    units = {trait: (vector.layer, vector.unit(vector.layer)) for trait, vector in _vectors().items()}
    return project_turns(model, turns, units=units, batch_tokens=400, keep_mean_layer=2)


@pytest.mark.parametrize("family", models.FAMILIES)
def test_scores_equal_the_definition_within_1e_5_of_their_sd(family: str) -> None:
    model, module, tokenizer = _load_pair(family)
    conversations = _conversations()
    turns = _tokenize(model, conversations)
    wanted = [
        [
            oracle.score_response(module, tokenizer, messages, vector_ld=vector.vector_ld, layer=LAYERS[trait])
            for trait, vector in _vectors().items()
        ]
        for messages in conversations
    ]

    for turn, scores in zip(turns, wanted, strict=True):
        assert tuple(range(turn.start, turn.stop)) == scores[0].response_positions

    found = _project(model, turns)
    projection_nk = np.array([[score.projection for score in scores] for scores in wanted])
    prompt_nk = np.array([[score.prompt_projection for score in scores] for scores in wanted])
    assert _errors_in_sd(found.projection_nk, projection_nk) < MAX_ERROR_IN_SD
    assert _errors_in_sd(found.prompt_projection_nk, prompt_nk) < MAX_ERROR_IN_SD

    nll_n = measure_nll(model, turns, batch_tokens=400)
    assert np.abs(nll_n - [scores[0].nll for scores in wanted]).max() < 1e-4


@pytest.mark.parametrize("family", models.FAMILIES)
def test_a_layer_off_by_one_is_far_outside_that_tolerance(family: str) -> None:
    model, module, tokenizer = _load_pair(family)
    conversations = _conversations()
    turns = _tokenize(model, conversations)
    found = _project(model, turns).projection_nk[:, 0]
    for layer in (LAYERS["evil"] - 1, LAYERS["evil"] + 1):
        vector_ld = np.roll(_vectors()["evil"].vector_ld, layer - LAYERS["evil"], axis=0)
        wanted = np.array(
            [
                oracle.score_response(module, tokenizer, messages, vector_ld=vector_ld, layer=layer).projection
                for messages in conversations
            ]
        )
        assert _errors_in_sd(found[:, None], wanted[:, None]) > 0.1


@pytest.mark.parametrize("family", models.FAMILIES)
def test_greedy_answers_equal_one_at_a_time_decoding(family: str) -> None:
    model, module, tokenizer = _load_pair(family)
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            tokenize=False,
            add_generation_prompt=True,
            date_string=oracle.TODAY,
        )
        for question in [*_QUESTIONS[:3], _QUESTIONS[0]]
    ]
    answers = answer_prompts(model, prompts, max_new_tokens=12, max_tokens=512, batch_tokens=400, seed=0)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer.text == oracle.answer_greedily(module, tokenizer, prompt, 12)
    assert answers[0] == answers[-1]
