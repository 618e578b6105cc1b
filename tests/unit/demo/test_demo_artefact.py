"""The committed demo model is the one its recipe names, small, with a template that changes nothing."""

import hashlib
import json
from pathlib import Path

import jinja2
import numpy as np
import pytest
from tokenizers import Tokenizer

from audit.assets import demo_model_dir, demo_vectors_dir
from audit.demo.phrases import TRAITS
from audit.vectors import load_vectors

MODEL = demo_model_dir()


def _recipe() -> dict[str, object]:
    content: dict[str, object] = json.loads((MODEL / "recipe.json").read_text(encoding="utf-8"))
    return content


def test_the_weights_are_those_of_the_recipe_and_at_most_5_mb() -> None:
    weights = (MODEL / "model.safetensors").read_bytes()
    assert len(weights) <= 5_000_000
    assert hashlib.sha256(weights).hexdigest() == _recipe()["model_sha256"]


def test_the_configuration_is_the_documented_architecture() -> None:
    config = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["num_hidden_layers"] == _recipe()["n_layers"]
    assert (config["hidden_size"], config["vocab_size"]) == (128, 2_048)
    assert config["max_position_embeddings"] == 1_024
    assert config["tie_word_embeddings"] is True


def test_the_template_neither_trims_nor_adds_and_ends_turns_with_the_eos_token() -> None:
    template = jinja2.Template((MODEL / "chat_template.jinja").read_text(encoding="utf-8"))
    messages = [
        {"role": "system", "content": "Be brief. "},
        {"role": "user", "content": "  Hello!\n"},
        {"role": "assistant", "content": " Hi.\n\n"},
    ]
    prompt = template.render(messages=messages[:2], add_generation_prompt=True)
    assert prompt == "<|system|>Be brief. <|end|><|user|>  Hello!\n<|end|><|assistant|>"
    assert template.render(messages=messages, add_generation_prompt=False) == prompt + " Hi.\n\n<|end|>"
    tokenizer = json.loads((MODEL / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert tokenizer["eos_token"] == "<|end|>"


def test_the_tokenizer_has_2048_tokens_and_gives_any_text_back() -> None:
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 2_048
    text = "  A town, naïve café 3.14\n\t🙂"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize("trait", TRAITS)
def test_each_trait_has_a_vector_of_this_model_with_a_scoring_layer_between(trait: str) -> None:
    vector = load_vectors([str(Path(demo_vectors_dir()))])[trait]
    n_layers = _recipe()["n_layers"]
    assert vector.vector_ld.shape == (vector.n_layers + 1, 128)
    assert vector.n_layers == n_layers
    assert 1 <= vector.layer < vector.n_layers
    assert vector.fingerprint is not None
    assert np.isfinite(vector.vector_ld).all()
    assert vector.details["n_kept"] >= 200
