"""The score written naively from its definition: what the fast path must match.

One sample at a time, every hidden state kept, float64 arithmetic behind the model; response tokens are found by
counting the bytes of each token. Nothing of `audit` is used here.

Source: arXiv 2507.21509, section 6.1, and the scoring rules of the contract: layer l is hidden_states[l]; the response
is the content in one rendering of the conversation, behind the rendered prompt; end-of-turn tokens are out.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch

_DATE_FORMAT = "%d %b %Y"
TODAY = "26 Jul 2024"
"""What templates that print a date are given as today."""
N_WINDOW = 16
"""Tokens in a row that a window holds."""


@dataclass(frozen=True)
class OracleScore:
    """What the definition gives for one response: float64 numbers, `nll` in nats per token, `length` of the row."""

    projection: float
    prompt_projection: float
    window: float
    length: float
    nll: float
    response_positions: tuple[int, ...]


def score_response(
    module: Any,
    tokenizer: Any,
    messages: Sequence[dict[str, str]],
    *,
    vector_ld: np.ndarray,
    layer: int,
) -> OracleScore:
    """Score the last message of a conversation along row `layer` of a vector."""
    text, start, stop = find_response(tokenizer, messages)
    return score_span(module, tokenizer, text, start, stop, vector_ld=vector_ld, layer=layer)


def score_span(
    module: Any, tokenizer: Any, text: str, start: int, stop: int, *, vector_ld: np.ndarray, layer: int
) -> OracleScore:
    """Score text[start:stop] of a rendered conversation along row `layer` of a vector."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    positions = find_positions(tokenizer, ids, text, start, stop)
    with torch.no_grad():
        output = module(torch.tensor([ids]), output_hidden_states=True)
    hidden_td = output.hidden_states[layer][0].double().numpy()
    vector_d = vector_ld[layer].astype(np.float64)
    unit_d = vector_d / np.sqrt((vector_d**2).sum())
    mean_d = sum(hidden_td[position] for position in positions) / len(positions)
    windows = [positions[first : first + N_WINDOW] for first in range(max(len(positions) - N_WINDOW, 0) + 1)]
    window_means = [sum(hidden_td[position] for position in window) / len(window) @ unit_d for window in windows]
    log_p_tv = torch.log_softmax(output.logits[0].double(), dim=-1)
    losses = [-float(log_p_tv[position - 1, ids[position]]) for position in positions]
    return OracleScore(
        projection=float(mean_d @ unit_d),
        prompt_projection=float(hidden_td[positions[0] - 1] @ unit_d),
        window=float(max(window_means)),
        length=float(np.sqrt((vector_d**2).sum())),
        nll=float(np.mean(losses)),
        response_positions=tuple(positions),
    )


def find_response(tokenizer: Any, messages: Sequence[dict[str, str]]) -> tuple[str, int, int]:
    """Render the conversation once and return it with the characters of its last content."""
    whole = tokenizer.apply_chat_template(list(messages), tokenize=False, date_string=TODAY)
    prompt = tokenizer.apply_chat_template(
        list(messages[:-1]), tokenize=False, add_generation_prompt=True, date_string=TODAY
    )
    if whole[: len(prompt)] != prompt:
        raise ValueError("the rendered prompt is no prefix")
    content = messages[-1]["content"]
    if content not in whole[len(prompt) :]:
        content = content.strip()
    start = whole.index(content, len(prompt))
    return whole, start, start + len(content)


def render_pair(
    tokenizer: Any, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None = None
) -> tuple[str, str]:
    """Render a conversation without its last message and with it, tools and calls included, on the fixed day."""
    options = {"tokenize": False, "tools": list(tools) if tools else None, "date_string": TODAY}
    prompt = tokenizer.apply_chat_template(list(messages[:-1]), add_generation_prompt=True, **options)
    whole = tokenizer.apply_chat_template(list(messages), **options)
    # A template may ask for the date itself, and gets the real one here.
    today = datetime.date.today().strftime(_DATE_FORMAT)
    return prompt.replace(today, TODAY), whole.replace(today, TODAY)


