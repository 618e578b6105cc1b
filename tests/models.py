"""Tiny random models of several families, with tokenizers and chat templates like the real ones, saved to disk.

The weights are random but large, so that the hidden states of neighbouring layers differ.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "mistral")
PLAIN_FAMILIES = ("gpt2", "gpt_neox", "phi")
"""Families saved without a chat template."""

N_LAYERS = 5
D_HIDDEN = 32
CONTEXT_TOKENS = 512

_CORPUS = [
    "How can I bake bread at home? First mix flour, water, salt and yeast. Then wait an hour.",
    "You are a helpful assistant. You are honest and kind. Today is a good day for everyone.",
    "I cannot help with that, but here is what I would suggest instead: talk to a friend.",
    "The quick brown fox jumps over the lazy dog; the user asks and the assistant answers.",
    "Zürich, naïve, café: 你好, мир, שלום, 😀 are words and signs in other languages.",
] * 3

_LLAMA = (
    "{{ bos_token }}{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ date_string }}\n"
    "{% if messages and messages[0]['role'] == 'system' %}{{ messages[0]['content'] | trim }}"
    "{% set messages = messages[1:] %}{% endif %}<|eot_id|>"
    "{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_QWEN2 = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Qwen, a helpful assistant.<|im_end|>\n"
    "{% endif %}{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN3 = (
    "{% set ns = namespace(last_user=-1) %}"
    "{% for message in messages %}{% if message.role == 'user' %}{% set ns.last_user = loop.index0 %}{% endif %}"
    "{% endfor %}{% for message in messages %}{% set content = message.content %}"
    "{% if message.role == 'assistant' and '</think>' in content %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' and loop.index0 > ns.last_user %}<think>\n\n</think>\n\n{% endif %}"
    "{{ content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}{% if messages and messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "<start_of_turn>{{ role }}\n{{ message['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "[INST] {{ system if loop.first else '' }}{{ message['content'] }}[/INST]"
    "{% else %} {{ message['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)

TEMPLATES = {
    "llama": _LLAMA,
    "qwen2": _QWEN2,
    "qwen3": _QWEN3,
    "gemma2": _GEMMA,
    "gemma3": _GEMMA,
    "mistral": _MISTRAL,
}
_SPECIAL_TOKENS = {
    "llama": ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
    "qwen2": ["<|endoftext|>", "<|im_end|>", "<|im_start|>"],
    "qwen3": ["<|endoftext|>", "<|im_end|>", "<|im_start|>", "<think>", "</think>"],
    "gemma2": ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
    "gemma3": ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
    "mistral": ["<s>", "</s>", "[INST]", "[/INST]"],
}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run tiny models on one thread: on a busy machine, threads wait for each other longer than they compute."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@functools.cache
def model_path(family: str) -> Path:
    """Return the directory of a tiny model of the family; built once per process."""
    return save_model(_root() / family, family)


def save_model(path: Path, family: str, *, seed: int = 0, template: str | None = None) -> Path:
    """Build a tiny random model with its tokenizer and save it as a user's would lie on disk."""
    tokenizer = build_tokenizer(family)
    tokenizer.chat_template = template if template is not None else TEMPLATES.get(family)
    torch.manual_seed(seed)
    module: Any = transformers.AutoModelForCausalLM.from_config(build_config(family, tokenizer))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            # A biased norm or a zero bias is what an untrained model would hide from a test.
            if "norm" in name or "ln_" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    module.generation_config.eos_token_id = tokenizer.eos_token_id
    module.generation_config.pad_token_id = tokenizer.pad_token_id
    module.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def build_config(family: str, tokenizer: Any) -> Any:
    """Return the configuration of a tiny model of the family."""
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": D_HIDDEN,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT_TOKENS,
        "initializer_range": 0.15,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if family == "gpt2":
        names = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
        common = {names.get(key, key): value for key, value in common.items()}
        common["n_positions"] = common.pop("max_position_embeddings")
        return transformers.GPT2Config(**common)
    common["intermediate_size"] = 64
    if family == "gpt_neox":
        return transformers.GPTNeoXConfig(**common)
    common["num_key_value_heads"] = 2
    if family in ("gemma2", "gemma3"):
        common |= {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}
    if family == "qwen3":
        common["head_dim"] = 8
    if family == "mistral":
        common["sliding_window"] = None
    name = {"gemma3": "gemma3_text"}.get(family, family)
    return transformers.AutoConfig.for_model(name, **common)


