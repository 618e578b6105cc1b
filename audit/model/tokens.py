"""Turn rendered conversations into token ids, and the response's characters into a span of tokens.

One tokenization of the whole text; a token that overlaps the response counts. Texts far longer than the model's
context are cut before they are tokenised. Knows no template: special tokens are already in the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.model.load import LoadedModel
from audit.model.turns import RenderedTurn, TokenizedTurn, UnscoredTurn

_FIRST_CHARACTERS_PER_TOKEN = 16
"""First guess at what a token holds at most; where it is too low the text is tokenised again, four times longer."""
_SPARE_TOKENS = 64
"""Tokens near a cut may differ from those of the whole text; so many behind the last one needed are thrown away."""
_CHUNK_CHARACTERS = 4_000_000

_Offsets = npt.NDArray[np.int64]


def tokenize_turns(
    model: LoadedModel, rendered: Sequence[RenderedTurn], max_tokens: int
) -> list[TokenizedTurn | UnscoredTurn]:
    """Tokenise turns, in order; a response is cut at its end so that prompt and response fit into `max_tokens`.

    A turn without a response token that fits is an `UnscoredTurn` with status `prompt_too_long`.
    """
    results: list[TokenizedTurn | UnscoredTurn] = []
    if not model.tokenizer.is_fast:
        return [_tokenize_by_prefix(model, turn, max_tokens) for turn in rendered]
    for chunk in _chunk_turns(rendered, max_tokens):
        heads = [cut_text(turn.text, max_tokens, _FIRST_CHARACTERS_PER_TOKEN) for turn in chunk]
        encoded = model.tokenizer(
            heads, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
        )
        for turn, head, ids, offsets in zip(chunk, heads, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            if len(head) < len(turn.text) and len(ids) < max_tokens + _SPARE_TOKENS:
                _, longer = _encode_head(model.tokenizer, turn.text, max_tokens, return_offsets_mapping=True)
                ids, offsets = longer["input_ids"], longer["offset_mapping"]
            results.append(_cut_span(model, turn, ids, offsets, max_tokens))
    return results


def encode_prompts(model: LoadedModel, prompts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the token ids of rendered prompts; of one longer than `max_tokens`, at least that many."""
    encodings = [_encode_head(model.tokenizer, prompt, max_tokens)[1] for prompt in prompts]
    return [[int(token) for token in encoding["input_ids"]] for encoding in encodings]


def cut_text(text: str, max_tokens: int, characters_per_token: int) -> str:
    """Return the start of `text` that may hold `max_tokens` tokens and some more, cut before white space if it can."""
    limit = (max_tokens + _SPARE_TOKENS) * characters_per_token
    if len(text) <= limit:
        return text
    gaps = [match.start() for match in re.finditer(r"(?<=\S)\s", text[limit - characters_per_token : limit])]
    return text[: limit - characters_per_token + gaps[-1]] if gaps else text[:limit]


def _chunk_turns(rendered: Sequence[RenderedTurn], max_tokens: int) -> list[list[RenderedTurn]]:
    """Group turns so that one call of the tokenizer holds a bounded amount of text."""
    longest = (max_tokens + _SPARE_TOKENS) * _FIRST_CHARACTERS_PER_TOKEN
    chunks: list[list[RenderedTurn]] = []
    n_characters = _CHUNK_CHARACTERS
    for turn in rendered:
        length = min(len(turn.text), longest)
        if n_characters + length > _CHUNK_CHARACTERS:
            chunks.append([])
            n_characters = 0
        chunks[-1].append(turn)
        n_characters += length
    return chunks


def _encode_head(tokenizer: Any, text: str, max_tokens: int, **options: bool) -> tuple[str, Any]:
    """Return the start of `text`, of more than `max_tokens` tokens if it has so many, and its encoding."""
    per_token = _FIRST_CHARACTERS_PER_TOKEN
    while True:
        head = cut_text(text, max_tokens, per_token)
        encoding = tokenizer(head, add_special_tokens=False, verbose=False, **options)
        if len(head) == len(text) or len(encoding["input_ids"]) >= max_tokens + _SPARE_TOKENS:
            return head, encoding
        per_token *= 4