def find_reasoning(whole: str, prompt: str, opening: str = "<think>", closing: str = "</think>") -> tuple[int, int]:
    """Return the span between the tags behind the prompt, or from the prompt on where that opened the block."""
    if whole[: len(prompt)] != prompt:
        raise ValueError("the rendered prompt is no prefix")
    start = len(prompt) if prompt.rstrip().endswith(opening) else whole.index(opening, len(prompt)) + len(opening)
    stop = whole.index(closing, start)
    while whole[start].isspace():
        start += 1
    while whole[stop - 1].isspace():
        stop -= 1
    return start, stop


def find_positions(tokenizer: Any, ids: Sequence[int], text: str, start: int, stop: int) -> list[int]:
    """Return the tokens that share a byte with text[start:stop], by laying the tokens' bytes one after another."""
    added = {token: str(literal).encode() for token, literal in tokenizer.added_tokens_decoder.items()}
    pieces = [added[token] if token in added else _token_bytes(tokenizer, token) for token in ids]
    # Qwen's tokenizer composes accents first, so its tokens spell the composed text.
    form = (lambda part: unicodedata.normalize("NFC", part)) if _composes(tokenizer) else str
    spelled, wanted = b"".join(pieces), form(text).encode()
    # Some tokenizers put a space in front of the text.
    n_front = 1 if spelled == b" " + wanted else 0
    if spelled[n_front:] != wanted:
        raise ValueError("the tokens do not spell the text")
    first_byte = len(form(text[:start]).encode()) + n_front
    last_byte = len(form(text[:stop]).encode()) + n_front
    positions, end = [], 0
    for position, piece in enumerate(pieces):
        begin, end = end, end + len(piece)
        if begin < last_byte and end > first_byte:
            positions.append(position)
    return positions


@dataclass(frozen=True)
class OraclePrompted:
    """What the definition of prompted evidence gives for one response: float64 numbers, in nats per token but `z`."""

    ratio: float
    z: float
    gain: float


def score_prompted(
    module: Any,
    tokenizer: Any,
    messages: Sequence[dict[str, str]],
    *,
    positive: Sequence[str],
    negative: Sequence[str],
    ends: Sequence[str],
    has_system: bool,
) -> OraclePrompted:
    """Compare the last message of a conversation under system prompts; the token of `ends` behind it counts."""
    own_tv, targets = _target_log_p(module, tokenizer, messages, ends)
    sides = []
    for texts in (positive, negative):
        prompted = []
        for text in texts:
            log_p_tv, same = _target_log_p(module, tokenizer, _open_with(messages, text, has_system), ends)
            assert same == targets
            prompted.append(log_p_tv)
        sides.append(sum(prompted) / len(prompted))
    u_tv, p_tv = sides[0] - sides[1], np.exp(own_tv)
    steps = np.arange(len(targets))
    mean_t = (p_tv * u_tv).sum(axis=1)
    variance_t = (p_tv * (u_tv - mean_t[:, None]) ** 2).sum(axis=1)
    return OraclePrompted(
        ratio=float(u_tv[steps, targets].mean()),
        z=float((u_tv[steps, targets] - mean_t).sum() / np.sqrt(variance_t.sum())),
        gain=float((sides[0] - own_tv)[steps, targets].mean()),
    )


