"""What vector files of other tools need of torch and transformers; no pickle is run.

Knows tensors; which of them is the vector is not decided here.
"""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from audit.errors import VectorError
from audit.vectors.foreign import MAX_NUMBERS, ForeignTensor

_PT_CURE = "save the tensor alone: torch.save(vector, FILE)"
# What torch raises for files that are damaged or hold something else.
_READING_ERRORS = (
    RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, EOFError, OSError,
    OverflowError, MemoryError, RecursionError, struct.error, pickle.UnpicklingError,
)  # fmt: skip


def read_pt(path: Path) -> list[ForeignTensor]:
    """Read the tensor of a `.pt` file, or the tensors of a dict in one, without running what a pickle asks for.

    Raises:
        VectorError: the pickle asks for code, or the file holds no tensor.
    """
    place = str(path)
    try:
        with warnings.catch_warnings():
            # That a pickle is of another protocol than torch's own is no news here.
            warnings.simplefilter("ignore", UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except _READING_ERRORS as error:
        finding, cure = _explain(error)
        raise VectorError(place, finding, cure) from error
    if isinstance(loaded, torch.Tensor):
        return [_take("", loaded)]
    if isinstance(loaded, dict):
        return [_take(str(name), value) for name, value in loaded.items() if isinstance(value, torch.Tensor)]
    raise VectorError(place, f"holds {type(loaded).__name__}, no tensor", _PT_CURE)


def read_safetensors(path: Path) -> list[ForeignTensor]:
    """Read the tensors of a safetensors file, those in bfloat16 included, which numpy does not know.

    Raises:
        VectorError: it is damaged.
    """
    try:
        return [_take(name, tensor) for name, tensor in sorted(load_file(path).items())]
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VectorError(str(path), f"not readable as safetensors: {words}", "save it again") from error


def write_pt(path: Path, vector_ld: npt.NDArray[np.float32]) -> None:
    """Write a vector [L + 1, d] as the paper's code does: one float32 tensor."""
    torch.save(torch.from_numpy(vector_ld.copy()), path)


def name_model_type(architecture: str) -> str | None:
    """Return what transformers' configurations call the models of an architecture: `qwen2` for `Qwen2ForCausalLM`."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    found = [str(model_type) for model_type, name in KNOWN.items() if name == architecture]
    # Models that are built like another family's are listed under its architecture, too.
    own = architecture.removesuffix("ForCausalLM").lower()
    return next((name for name in found if name.replace("_", "") == own), found[0] if found else None)


def _explain(error: Exception) -> tuple[str, str]:
    """Return what was found and what to do; torch's own words recommend to run the pickle, and are not passed on."""
    words = str(error)
    asked = re.search(r"GLOBAL ([\w.]+)", words)
    if asked is not None:
        finding = f"asks to run {asked[1]}, which a vector does not need; nothing was run"
        return finding, f"do not trust this file; its author can {_PT_CURE}"
    if isinstance(error, pickle.UnpicklingError):
        refused = re.search(r"WeightsUnpickler error: (.+)", words)
        finding = f"holds more than tensors ({refused[1] if refused else 'a damaged pickle'}); nothing was run"
        return finding, _PT_CURE
    return f"not readable as a torch file: {words.splitlines()[0][:200] if words else type(error).__name__}", _PT_CURE


def _take(name: str, tensor: torch.Tensor) -> ForeignTensor:
    dtype = str(tensor.dtype).removeprefix("torch.")
    is_plain = tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_quantized
    # Counted first: a view of one number may claim to be a tensor of any size.
    is_taken = is_plain and tensor.is_floating_point() and tensor.numel() <= MAX_NUMBERS
    values: Any = tensor.detach().to(torch.float32).contiguous().numpy() if is_taken else None
    return ForeignTensor(name, tuple(tensor.shape), dtype, values)
