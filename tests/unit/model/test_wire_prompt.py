"""What a server is sent gives the tokens that the model would see here."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from audit.model.load import LoadedModel, load_model
from audit.model.wiring import wire_prompt, wire_stops
from audit.samples.sample import Message
from tests import models


def load(family: str, *, added: str | None = None) -> LoadedModel:
    """Load a model whose tokenizer puts `added` before every text, as those of many models do."""
    model = load_model(model=str(models.model_path(family)))
    if added:
        token = model.tokenizer.convert_tokens_to_ids(added)
        model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{added} $A", special_tokens=[(added, token)]
        )
    return model


@pytest.mark.parametrize(
    ("family", "added", "is_cut", "options"),
    [
        ("llama", None, False, {}),
        ("qwen2", None, False, {}),
        # The server adds the beginning of text that the template has written already.
        ("llama", "<|begin_of_text|>", True, {}),
        ("gemma3", "<bos>", True, {}),
        # Nothing of the prompt can be left out for it.
        ("qwen2", "<|endoftext|>", False, {"add_special_tokens": False}),
    ],
)
def test_a_server_sees_the_same_tokens(family: str, added: str | None, is_cut: bool, options: dict[str, Any]) -> None:
    model = load(family, added=added)
    prompt = model.template.render([Message("user", "How do I bake bread?")], is_prompt=True)
    text, n_tokens, found = wire_prompt(model, prompt, 500)
    wanted = model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    seen = model.tokenizer(text, add_special_tokens=found.get("add_special_tokens", True))["input_ids"]
    assert (seen, n_tokens, found) == (wanted, len(wanted), options)
    assert (text != prompt) == is_cut


def test_a_server_is_told_what_ends_an_answer() -> None:
    llama = load("llama")
    assert wire_stops(llama) == {"stop": ["<|eot_id|>"]}
    other = dataclasses.replace(llama, stop_ids=(*llama.stop_ids, 0))
    assert set(wire_stops(other)["stop_token_ids"]) == set(other.stop_ids)
    assert len(wire_stops(dataclasses.replace(llama, stop_ids=tuple(range(4, 20))))["stop"]) == 4
    assert "\n\nUser:" in wire_stops(load("gpt2"))["stop"]