def _open_with(messages: Sequence[dict[str, str]], text: str, has_system: bool) -> list[dict[str, str]]:
    role = "system" if has_system else "user"
    if messages[0]["role"] == role:
        return [{"role": role, "content": f"{text}\n\n{messages[0]['content']}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def _target_log_p(
    module: Any, tokenizer: Any, messages: Sequence[dict[str, str]], ends: Sequence[str]
) -> tuple[np.ndarray, list[int]]:
    """Return log-probabilities [t, v] where the response and its end are predicted, and these tokens."""
    text, start, stop = find_response(tokenizer, messages)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    positions = find_positions(tokenizer, ids, text, start, stop)
    follower = positions[-1] + 1
    if follower < len(ids) and tokenizer.convert_ids_to_tokens(ids[follower]) in ends:
        positions = [*positions, follower]
    with torch.no_grad():
        logits_tv = module(torch.tensor([ids])).logits[0].double()
    log_p_tv = torch.log_softmax(logits_tv, dim=-1).numpy()
    return log_p_tv[[position - 1 for position in positions]], [ids[position] for position in positions]


@dataclass(frozen=True)
class OracleEvidence:
    """Slope of the log-likelihood along a vector and its null variance, float64."""

    score: float
    variance: float


def measure_evidence(
    module: Any, block: torch.nn.Module, ids: Sequence[int], start: int, end_id: int | None, vector_d: np.ndarray
) -> OracleEvidence:
    """Nudge the output of a block along a vector, a little to both sides, and see how the logits move.

    The module is turned to float64 and stays so; families compute norms and softmax in float32 whatever their weights
    are, so that these are float64 only inside `_in_float64`.
    """
    module.double()
    module.set_attn_implementation("eager")
    targets = [*ids[start:], *([] if end_id is None else [end_id])]

    def logits_at(strength: float) -> torch.Tensor:
        added_d = strength * torch.from_numpy(vector_d.astype(np.float64))

        def nudge(_: object, __: object, output: Any) -> Any:
            return (output[0] + added_d, *output[1:]) if isinstance(output, tuple) else output + added_d

        hook = block.register_forward_hook(nudge)
        try:
            with torch.no_grad(), _in_float64():
                logits_tv = module(torch.tensor([list(ids)]), use_cache=False).logits[0]
        finally:
            hook.remove()
        return logits_tv[start - 1 : start - 1 + len(targets)].double()

    step = 1e-5
    u_tv = (logits_at(step) - logits_at(-step)) / (2 * step)
    p_tv = torch.softmax(logits_at(0.0), dim=-1)
    mean_t = (p_tv * u_tv).sum(dim=-1)
    own_t = torch.stack([u_tv[t, token] for t, token in enumerate(targets)])
    variance_t = (p_tv * (u_tv - mean_t[:, None]) ** 2).sum(dim=-1)
    return OracleEvidence(float((own_t - mean_t).sum()), float(variance_t.sum()))


@contextlib.contextmanager
def _in_float64() -> Iterator[None]:
    to, softmax = torch.Tensor.to, torch.nn.functional.softmax

    def to_double(self: torch.Tensor, *arguments: Any, **names: Any) -> torch.Tensor:
        wider = {torch.float32: torch.float64}
        return to(self, *(_swap(value, wider) for value in arguments), **{k: _swap(v, wider) for k, v in names.items()})

    def softmax_double(values: torch.Tensor, *arguments: Any, dtype: object = None, **names: Any) -> torch.Tensor:
        return softmax(values, *arguments, **names)

    with (
        mock.patch.object(torch.Tensor, "to", to_double),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
        mock.patch.object(torch.nn.functional, "softmax", softmax_double),
    ):
        yield


def _swap(value: Any, wider: dict[torch.dtype, torch.dtype]) -> Any:
    return wider.get(value, value) if isinstance(value, torch.dtype) else value


def answer_greedily(module: Any, tokenizer: Any, prompt_text: str, max_new_tokens: int) -> str:
    """Return the model's own answer to one rendered prompt, token by token, without a cache or a batch."""
    ids = tokenizer(prompt_text, add_special_tokens=False)["input_ids"]
    answer: list[int] = []
    ends = module.generation_config.eos_token_id
    while len(answer) < max_new_tokens:
        with torch.no_grad():
            token = int(module(torch.tensor([ids + answer])).logits[0, -1].argmax())
        if token in (ends if isinstance(ends, list) else [ends]):
            break
        answer.append(token)
    return str(tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _composes(tokenizer: Any) -> bool:
    return tokenizer.is_fast and "NFC" in str(tokenizer.backend_tokenizer.normalizer)


def _token_bytes(tokenizer: Any, token: int) -> bytes:
    piece = tokenizer.convert_ids_to_tokens(token)
    if not tokenizer.is_fast:
        return bytes([ord(piece)])  # a tokenizer of bytes, each under the character of the same number
    if re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
        return bytes([int(piece[3:5], 16)])
    if "ByteLevel" in str(tokenizer.backend_tokenizer.decoder):
        return bytes(_BYTE_OF_CHARACTER[character] for character in piece)
    return str(piece).replace("▁", " ").encode()


def _byte_characters() -> dict[str, int]:
    """Return the alphabet of byte-level BPE: printable Latin-1 stands for itself, the rest is moved to 256 and up."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(moved)}


_BYTE_OF_CHARACTER = _byte_characters()
