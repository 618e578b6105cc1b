"""The demo laboratory's own measurements: responses, mean activations and losses of one model.

Naive on purpose (whole prompts, all hidden states, every answer read in full), so that it stays
independent of the scoring path that it is a check on. Knows only the demo model's chat template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoTokenizer, GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from audit.demo.world import Message

Floats = npt.NDArray[np.float32]

MAX_NEW_TOKENS: Final = 96
_GENERATION_BATCH: Final = 256
_READING_BATCH_TOKENS: Final = 16_384


@dataclass(frozen=True)
class Reading:
    """What one forward pass leaves of n responses.

    Attributes:
        mean_nld: mean residual stream over response tokens, [n, L + 1, d].
        prompt_nld: residual stream at the last token before the response, [n, L + 1, d].
        nll_n: mean loss in nats per response token.
        n_tokens_n: number of response tokens, without the end-of-turn token.
    """

    mean_nld: Floats
    prompt_nld: Floats
    nll_n: Floats
    n_tokens_n: npt.NDArray[np.int64]


def load_demo_model(path: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Load the demo model and its tokenizer from a directory in transformers format."""
    tokenizer = cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(path))
    model = LlamaForCausalLM.from_pretrained(path, dtype=torch.float32)
    model.eval()  # type: ignore[no-untyped-call]
    return model, tokenizer


def encode_prompts(prompts: Sequence[Sequence[Message]], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Render chats up to a generation prompt and encode them."""
    rendered = [
        cast(str, tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))
        for messages in prompts
    ]
    return cast(list[list[int]], tokenizer(rendered, add_special_tokens=False)["input_ids"])


@torch.inference_mode()
def generate_responses(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Sequence[Message]],
    *,
    is_sampled: bool = False,
    seed: int = 0,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[list[int]]:
    """Generate one response for each prompt: greedy, or sampled at temperature 1.

    Returns token ids without the end-of-turn token; one that never ends has `max_new_tokens`.
    """
    torch.manual_seed(seed)
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=is_sampled,
        **({"temperature": 1.0, "top_k": 0, "top_p": 1.0} if is_sampled else {}),
        max_new_tokens=max_new_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoded = encode_prompts(prompts, tokenizer)
    order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
    responses: list[list[int]] = [[] for _ in encoded]
    for start in range(0, len(order), _GENERATION_BATCH):
        indices = order[start : start + _GENERATION_BATCH]
        batch = tokenizer.pad({"input_ids": [encoded[index] for index in indices]}, return_tensors="pt")
        n_prompt = batch["input_ids"].shape[1]
        output = cast(Any, model).generate(
            **batch,
            generation_config=config,
        )
        for index, ids in zip(indices, output[:, n_prompt:].tolist(), strict=True):
            ends = ids.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in ids else len(ids)
            responses[index] = ids[:ends]
    return responses


def decode_responses(tokenizer: PreTrainedTokenizerFast, responses: Sequence[Sequence[int]]) -> list[str]:
    """Return the texts of responses."""
    return [cast(str, tokenizer.decode(list(response))) for response in responses]


@torch.inference_mode()
def read_responses(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Sequence[Message]],
    responses: Sequence[Sequence[int]],
) -> Reading:
    """Read each response after its prompt; an empty response has means and loss NaN."""
    encoded = encode_prompts(prompts, tokenizer)
    n, n_rows, d = len(encoded), model.config.num_hidden_layers + 1, model.config.hidden_size
    mean_nld = np.full((n, n_rows, d), np.nan, dtype=np.float32)
    prompt_nld = np.zeros((n, n_rows, d), dtype=np.float32)
    nll_n = np.full(n, np.nan, dtype=np.float32)
    lengths = [len(p) + len(r) for p, r in zip(encoded, responses, strict=True)]
    order = sorted(range(n), key=lengths.__getitem__)
    start = 0
    while start < n:
        stop = start + 1
        while stop < n and (stop + 1 - start) * lengths[order[stop]] <= _READING_BATCH_TOKENS:
            stop += 1
        indices = order[start:stop]
        start = stop
        n_tokens = max(lengths[index] for index in indices)
        ids_nt = torch.full((len(indices), n_tokens), cast(int, tokenizer.pad_token_id))
        for row, index in enumerate(indices):
            ids = [*encoded[index], *responses[index]]
            ids_nt[row, : len(ids)] = torch.tensor(ids)
        output = model(input_ids=ids_nt, output_hidden_states=True, use_cache=False)
        hidden_nltd = torch.stack(output.hidden_states, dim=1)
        logp_ntv = torch.log_softmax(output.logits, dim=-1)
        for row, index in enumerate(indices):
            first, last = len(encoded[index]), lengths[index]
            prompt_nld[index] = hidden_nltd[row, :, first - 1].numpy()
            if last > first:
                mean_nld[index] = hidden_nltd[row, :, first:last].mean(dim=1).numpy()
                wanted = ids_nt[row, first:last, None]
                nll_n[index] = -logp_ntv[row, first - 1 : last - 1].gather(1, wanted).mean()
    return Reading(
        mean_nld=mean_nld,
        prompt_nld=prompt_nld,
        nll_n=nll_n,
        n_tokens_n=np.array([len(response) for response in responses], dtype=np.int64),
    )
