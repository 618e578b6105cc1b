"""Put a peft adapter on a loaded model.

Only adapters that change weights: the blocks of the model then run as they are, with the adapter inside. peft is
optional and imported here alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors import SafetensorError

from audit.errors import ModelError


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter that a model carries; `sha256` is over its configuration and weights."""

    path: str
    sha256: str


def apply_adapter(module: Any, path: str) -> tuple[Any, Adapter]:
    """Put the adapter at `path` (a directory or hub id) into `module`; return the adapted model and what it carries.

    Raises:
        ModelError: peft is not installed, or the adapter is missing, broken, of another model or of a kind that
            changes the prompt instead of the weights.
    """
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"--adapter {path}", "peft is not installed", "pip install peft")
    import peft

    directory = Path(path).expanduser()
    if not directory.is_dir():
        directory = _download_adapter(path)
    if not (directory / "adapter_config.json").is_file():
        raise ModelError(path, "no adapter_config.json", "name a directory that peft saved")
    try:
        config = peft.PeftConfig.from_pretrained(str(directory))
        if config.is_prompt_learning:
            raise ModelError(
                path, f"a {config.peft_type.value} adapter, which changes the prompt", "use one that changes weights"
            )
        with warnings.catch_warnings():
            # peft reads attributes that transformers has renamed; users can do nothing about it.
            warnings.simplefilter("ignore", FutureWarning)
            adapted = peft.PeftModel.from_pretrained(module, str(directory), is_trainable=False)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        finding = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise ModelError(
            path, f"the adapter does not fit the model: {finding}", "name the model that it was trained on"
        ) from error
    adapted.eval()
    adapted.requires_grad_(False)
    # The adapter lives inside the base model's layers, so the plain transformers model is all that is needed.
    return adapted.get_base_model(), Adapter(path, _hash_adapter(directory))


def _download_adapter(path: str) -> Path:
    try:
        return Path(snapshot_download(path, allow_patterns=["adapter_*"]))
    except (OSError, ValueError):
        # `from None`: errors of the hub carry the request, and with it the user's token.
        raise ModelError(
            path, "no such directory, and not found on the hub", "check the path; for a private one set HF_TOKEN"
        ) from None


def _hash_adapter(directory: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(directory.glob("adapter_*")):
        digest.update(file.name.encode())
        with file.open("rb") as content:
            while chunk := content.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
