"""Persona vectors on disk: one safetensors file per trait, with everything that is known of it in the metadata."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise_tensors

from audit.errors import VectorError
from audit.vectors.fingerprint import Fingerprint
from audit.vectors.vector import LAYER_CONVENTION, PersonaVector, check_vector

VECTOR_FORMAT = "persona-audit vector 1"
SUFFIX = ".safetensors"
_REPORT = "report/"
_CURE = "use a file made by `persona-audit vectors`; `vectors import` reads those of other tools"


def load_vector(path: str | Path) -> PersonaVector:
    """Read and check one persona vector.

    Raises:
        VectorError: the file is missing, is no safetensors file, or holds a vector that cannot score anything.
    """
    place = str(path)
    names, tensors, metadata = _read_tensors(path, lambda name: name == "vector")
    if "vector" not in tensors:
        found = ", ".join(sorted(names)[:5]) or "none"
        raise VectorError(place, f"no tensor 'vector'; found {found}", _CURE)
    vector = _read_metadata(place, tensors["vector"], metadata)
    vector = dataclasses.replace(
        vector,
        sha256=hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        has_report=any(name.startswith(_REPORT) for name in names),
    )
    check_vector(vector)
    vector.vector_ld.setflags(write=False)
    return vector


def read_report(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """Read what a vector's extraction measured: arrays by name, without the `report/` that the file has before it.

    Arrays with one number per layer ([L + 1], row 0 and L mostly NaN) have names that end in `_l`.

    Raises:
        VectorError: the file is missing, or is no safetensors file.
    """
    _, tensors, _ = _read_tensors(path, lambda name: name.startswith(_REPORT))
    return {name.removeprefix(_REPORT): array for name, array in tensors.items()}


def vector_files(places: Iterable[str]) -> list[str]:
    """Return the files that are named, and those in directories that are named (sorted by name).

    Raises:
        VectorError: a place does not exist, or a directory has no vectors.
    """
    files: list[str] = []
    for place in places:
        if not Path(place).exists():
            raise VectorError(place, "no such file or directory", f"name a persona vector ({SUFFIX}) or a directory")
        if not Path(place).is_dir():
            files.append(place)
            continue
        inside = sorted(str(file) for file in Path(place).glob(f"*{SUFFIX}"))
        if not inside:
            raise VectorError(place, f"no {SUFFIX} file in this directory", "name a directory of persona vectors")
        files += inside
    return files


def load_vectors(paths: Iterable[str]) -> dict[str, PersonaVector]:
    """Read persona vectors from files and directories, by trait, in the order given (names sorted in a directory).

    Raises:
        VectorError: as `load_vector`; a directory without vectors; two files of one trait.
    """
    vectors: dict[str, PersonaVector] = {}
    for file in vector_files(paths):
        vector = load_vector(file)
        earlier = vectors.get(vector.trait)
        if earlier is not None and Path(earlier.path).resolve() != Path(file).resolve():
            raise VectorError(
                file, f"a second vector of the trait {vector.trait}; the first is {earlier.path}", "name only one"
            )
        vectors[vector.trait] = vector
    return vectors


def save_vector(path: str | Path, vector: PersonaVector, report: Mapping[str, npt.NDArray[Any]] | None = None) -> None:
    """Write a persona vector, and the arrays of its extraction report under `report/`; equal input, equal bytes.

    Raises:
        VectorError: the vector could not be used, or the place cannot be written.
    """
    check_vector(dataclasses.replace(vector, path=str(path)))
    tensors = {"vector": np.ascontiguousarray(vector.vector_ld)}
    for name, array in (report or {}).items():
        tensors[_REPORT + name] = np.ascontiguousarray(array)
    metadata = {
        "format": VECTOR_FORMAT,
        "trait": vector.trait,
        "layer": str(vector.layer),
        "layer_convention": LAYER_CONVENTION,
        "model_id": vector.model_id,
        "fingerprint": json.dumps(vector.fingerprint.to_json() if vector.fingerprint else None, sort_keys=True),
        "purpose": vector.purpose,
        "recipe": vector.recipe,
        "details": json.dumps(vector.details, sort_keys=True),
    }
    content = _canonical_bytes(serialise_tensors(tensors), metadata)
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise VectorError(str(path), f"cannot be written: {error.strerror}", "choose another place") from error


def _read_tensors(
    path: str | Path, is_wanted: Callable[[str], bool]
) -> tuple[list[str], dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Return the names of all tensors, those that are wanted, and the metadata."""
    place = str(path)
    if not Path(path).is_file():
        raise VectorError(place, "no such file", f"name a persona vector ({SUFFIX}) or a directory of them")
    try:
        with safe_open(place, framework="numpy") as file:
            names = sorted(file.keys())
            return names, {n: file.get_tensor(n) for n in names if is_wanted(n)}, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        # TypeError and AttributeError: numpy has no such type (bfloat16, float8).
        finding = f"not readable as safetensors: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise VectorError(place, finding, _CURE) from error


def _read_metadata(place: str, vector_ld: npt.NDArray[Any], metadata: dict[str, str]) -> PersonaVector:
    if "layer" not in metadata:
        raise VectorError(place, "the metadata name no scoring layer", _CURE)
    convention = metadata.get("layer_convention", LAYER_CONVENTION)
    if convention != LAYER_CONVENTION:
        # Neighbouring layers are so alike that nothing else would tell.
        finding = f"counts layers in another way ({convention!r})"
        raise VectorError(place, finding, f"here {LAYER_CONVENTION}: write the file anew in this way")
    try:
        layer = int(metadata["layer"])
        fingerprint = json.loads(metadata.get("fingerprint") or "null")
        details = json.loads(metadata.get("details") or "{}")
        if not isinstance(details, dict):
            raise TypeError("'details' is no JSON object")
        return PersonaVector(
            # A file that does not name its trait is named after it: `evil.safetensors`.
            trait=metadata.get("trait", Path(place).stem),
            vector_ld=vector_ld,
            layer=layer,
            model_id=metadata.get("model_id", ""),
            fingerprint=None if fingerprint is None else Fingerprint.from_json(fingerprint),
            purpose=metadata.get("purpose", "measure"),
            recipe=metadata.get("recipe", ""),
            details=details,
            path=place,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise VectorError(place, f"damaged metadata: {error!r}", _CURE) from error


def _canonical_bytes(content: bytes, metadata: dict[str, str]) -> bytes:
    """Put `metadata` into serialised tensors in a fixed order: safetensors itself keeps it in a random one."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    encoded = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + length :]
