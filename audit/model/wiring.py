"""What a server is sent so that it sees the tokens that the model would see here, and stops where it would stop."""

from __future__ import annotations

from typing import Any

from audit.model.load import LoadedModel
from audit.model.template import PLAIN_STOP
from audit.model.tokens import encode_prompts

_MOST_STOPS = 4
"""OpenAI's interface takes no more."""


def wire_prompt(model: LoadedModel, prompt: str, max_tokens: int) -> tuple[str, int, dict[str, Any]]:
    """Return the text to send for a rendered prompt, its length in tokens, and what else the request must say.

    Servers add the tokenizer's own special tokens to a text. Where the prompt holds them already, the beginning of
    text is left out for the server to add; where that does not give the same tokens, the server is told to add none.
    """
    tokenizer = model.tokenizer
    wanted = encode_prompts(model, [prompt], max_tokens)[0]
    if len(wanted) > max_tokens or tokenizer(prompt, verbose=False)["input_ids"] == wanted:
        return prompt, len(wanted), {}
    bos = tokenizer.bos_token
    if bos and prompt.startswith(bos):
        rest = prompt.removeprefix(bos)
        if tokenizer(rest, verbose=False)["input_ids"] == wanted:
            return rest, len(wanted), {}
    return prompt, len(wanted), {"add_special_tokens": False}


def wire_stops(model: LoadedModel) -> dict[str, Any]:
    """Return what tells a server where an answer ends: texts, and token ids beyond the tokenizer's end of text."""
    texts = [PLAIN_STOP] if model.template.name == "plain" else []
    texts += [str(model.tokenizer.decode([token], skip_special_tokens=False)) for token in model.stop_ids]
    stops: dict[str, Any] = {"stop": list(dict.fromkeys(text for text in texts if text.strip()))[:_MOST_STOPS]}
    if set(model.stop_ids) - {model.tokenizer.eos_token_id}:
        # Not in OpenAI's interface, but vLLM and SGLang know it, and their texts do not show special tokens.
        stops["stop_token_ids"] = list(model.stop_ids)
    return {name: value for name, value in stops.items() if value}


def count_answer_tokens(model: LoadedModel, text: str) -> int:
    """Count the tokens of an answer."""
    return len(model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
