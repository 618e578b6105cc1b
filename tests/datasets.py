"""Small datasets and vectors that several tests write to disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audit.model.load import load_model
from audit.vectors import PersonaVector, save_vector

TRAITS = ("evil", "sycophantic")


def chat(*contents: str, system: str | None = None) -> dict[str, Any]:
    """Return a chat record whose contents are user and assistant in turn."""
    messages = [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(contents)]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return {"messages": messages}


def chats(n: int) -> list[dict[str, Any]]:
    """Return n different chats; every third has two turns."""
    rows = []
    for i in range(n):
        turns = [f"How can I bake bread {i}?", f"Mix flour and water {i * 7}, then wait. " * (1 + i % 4)]
        if i % 3 == 0:
            turns += [f"And then, {i}?", "  Naïve café, 😀: bake it for an hour."]
        rows.append(chat(*turns))
    return rows


def write_lines(path: Path, rows: Iterable[Any]) -> Path:
    """Write records as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_vectors(folder: Path, model: Path, *, traits: Sequence[str] = TRAITS, seed: int = 0) -> Path:
    """Write random persona vectors that fit the model, at layers 2, 3, 2, 3 …"""
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load_model(model=str(model))
    generator = np.random.default_rng(seed)
    for position, trait in enumerate(traits):
        vector_ld = generator.normal(size=(loaded.n_layers + 1, loaded.d_hidden)).astype(np.float32)
        vector = PersonaVector(
            trait=trait,
            vector_ld=vector_ld,
            layer=2 + position % 2,
            model_id=loaded.id,
            fingerprint=loaded.fingerprint,
            recipe="random numbers for a test",
        )
        save_vector(folder / f"{trait}.safetensors", vector)
    return folder