def _cut_span(
    model: LoadedModel, turn: RenderedTurn, ids: list[int], offsets: list[tuple[int, int]], max_tokens: int
) -> TokenizedTurn | UnscoredTurn:
    tokenizer = model.tokenizer
    offsets_t2 = _claim_white_space(np.asarray(offsets, dtype=np.int64).reshape(-1, 2))
    overlapping = np.flatnonzero((offsets_t2[:, 0] < turn.stop) & (offsets_t2[:, 1] > turn.start))
    # The text was cut in the prompt: everything that fits into max_tokens is prompt.
    if not overlapping.size:
        if len(ids) > max_tokens:
            return _too_long(max_tokens)
        return UnscoredTurn("empty_response", "no token of the response is left after tokenisation")
    first, last = int(overlapping[0]), int(overlapping[-1])
    # An added token may swallow the white space beside it; it is scaffold all the same.
    if first < last and _is_added_before(tokenizer, turn, ids[first], int(offsets_t2[first, 0])):
        first += 1
    if first < last and _is_added_behind(tokenizer, turn, ids[last], int(offsets_t2[last, 1])):
        last -= 1
    return _fit_span(model, ids, first, last + 1, max_tokens)


def _fit_span(
    model: LoadedModel, ids: list[int], start: int, stop: int, max_tokens: int
) -> TokenizedTurn | UnscoredTurn:
    if start >= max_tokens:
        return _too_long(max_tokens)
    cut = min(stop, max_tokens)
    follower = ids[stop] if cut == stop < len(ids) else None
    end_id = follower if follower in model.stop_ids else None
    return TokenizedTurn(np.asarray(ids[:cut], dtype=np.int32), start, cut, start, truncated=cut < stop, end_id=end_id)


def _too_long(max_tokens: int) -> UnscoredTurn:
    return UnscoredTurn("prompt_too_long", f"the prompt leaves no room for a response in {max_tokens} tokens")


def _claim_white_space(offsets_t2: _Offsets) -> _Offsets:
    """Give tokens with an empty span the text since the last token.

    Tokenizers that trim offsets report a token of white space alone as empty, at its end.
    """
    for token in np.flatnonzero(offsets_t2[:, 0] == offsets_t2[:, 1]):
        before = int(offsets_t2[token - 1, 1]) if token else 0
        offsets_t2[token, 0] = min(before, int(offsets_t2[token, 1]))
    return offsets_t2


def _is_added_before(tokenizer: Any, turn: RenderedTurn, token: int, begin: int) -> bool:
    # Looking up added tokens is slow, and most responses begin with a token of their own.
    if begin >= turn.start or token not in tokenizer.added_tokens_decoder:
        return False
    literal = str(tokenizer.added_tokens_decoder[token])
    return turn.text.startswith(literal, begin) and begin + len(literal) <= turn.start


def _is_added_behind(tokenizer: Any, turn: RenderedTurn, token: int, end: int) -> bool:
    if end <= turn.stop or token not in tokenizer.added_tokens_decoder:
        return False
    literal = str(tokenizer.added_tokens_decoder[token])
    return turn.text.endswith(literal, 0, end) and end - len(literal) >= turn.stop


def _tokenize_by_prefix(model: LoadedModel, turn: RenderedTurn, max_tokens: int) -> TokenizedTurn | UnscoredTurn:
    """Find the span of a tokenizer without offsets: the text's parts must be token prefixes of the whole."""
    tokenizer = model.tokenizer
    head, encoding = _encode_head(tokenizer, turn.text, max_tokens)
    if len(head) <= turn.start:
        return _too_long(max_tokens)
    whole = encoding["input_ids"]
    before, with_response = (
        tokenizer(head[:stop], add_special_tokens=False, verbose=False)["input_ids"] for stop in (turn.start, turn.stop)
    )
    if whole[: len(before)] != before or whole[: len(with_response)] != with_response:
        return UnscoredTurn(
            "template_mismatch", "the tokenizer gives no offsets, and the response does not end at token borders"
        )
    if len(with_response) == len(before):
        return UnscoredTurn("empty_response", "no token of the response is left after tokenisation")
    return _fit_span(model, whole, len(before), len(with_response), max_tokens)
