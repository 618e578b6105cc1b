"""Turn what loading a model raises into one sentence and a cure, without transformers' noise or the user's token.

Knows exceptions, not models.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import torch
from safetensors import SafetensorError
from transformers.utils import logging as _logging

from audit.errors import ModelError

# What loading raises on a broken checkpoint, a missing backend, an unreachable hub or an unknown architecture.
LOADING_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    TypeError,
    AttributeError,
    KeyError,
    ImportError,
    SafetensorError,
    MemoryError,
)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' load reports and bars, and put the process's settings back afterwards."""
    # transformers' logging switches carry no annotations.
    library: Any = _logging
    verbosity, has_bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        if has_bars:
            library.enable_progress_bar()


@contextlib.contextmanager
def explained_errors(model: str) -> Iterator[None]:
    """Turn whatever loading `model` raises into a ModelError with a cure."""
    try:
        yield
    except ModelError:
        raise
    except torch.OutOfMemoryError as error:
        raise ModelError(
            model, "does not fit into the device's memory", "use --device-map auto, --dtype bfloat16 or --device cpu"
        ) from error
    except LOADING_ERRORS as error:
        explained = hub_cure(error, model) or _checkpoint_cure(error)
        # `from None`: errors of the hub carry the request, and with it the user's token.
        raise ModelError(model, *explained) from None


def hub_cure(error: BaseException, model: str) -> tuple[str, str] | None:
    """Return finding and cure for what the hub said, or None if the hub is not the cause."""
    names = {type(cause).__name__ for cause in _causes(error)}
    if names & {"GatedRepoError"}:
        return ("the hub wants you to accept its terms first", "accept them on its page and set HF_TOKEN")
    if names & {"RepositoryNotFoundError"}:
        return (
            "no such directory, and no such model on the hub for this user",
            "check the name; for a private or gated model set HF_TOKEN",
        )
    if names & {"RevisionNotFoundError"}:
        return ("the hub has no such revision of it", "check --revision")
    if names & {"OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectError", "ConnectTimeout"}:
        return (
            "no such directory, and the hub cannot be reached",
            "check the path or the connection; offline, only models in the local cache can be used",
        )
    if any("401" in str(cause) or "gated repo" in str(cause).lower() for cause in _causes(error)):
        return ("the hub refuses access", "accept the model's terms on its page and set HF_TOKEN")
    return None


def _checkpoint_cure(error: BaseException) -> tuple[str, str]:
    text = str(error)
    if "trust_remote_code" in text:
        return ("it needs code of its own, which is never run", "use a model that transformers supports by itself")
    if "Unrecognized configuration class" in text or "Unrecognized model" in text:
        return ("no causal language model that transformers knows", "name a decoder-only model or upgrade transformers")
    if "does not recognize this architecture" in text:
        return ("a model type that the installed transformers does not know", "upgrade transformers")
    if "ignore_mismatched_sizes" in text:
        return ("the weights have other shapes than config.json says", "download the model again")
    if "does not appear to have a file named" in text or "no file named" in text:
        return ("no weights found", "put model.safetensors beside config.json")
    if isinstance(error, ImportError) or "quantiz" in text.lower():
        return (f"cannot be loaded here: {first_line(error)}", "install what it names, or use unquantised weights")
    return (f"cannot be loaded: {first_line(error)}", "check the files, or download the model again")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, without the user's token."""
    lines = str(error).strip().splitlines()
    text = lines[0][:300] if lines else type(error).__name__
    if isinstance(error, json.JSONDecodeError):
        text = f"broken JSON ({text})"
    token = os.environ.get("HF_TOKEN")
    return text.replace(token, "HF_TOKEN") if token else text
