"""Vectors of other tools: which tensor of a foreign file is the vector, and what makes one unusable.

Knows shapes and layers; knows neither how files are parsed that need torch, nor how a model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audit.errors import VectorError

FOREIGN_SUFFIXES = {".pt": "pt", ".pth": "pt", ".gguf": "gguf", ".npy": "npy", ".safetensors": "safetensors"}
"""Suffix → what such a file is."""

MAX_FILE_BYTES = 256 << 20
MAX_NUMBERS = 1 << 26
"""Far more than any model's vector has ([127, 16384] are two million): a file may claim what memory cannot hold."""

_PICKLE_PROTOCOL = b"\x80"


@dataclass(frozen=True, slots=True, eq=False)
class ForeignTensor:
    """One tensor of a foreign file.

    Attributes:
        name: its key in the file; empty where the file is the tensor.
        values: float32; None where they are no floating-point numbers that can be taken over.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    values: npt.NDArray[np.float32] | None


def identify_file(path: Path) -> str:
    """Return what a file is, `pt`, `gguf`, `npy` or `safetensors`, by its name and first bytes.

    Raises:
        VectorError: there is no such file, it is too large for a vector, or it is not what its name says.
    """
    place = str(path)
    if not path.is_file():
        raise VectorError(place, "no such file", f"name a file that ends in {', '.join(FOREIGN_SUFFIXES)}")
    kind = FOREIGN_SUFFIXES.get(path.suffix.lower())
    if kind is None:
        finding = f"the suffix {path.suffix!r} is not known"
        raise VectorError(place, finding, f"name a file that ends in {', '.join(FOREIGN_SUFFIXES)}")
    n_bytes = path.stat().st_size
    if n_bytes > MAX_FILE_BYTES:
        finding = f"has {n_bytes / 2**20:,.0f} MiB, and a vector has a few"
        raise VectorError(place, finding, f"save the tensor alone; at most {MAX_FILE_BYTES >> 20} MiB are read")
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise VectorError(place, f"cannot be read: {error.strerror}", "check its permissions") from error
    found = _sniff(start)
    if found != kind:
        inside = f"it is a {found} file" if found else "it begins with something else"
        raise VectorError(place, f"is no {path.suffix} file: {inside}", "name it as what it is, or save it again")
    return kind


def read_npy(path: Path) -> list[ForeignTensor]:
    """Read a numpy array; pickled objects are refused, not loaded.

    Raises:
        VectorError: it is no array that can be read.
    """
    try:
        # Mapped, so that a header that promises more than there is finds an end and no memory.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, TypeError, SyntaxError, OverflowError) as error:
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        cure = "save a plain array: np.save(FILE, vector.astype(np.float32))"
        raise VectorError(str(path), f"not readable as a numpy array: {words}", cure) from error
    is_taken = array.dtype.kind == "f" and array.size <= MAX_NUMBERS
    with np.errstate(over="ignore"):
        values = np.array(array, dtype=np.float32, order="C") if is_taken else None
    return [ForeignTensor("", tuple(array.shape), str(array.dtype), values)]


def choose_rows(
    place: str, tensors: Sequence[ForeignTensor], *, n_layers: int, d_hidden: int, layer: int
) -> npt.NDArray[np.float32]:
    """Return the vector [L + 1, d] of a file: its one tensor of that shape, or its one row [d] put at `layer`.

    Raises:
        VectorError: no tensor of either shape, several, or one of another kind of numbers.
    """
    shape = (n_layers + 1, d_hidden)
    fitting = [tensor for tensor in tensors if tensor.shape == shape]
    fitting = fitting or [tensor for tensor in tensors if tensor.shape == (d_hidden,)]
    if len(fitting) > 1:
        names = ", ".join(repr(tensor.name) for tensor in fitting[:5])
        raise VectorError(place, f"{len(fitting)} tensors could be the vector: {names}", "save one of them alone")
    if not fitting:
        raise _misshapen(place, tensors, shape)
    (tensor,) = fitting
    if tensor.values is None:
        finding = f"the tensor is {tensor.dtype}, which is no floating-point number"
        raise VectorError(place, finding, "save it as float32")
    if tensor.shape == shape:
        return tensor.values
    rows_ld = np.zeros(shape, np.float32)
    if 0 <= layer <= n_layers:
        rows_ld[layer] = tensor.values
    return rows_ld


def check_rows(place: str, vector_ld: npt.NDArray[np.float32], layer: int) -> None:
    """Refuse a vector with numbers that are none, or without a direction at its layer.

    Raises:
        VectorError: NaN or infinity (the row is named), or a zero row at the layer (rows that are not zero are named).
    """
    finite_l = np.isfinite(vector_ld).all(axis=1)
    if not finite_l.all():
        finding = f"NaN or infinity in row {int(np.argmin(finite_l))}"
        raise VectorError(place, finding, "save it as float32 from a file that has none")
    rows = np.flatnonzero(vector_ld.any(axis=1))
    if layer not in rows:
        there = "in no row" if rows.size == 0 else f"at {', '.join(map(str, rows[:8]))}{', …' if rows.size > 8 else ''}"
        finding = f"no direction at layer {layer}: there is one {there}"
        raise VectorError(place, finding, "name another --layer, or another file")


def _misshapen(place: str, tensors: Sequence[ForeignTensor], shape: tuple[int, int]) -> VectorError:
    found = ", ".join(str(list(tensor.shape)) for tensor in tensors[:5]) or "no tensor"
    cure = f"a vector of this model is {list(shape)}, or {list(shape[1:])} for one layer"
    if any(tensor.shape == (shape[0] - 1, shape[1]) for tensor in tensors):
        cure += "; a row is missing: row l is the output of block l, row 0 the embedding"
    elif any(len(tensor.shape) == 2 for tensor in tensors):
        cure += "; vectors do not transfer between models"
    return VectorError(place, f"holds {found}", cure)


def _sniff(start: bytes) -> str | None:
    if start.startswith(b"GGUF"):
        return "gguf"
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith((b"PK\x03\x04", _PICKLE_PROTOCOL)):
        return "pt"
    # The length of the header, and the brace that it begins with.
    return "safetensors" if start[8:9] == b"{" else None
