"""Control vectors in GGUF, as repeng and llama.cpp exchange them. Needs the package `gguf`, which is optional.

The file: `general.architecture` is `controlvector`, `controlvector.model_hint` names the model's type,
`controlvector.layer_count` counts the directions, and each direction is a one-dimensional tensor `direction.N`.

N counts decoder blocks from 0 and a direction belongs to a block's output: repeng measures `direction.N` at
`hidden_states[N + 1]` and adds it to the output of its block N; llama.cpp adds it to `l_out` of its layer N, and reads
no file with a `direction.0`. So `direction.N` is our row N + 1. (llama.cpp's own cvector-generator writes what it
measured at layer N as `direction.N+1`; here, too, it is read where it would be applied.)

Sources: repeng/extract.py (batched_get_hiddens, export_gguf); llama.cpp, common/common.cpp
(common_control_vector_load_one) and src/llama-adapter.cpp (llama_adapter_cvec::apply).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.errors import ConfigError, VectorError

ARCHITECTURE = "controlvector"
FIRST_ROW = 2
"""Row 1 would be `direction.0`, with which llama.cpp refuses the whole file."""

_TAKEN_TYPES = ("F32", "F16", "BF16", "F64")
# What the reader trips over in damaged files: it checks nothing itself.
_READING_ERRORS = (ValueError, KeyError, IndexError, TypeError, OverflowError, OSError, MemoryError, RecursionError)


def read_control_vector(path: Path, *, n_layers: int, d_hidden: int) -> npt.NDArray[np.float32]:
    """Return the rows [L + 1, d] of a control vector; rows without a direction are zero.

    Raises:
        VectorError: it is no control vector, damaged, or for a model of another size.
        ConfigError: `gguf` is not installed.
    """
    gguf = _import_gguf()
    place = str(path)
    rows_ld = np.zeros((n_layers + 1, d_hidden), np.float32)
    try:
        reader = gguf.GGUFReader(path)
        field = reader.get_field("general.architecture")
        architecture = None if field is None else field.contents()
        tensors = list(reader.tensors)
    except _READING_ERRORS as error:
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VectorError(place, f"not readable as GGUF: {words}", "download it again") from error
    if architecture != ARCHITECTURE:
        raise VectorError(place, f"holds {architecture!r}, no control vector", "name a file that repeng exported")
    for tensor in tensors:
        match = re.fullmatch(r"direction\.(\d{1,9})", tensor.name)
        if match is None:
            raise VectorError(place, f"the tensor {tensor.name!r} is no direction", "export the control vector again")
        row = int(match[1]) + 1
        shape = tuple(int(size) for size in reversed(tensor.shape))
        if row > n_layers or shape != (d_hidden,):
            finding = f"{tensor.name} of size {list(shape)} belongs to another model: this one has "
            finding += f"direction.0 to direction.{n_layers - 1} of size {d_hidden}"
            raise VectorError(place, finding, "vectors do not transfer between models; name the model of this vector")
        if tensor.tensor_type.name not in _TAKEN_TYPES:
            finding = f"{tensor.name} is {tensor.tensor_type.name}, which is no floating-point number"
            raise VectorError(place, finding, "export it in float32")
        with np.errstate(over="ignore"):
            if tensor.tensor_type.name == "BF16":
                rows_ld[row] = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            else:
                rows_ld[row] = tensor.data
    return rows_ld


def list_directions(vector_ld: npt.NDArray[np.float32]) -> dict[int, npt.NDArray[np.float32]]:
    """Return the directions by N that a GGUF file takes: rows 2 to L - 1 that are not zero.

    Row 0 is no block's output and row 1 has no place. Row L was measured after the final norm, and a control vector is
    added before it.
    """
    n_layers = len(vector_ld) - 1
    return {row - 1: vector_ld[row] for row in range(FIRST_ROW, n_layers) if vector_ld[row].any()}


def write_control_vector(path: Path, directions: Mapping[int, npt.NDArray[np.float32]], *, model_hint: str) -> None:
    """Write directions by N, counted from 0, as float32.

    Raises:
        ConfigError: `gguf` is not installed.
    """
    gguf = _import_gguf()
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    try:
        writer.add_string(f"{ARCHITECTURE}.model_hint", model_hint)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(directions))
        for number, direction_d in sorted(directions.items()):
            writer.add_tensor(f"direction.{number}", np.array(direction_d, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _import_gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ConfigError("GGUF", "the package gguf is not installed", "pip install 'persona-audit[gguf]'") from error
    return gguf
