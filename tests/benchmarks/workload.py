"""The work that scoring is timed on: a random-weight model of a real one's shape, and pairs of y and y′.

Lengths, seed and shape are those of the bars; nothing is downloaded. Words are token ids in digits, so that text and
tokens agree and the tokenizer costs little beside the model. Weights are numbers that bfloat16 holds, as those of
published models are, so that every type runs the same model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

from audit.model.blocks import decoder_blocks
from audit.model.load import LoadedModel
from audit.model.packed import choose_attention
from audit.model.template import PLAIN_TEMPLATE, Template
from audit.model.turns import RenderedTurn
from audit.vectors import Fingerprint

SEED = 0
N_PAIRS = 8
N_VECTORS = 8
MEDIAN_PROMPT, PROMPT_RANGE = 90, (20, 400)
MEDIAN_RESPONSE, MEDIAN_BASELINE, RESPONSE_RANGE = 180, 220, (20, 600)
SPREAD = 0.6
"""SD of the logarithm of a length."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's configuration decides its speed; `layer` is where it is scored."""

    name: str
    d_hidden: int
    d_mlp: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    n_vocab: int
    layer: int
    is_tied: bool

    @property
    def n_block_weights(self) -> int:
        """Weights of the matrices of one block."""
        d_kv = self.d_hidden // self.n_heads * self.n_kv_heads
        return 2 * self.d_hidden * (self.d_hidden + d_kv) + 3 * self.d_hidden * self.d_mlp

    def cut(self) -> Shape:
        """Return the shape of the blocks that are needed."""
        return replace(self, n_layers=self.layer)


QWEN_HALF_B = Shape("Qwen2.5-0.5B", 896, 4864, 24, 14, 2, 151_936, layer=16, is_tied=True)
TINY = Shape("tiny", 64, 128, 4, 4, 2, 512, layer=2, is_tied=True)
QWEN_7B = Shape("Qwen2.5-7B", 3584, 18944, 28, 28, 4, 152_064, layer=20, is_tied=False)


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt in tokens, with the response y and the baseline y′ to it."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    baseline: tuple[int, ...]


def draw_pairs(n_vocab: int, n_pairs: int = N_PAIRS, scale: float = 1.0) -> list[Pair]:
    """Draw pairs with log-normal lengths, times `scale`; the first are the same however many are drawn."""
    generator = np.random.default_rng(SEED)

    def draw(median: int, bounds: tuple[int, int]) -> tuple[int, ...]:
        length = int(scale * np.clip(median * np.exp(SPREAD * generator.standard_normal()), *bounds))
        return tuple(generator.integers(0, n_vocab, length).tolist())

    return [
        Pair(
            draw(MEDIAN_PROMPT, PROMPT_RANGE),
            draw(MEDIAN_RESPONSE, RESPONSE_RANGE),
            draw(MEDIAN_BASELINE, RESPONSE_RANGE),
        )
        for _ in range(n_pairs)
    ]


def write_text(ids: Sequence[int]) -> str:
    """Return the text whose tokens are `ids`."""
    return "".join(f" {token}" for token in ids)


def render_pairs(pairs: Sequence[Pair]) -> tuple[list[RenderedTurn], list[int]]:
    """Return y and y′ of every pair as rendered turns, and the pair that each belongs to."""
    turns, groups = [], []
    for number, pair in enumerate(pairs):
        prompt = write_text(pair.prompt)
        for answer in (pair.response, pair.baseline):
            text = prompt + write_text(answer)
            turns.append(RenderedTurn(text, len(prompt), len(text), prompt))
            groups.append(number)
    return turns, groups


def count_naive_tokens(pairs: Sequence[Pair]) -> int:
    """Count scored tokens with every prompt once for y and once for y′."""
    return sum(2 * len(pair.prompt) + len(pair.response) + len(pair.baseline) for pair in pairs)


def count_flops(pairs: Sequence[Pair], shape: Shape, *, is_naive: bool = False) -> float:
    """Count the operations of the blocks up to the scoring layer, in products and causal attention.

    Prompts are run once for y and y′, as is really done; with `is_naive` once for each.
    """
    flops = 0.0
    for pair in pairs:
        n_prompt, answers = len(pair.prompt), (len(pair.response), len(pair.baseline))
        n_prompts = 2 if is_naive else 1
        n_tokens = n_prompts * n_prompt + sum(answers)
        n_seen = n_prompts * _sum_to(n_prompt) + sum(_sum_to(n_prompt + n) - _sum_to(n_prompt) for n in answers)
        flops += shape.layer * (2.0 * shape.n_block_weights * n_tokens + 4.0 * shape.d_hidden * n_seen)
    return flops


def _sum_to(n: int) -> int:
    return n * (n + 1) // 2


def draw_units(shape: Shape) -> dict[str, tuple[int, NDArray[np.float32]]]:
    """Draw unit vectors at the scoring layer."""
    vectors_kd = np.random.default_rng(SEED + 1).standard_normal((N_VECTORS, shape.d_hidden)).astype(np.float32)
    vectors_kd /= np.linalg.norm(vectors_kd, axis=1, keepdims=True)
    return {f"trait_{number}": (shape.layer, vector_d) for number, vector_d in enumerate(vectors_kd)}


def build_module(shape: Shape, dtype: torch.dtype, device: str = "cpu") -> Any:
    """Build a model with random weights, in evaluation mode and with gradients on, as from_pretrained leaves it."""
    config = transformers.Qwen2Config(
        vocab_size=shape.n_vocab,
        hidden_size=shape.d_hidden,
        intermediate_size=shape.d_mlp,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        max_position_embeddings=32_768,
        tie_word_embeddings=shape.is_tied,
        rope_theta=1_000_000.0,
        eos_token_id=None,
        bos_token_id=None,
    )
    torch.manual_seed(SEED)
    with torch.device(device):
        module = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return module.to(dtype).eval()


def wrap_module(module: Any, stop_ids: tuple[int, ...] = ()) -> LoadedModel:
    """Make of a module what `load_model` would make of it."""
    device = module.get_input_embeddings().weight.device
    config = module.config
    return LoadedModel(
        module=module,
        tokenizer=build_tokenizer(config.vocab_size),
        id="random weights",
        revision=None,
        dtype=str(module.dtype).removeprefix("torch."),
        device=device,
        fingerprint=Fingerprint("qwen2", config.num_hidden_layers, config.hidden_size, config.vocab_size, "", "", None),
        template=Template("model", PLAIN_TEMPLATE),
        context_tokens=config.max_position_embeddings,
        n_layers=config.num_hidden_layers,
        d_hidden=config.hidden_size,
        adapter=None,
        is_quantised=False,
        stop_ids=stop_ids,
        attention=choose_attention(module, decoder_blocks(module), device, config.hidden_size),
        n_loaded=config.num_hidden_layers,
        whole_reason=None,
    )


def build_tokenizer(n_vocab: int) -> Any:
    """Build the tokenizer of `write_text`."""
    backend = Tokenizer(models.WordLevel({str(token): token for token in range(n_vocab)}, unk_token="0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Special tokens would be cut out of longer words, so there are none.
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
