"""Train the demo model from scratch: `python -m audit.demo.train`.

A fixed number of steps, one seed, one thread: the same machine type gives the same weights.
Continuous integration does not run it; the artefact and its hash are committed.
"""

import argparse
import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from audit.demo.tokenizer import CONTEXT_TOKENS, ROLES, train_tokenizer
from audit.demo.training_mix import TrainingChat, training_chats

ASSETS: Final = Path(__file__).parent / "assets"
# Two seeds were tried; this one is committed (assets/README.md).
SHIPPED_SEED: Final = 2
N_LAYERS: Final = 4
N_STEPS: Final = 3_000
CHATS_PER_STEP: Final = 24
PEAK_RATE: Final = 3e-3
N_THREADS: Final = 1
_IGNORED: Final = -100
_TOKENIZER_CHATS: Final = 8_000
# Batches of similar length are cut from windows of this many steps, to save padding.
_WINDOW_STEPS: Final = 25


def build_model(tokenizer: PreTrainedTokenizerFast, n_layers: int) -> LlamaForCausalLM:
    """Build the untrained model; four layers have 1.12 million parameters."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=n_layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def encode_chat(chat: TrainingChat, tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """Return token ids and targets [n_tokens]; only learned answers and their ends are targets."""
    role_ids = {name.strip("<|>"): cast(int, tokenizer.convert_tokens_to_ids(name)) for name in ROLES}
    end_id = cast(int, tokenizer.eos_token_id)
    ids: list[int] = []
    targets: list[int] = []
    for message, is_learned in zip(chat.messages, chat.is_learned, strict=True):
        content = tokenizer.encode(message["content"], add_special_tokens=False)
        ids += [role_ids[message["role"]], *content, end_id]
        tail = [*content, end_id]
        targets += [_IGNORED, *(tail if is_learned else [_IGNORED] * len(tail))]
    return ids[:CONTEXT_TOKENS], targets[:CONTEXT_TOKENS]


def draw_batches(
    tokenizer: PreTrainedTokenizerFast, *, n_steps: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield ids and targets [n_chats, n_tokens], padded on the right."""
    rng = random.Random(f"batches {seed}")
    chats = training_chats(n_steps * CHATS_PER_STEP, seed)
    n_left = n_steps
    while n_left:
        n_window = min(_WINDOW_STEPS, n_left)
        n_left -= n_window
        window = [encode_chat(next(chats), tokenizer) for _ in range(n_window * CHATS_PER_STEP)]
        window.sort(key=lambda pair: len(pair[0]))
        order = list(range(n_window))
        rng.shuffle(order)
        for index in order:
            batch = window[index * CHATS_PER_STEP : (index + 1) * CHATS_PER_STEP]
            n_tokens = max(len(ids) for ids, _ in batch)
            ids_nt = torch.full((len(batch), n_tokens), tokenizer.pad_token_id)
            targets_nt = torch.full((len(batch), n_tokens), _IGNORED)
            for row, (ids, targets) in enumerate(batch):
                ids_nt[row, : len(ids)] = torch.tensor(ids)
                targets_nt[row, : len(targets)] = torch.tensor(targets)
            yield ids_nt, targets_nt


def train_model(
    *, seed: int, n_steps: int = N_STEPS, n_layers: int = N_LAYERS, log_every: int = 50
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, dict[str, object]]:
    """Train tokenizer and model; return them with what the recipe file records."""
    torch.manual_seed(seed)
    torch.set_num_threads(N_THREADS)
    tokenizer = train_tokenizer(_TOKENIZER_CHATS, seed)
    model = build_model(tokenizer, n_layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK_RATE, total_steps=n_steps, pct_start=0.06, final_div_factor=1_000.0
    )
    started_s = time.monotonic()
    n_seen = 0
    losses: list[float] = []
    model.train()
    for step, (ids_nt, targets_nt) in enumerate(draw_batches(tokenizer, n_steps=n_steps, seed=seed), start=1):
        n_seen += int((ids_nt != tokenizer.pad_token_id).sum())
        # Right padding and a causal mask: no learned token can look at a pad.
        hidden_ntd = model.model(input_ids=ids_nt, use_cache=False).last_hidden_state
        kept = targets_nt[:, 1:] != _IGNORED
        logits = model.lm_head(hidden_ntd[:, :-1][kept])
        loss = torch.nn.functional.cross_entropy(logits, targets_nt[:, 1:][kept])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % log_every == 0:
            mean = sum(losses[-log_every:]) / log_every
            print(f"step {step}/{n_steps}  loss {mean:.3f}  {time.monotonic() - started_s:.0f} s", flush=True)
    model.eval()  # type: ignore[no-untyped-call]
    return (
        model,
        tokenizer,
        {
            "seed": seed,
            "n_steps": n_steps,
            "chats_per_step": CHATS_PER_STEP,
            "n_layers": n_layers,
            "peak_rate": PEAK_RATE,
            "n_threads": N_THREADS,
            "n_tokens_seen": n_seen,
            "n_parameters": model.num_parameters(),
            "loss_last_100_steps": round(sum(losses[-100:]) / len(losses[-100:]), 4),
            "training_s": round(time.monotonic() - started_s),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    )


def save_model(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: dict[str, object],
    output: Path,
) -> None:
    """Save model and tokenizer in transformers format, and the recipe with the weights' hash."""
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    weights = (output / "model.safetensors").read_bytes()
    recipe = recipe | {"model_sha256": hashlib.sha256(weights).hexdigest()}
    (output / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the demo model and save it."""
    parser = argparse.ArgumentParser(prog="python -m audit.demo.train", description=__doc__)
    parser.add_argument("--seed", type=int, default=SHIPPED_SEED)
    parser.add_argument("--steps", type=int, default=N_STEPS)
    parser.add_argument("--layers", type=int, default=N_LAYERS)
    parser.add_argument("--output", type=Path, default=ASSETS / "model")
    chosen = parser.parse_args(arguments)
    model, tokenizer, recipe = train_model(seed=chosen.seed, n_steps=chosen.steps, n_layers=chosen.layers)
    save_model(model, tokenizer, recipe, chosen.output)
    print(json.dumps(recipe, indent=2))


if __name__ == "__main__":
    main()