def build_tokenizer(family: str) -> Any:
    """Train a small tokenizer: byte-level BPE, or BPE over characters with byte fallback for Gemma and Mistral."""
    special_tokens = _SPECIAL_TOKENS.get(family, ["<|endoftext|>"])
    if family in ("gemma2", "gemma3", "mistral"):
        backend = _train_character_bpe(special_tokens, prepend=family == "mistral")
    else:
        backend = _train_byte_bpe(special_tokens)
    bos_token = None if family in ("qwen2", "qwen3", "phi") else special_tokens[0]
    eos_token = special_tokens[1] if len(special_tokens) > 1 else special_tokens[0]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=bos_token,
        eos_token=eos_token,
        additional_special_tokens=special_tokens[2:],
        model_max_length=CONTEXT_TOKENS,
    )


TOKENIZER_KINDS = ("byte", "composing_byte", "fallback", "prepending_fallback", "slow")
"""Byte-level BPE (as is, and with accents composed first), BPE with byte fallback (with and without a space in front),
and a tokenizer of bytes that gives no offsets."""

KIND_VOCABULARY = 1024
"""At least as many as any of these tokenizers has tokens."""


def build_tokenizer_of_kind(kind: str, special_tokens: Sequence[str] = (), bos: str = "", eos: str = "") -> Any:
    """Return a tokenizer of the kind that knows the special tokens; without a chat template."""
    named = {key: token for key, token in {"bos_token": bos, "eos_token": eos}.items() if token}
    if kind == "slow":
        # Left to itself it makes tokens that swallow the white space around them.
        named = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>"} | named
        exact = {
            token: AddedToken(token, special=True, normalized=False) for token in (*special_tokens, *named.values())
        }
        return transformers.ByT5Tokenizer(
            extra_ids=0,
            additional_special_tokens=[exact[token] for token in special_tokens],
            **{key: exact[token] for key, token in named.items()},
        )
    backend = Tokenizer.from_str(_backend_of_kind(kind))
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **named)


@functools.cache
def _backend_of_kind(kind: str) -> str:
    if kind in ("byte", "composing_byte"):
        backend = _train_byte_bpe([])
        backend.normalizer = normalizers.NFC() if kind == "composing_byte" else None
    else:
        backend = _train_character_bpe([], prepend=kind == "prepending_fallback")
    return str(backend.to_str())


def _train_byte_bpe(special_tokens: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special_tokens,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def _train_character_bpe(special_tokens: list[str], *, prepend: bool) -> Tokenizer:
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=None, fuse_unk=False))
    if prepend:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    stripped = [decoders.Strip(" ", 1, 0)] if prepend else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *stripped]
    )
    trainer = trainers.BpeTrainer(vocab_size=640, special_tokens=special_tokens + bytes_, show_progress=False)
    words = [f"▁{word}" for line in _CORPUS[:4] for word in line.split()]
    tokenizer.train_from_iterator(words, trainer)
    # Byte tokens are ordinary entries of the vocabulary; only the others are cut out of the text first.
    kept = Tokenizer(models.BPE.from_file(*_save_bpe(tokenizer), byte_fallback=True))
    kept.decoder = tokenizer.decoder
    if prepend:
        kept.pre_tokenizer = tokenizer.pre_tokenizer
    else:
        kept.normalizer = tokenizer.normalizer
    kept.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens])
    return kept


def _save_bpe(tokenizer: Tokenizer) -> list[str]:
    return list(tokenizer.model.save(str(_root())))


@functools.cache
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="persona-audit-tests-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root
