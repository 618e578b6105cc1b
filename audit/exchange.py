"""Vectors of other tools brought in, and vectors given to other tools.

Knows which reader a file takes and which model it is for; knows nothing of scans.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from audit.errors import ConfigError, VectorError
from audit.model.foreign import name_model_type, read_pt, read_safetensors, write_pt
from audit.model.load import load_model
from audit.schema import is_trait_name
from audit.store import replacing
from audit.vectors import PURPOSES, PersonaVector, check_fit, collect_details, load_vector
from audit.vectors.control_vector import FIRST_ROW, list_directions, read_control_vector, write_control_vector
from audit.vectors.foreign import check_rows, choose_rows, identify_file, read_npy

EXPORT_FORMATS = ("pt", "gguf")
_READERS = {"pt": read_pt, "npy": read_npy, "safetensors": read_safetensors}


def import_vector(
    file: str | Path,
    *,
    trait: str,
    model: str,
    layer: int | None,
    revision: str | None = None,
    purpose: str = "measure",
    licence: str = "",
) -> PersonaVector:
    """Read a vector that another tool made: `.pt`, `.gguf`, `.npy` or plain `.safetensors`.

    A `[L + 1, d]` tensor is taken as it is, in float32; one of `[d]` becomes the row of `layer`, and all others zero.
    It has no report: nothing says how well it separates.

    Args:
        model: path or hub id of the model that it was measured on; its shape must fit, and its fingerprint is stored.
        layer: the scoring layer, which foreign files do not name; None is refused.

    Raises:
        VectorError: the file is not what it seems, would run code, or holds no vector of this model's shape.
        ConfigError: a trait, purpose or layer that cannot be.
        ModelError: the model cannot be loaded.
    """
    path, place = Path(file), str(file)
    if not is_trait_name(trait):
        raise ConfigError("--trait", f"{trait!r} is no trait name", "use lower-case letters, digits and _")
    if purpose not in PURPOSES:
        raise ConfigError("--purpose", f"{purpose!r} is not known", f"choose one of {', '.join(PURPOSES)}")
    kind = identify_file(path)
    # Read before the model is loaded, which takes longer.
    tensors = _READERS[kind](path) if kind in _READERS else []
    fingerprint = load_model(model=model, revision=revision, device="cpu", n_blocks=1).fingerprint
    n_layers, d_hidden = fingerprint.n_layers, fingerprint.d_hidden
    if layer is None:
        finding = "does not say at which layer it scores"
        raise VectorError(place, finding, f"name it with --layer, 1 to {n_layers - 1}: the layer it was made for")
    if kind == "gguf":
        vector_ld = read_control_vector(path, n_layers=n_layers, d_hidden=d_hidden)
    else:
        vector_ld = choose_rows(place, tensors, n_layers=n_layers, d_hidden=d_hidden, layer=layer)
    if 1 <= layer < n_layers:
        check_rows(place, vector_ld, layer)
    vector = PersonaVector(
        trait=trait,
        vector_ld=vector_ld,
        layer=layer,
        model_id=model,
        fingerprint=fingerprint,
        purpose=purpose,
        recipe=f"imported from {kind}",
        details=collect_details(
            revision=revision,
            licence=licence,
            source=path.name,
            source_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        ),
        path=place,
    )
    check_fit(vector, fingerprint, layer, model_id=model)
    return dataclasses.replace(vector, path="")


def export_vector(file: str | Path, *, to: str, output: str | Path | None = None, overwrite: bool = False) -> Path:
    """Write a vector for other tools and return where: `pt` ([L + 1, d], float32) or `gguf` (a control vector).

    Raises:
        VectorError: the file is no vector, is one to measure with, or has no place in the format.
        ConfigError: the format is not known, there is a file already, or nothing can be written there.
    """
    if to not in EXPORT_FORMATS:
        raise ConfigError("--to", f"{to!r} is not known", f"choose one of {', '.join(EXPORT_FORMATS)}")
    vector = load_vector(file)
    if vector.purpose != "steer":
        raise VectorError(
            str(file),
            f"is a vector to {vector.purpose} with, and other tools would add it to a model: "
            "one that reaches a deployed model by accident changes its character",
            "if that is what you want, extract or import it again with --purpose steer",
        )
    target = Path(output) if output is not None else Path(file).with_suffix(f".{to}")
    refuse_existing(target, overwrite=overwrite)
    directions = list_directions(vector.vector_ld)
    if to == "gguf" and vector.layer - 1 not in directions:
        finding = f"its layer is {vector.layer}, and a GGUF control vector begins at layer {FIRST_ROW}"
        raise VectorError(str(file), finding, "llama.cpp takes no direction.0; use --to pt")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as unfinished:
            if to == "pt":
                write_pt(unfinished, vector.vector_ld)
            else:
                known = name_model_type(vector.fingerprint.architecture) if vector.fingerprint else None
                write_control_vector(unfinished, directions, model_hint=known or vector.model_id or "unknown")
    except OSError as error:
        raise ConfigError(str(target), f"cannot be written: {error.strerror}", "choose another --output") from error
    return target


def refuse_existing(target: Path, *, overwrite: bool) -> None:
    """Refuse to write over a file that is there.

    Raises:
        ConfigError: there is one, and nobody said that it may go.
    """
    if not overwrite and target.exists():
        raise ConfigError(str(target), "there is a file already", "choose another --output, or write over it: --force")
