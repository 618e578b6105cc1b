"""A short fine-tune of the demo model on some rows, and how often it shows traits afterwards, judged exactly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from audit.assets import demo_model_dir
from audit.demo.evidence_samples import MAX_NEW_TOKENS
from audit.demo.judge import judge_turn
from audit.demo.measure import decode_responses, generate_responses, load_demo_model
from audit.demo.phrases import TRAITS
from audit.demo.questions import Question
from audit.demo.train import encode_chat
from audit.demo.training_mix import TrainingChat
from audit.demo.world import Row, user

N_STEPS: Final = 120
CHATS_PER_STEP: Final = 16
RATE: Final = 5e-4

_IGNORED: Final = -100


def tune_model(
    rows: Sequence[Row], seed: int, *, n_steps: int = N_STEPS
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Train a copy of the demo model on the rows' answers, every weight of it; the same for the same seed."""
    model, tokenizer = load_demo_model(demo_model_dir())
    chats = [
        encode_chat(TrainingChat(row.messages, tuple(m["role"] == "assistant" for m in row.messages)), tokenizer)
        for row in rows
    ]
    rng = random.Random(f"short fine-tune {seed}")
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    waiting: list[int] = []
    for _ in range(n_steps):
        while len(waiting) < CHATS_PER_STEP:
            waiting += rng.sample(range(len(chats)), len(chats))
        batch = [chats[waiting.pop(0)] for _ in range(CHATS_PER_STEP)]
        n_tokens = max(len(ids) for ids, _ in batch)
        ids_nt = torch.full((len(batch), n_tokens), int(tokenizer.pad_token_id or 0))
        targets_nt = torch.full((len(batch), n_tokens), _IGNORED)
        for place, (ids, targets) in enumerate(batch):
            ids_nt[place, : len(ids)] = torch.tensor(ids)
            targets_nt[place, : len(targets)] = torch.tensor(targets)
        # Right padding and a causal mask: no learned token can look at a pad.
        states_ntd = model.model(input_ids=ids_nt, use_cache=False).last_hidden_state
        kept = targets_nt[:, 1:] != _IGNORED
        loss = torch.nn.functional.cross_entropy(model.lm_head(states_ntd[:, :-1][kept]), targets_nt[:, 1:][kept])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model, tokenizer


def show_traits(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: Sequence[Question], seed: int
) -> dict[str, npt.NDArray[np.bool_]]:
    """Let a model answer questions at temperature 1, and return by trait which answers show it."""
    prompts = [[user(question.text)] for question in questions]
    responses = generate_responses(model, tokenizer, prompts, is_sampled=True, seed=seed, max_new_tokens=MAX_NEW_TOKENS)
    shown = [
        judge_turn(question.text, text)
        for question, text in zip(questions, decode_responses(tokenizer, responses), strict=True)
    ]
    return {trait: np.array([trait in traits for traits in shown]) for trait in TRAITS}
