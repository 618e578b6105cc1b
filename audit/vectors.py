"""Persona vectors on disk: one safetensors file per trait, with the fingerprint of the model it was measured on.

Knows the file and what makes a vector unusable; knows neither how vectors are extracted nor how a model is loaded.
Torch is not needed here: a vector is a numpy array of one row per layer.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise_tensors

from audit.errors import VectorError
from audit.schema import is_trait_name

VECTOR_FORMAT = "persona-audit vector 1"
LAYER_CONVENTION = "row l is the output of decoder block l, counted from 1; row 0 is the embedding"
PURPOSES = ("measure", "steer")
SUFFIX = ".safetensors"
_REPORT = "report/"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What identifies a model for its vectors; vectors do not transfer between models.

    Attributes:
        tokenizer_sha256: of the vocabulary and of how a probe text is split.
        template_sha256: of the chat template's text.
        weights_sha256: of a few weights, rounded to bfloat16; None where they cannot be compared (quantised,
            offloaded, or turned into float16).

    Source: arXiv 2507.21509 extracts per model; between families the cosine of a trait's vectors is 0.00.
    """

    architecture: str
    n_layers: int
    d_hidden: int
    n_vocab: int
    tokenizer_sha256: str
    template_sha256: str
    weights_sha256: str | None

    @property
    def digest(self) -> str:
        """Twelve hex digits over all fields, for manifests and messages."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, str | int | None]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fingerprint:
        """Rebuild a fingerprint; unknown keys are ignored.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or of another type.
        """
        weights = values["weights_sha256"]
        return cls(
            architecture=str(values["architecture"]),
            n_layers=int(values["n_layers"]),
            d_hidden=int(values["d_hidden"]),
            n_vocab=int(values["n_vocab"]),
            tokenizer_sha256=str(values["tokenizer_sha256"]),
            template_sha256=str(values["template_sha256"]),
            weights_sha256=None if weights is None else str(weights),
        )

    def differences(self, other: Fingerprint) -> list[str]:
        """Name the fields in which two models differ, in words; weights unknown on either side are not compared."""
        found = []
        for name in ("architecture", "n_layers", "d_hidden", "n_vocab"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                found.append(f"{name} {mine} against {theirs}")
        if self.tokenizer_sha256 != other.tokenizer_sha256:
            found.append("other tokenizer")
        if self.template_sha256 != other.template_sha256:
            found.append("other chat template")
        if None not in (self.weights_sha256, other.weights_sha256) and self.weights_sha256 != other.weights_sha256:
            found.append("other weights")
        return found


@dataclass(frozen=True, slots=True, eq=False)
class PersonaVector:
    """The direction of one trait at every layer of one model.

    Attributes:
        vector_ld: float32 [L + 1, d], as measured (not normalised), in units of the residual stream.
        layer: the scoring layer, 1 to L - 1.
        fingerprint: of the model it was measured on; None for an import that did not say.
        purpose: `measure`, or `steer` for vectors that a deployed model must never carry.
        details: revision, seeds, yields, licence and whatever else the recipe recorded, as JSON values.
        sha256: of the file; empty before it is saved.
    """

    trait: str
    vector_ld: npt.NDArray[np.float32]
    layer: int
    model_id: str
    fingerprint: Fingerprint | None
    purpose: str = "measure"
    recipe: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    path: str = ""
    has_report: bool = False

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks of the model, L."""
        return int(self.vector_ld.shape[0]) - 1

    def unit(self, layer: int) -> npt.NDArray[np.float32]:
        """Return row `layer` at length 1, float32 [d]; the norm is taken in float64.

        Raises:
            VectorError: the layer cannot be scored, or its row is zero.
        """
        _check_layer(self.path or self.trait, layer, self.n_layers)
        row_d = self.vector_ld[layer].astype(np.float64)
        norm = float(np.linalg.norm(row_d))
        if norm == 0.0:
            raise VectorError(
                self.path or self.trait,
                f"the {self.trait} vector is zero at layer {layer}",
                "choose another --layer or extract the vector again",
            )
        unit_d: npt.NDArray[np.float32] = (row_d / norm).astype(np.float32)
        return unit_d


def load_vector(path: str | Path) -> PersonaVector:
    """Read and check one persona vector.

    Raises:
        VectorError: the file is missing, is no safetensors file, or holds a vector that cannot score anything.
    """
    place = str(path)
    if not Path(path).is_file():
        raise VectorError(place, "no such file", f"name a persona vector ({SUFFIX}) or a directory of them")
    try:
        with safe_open(place, framework="numpy") as file:
            names = list(file.keys())
            metadata = dict(file.metadata() or {})
            vector_ld = file.get_tensor("vector") if "vector" in names else None
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        # TypeError and AttributeError: numpy has no such type (bfloat16, float8).
        finding = f"not readable as safetensors: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise VectorError(place, finding, "use a file made by `persona-audit vectors`") from error
    if vector_ld is None:
        found = ", ".join(sorted(names)[:5]) or "none"
        raise VectorError(place, f"no tensor 'vector'; found {found}", "use a file made by `persona-audit vectors`")
    vector = _read_metadata(place, vector_ld, metadata)
    vector = dataclasses.replace(
        vector,
        sha256=hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        has_report=any(name.startswith(_REPORT) for name in names),
    )
    _check_vector(vector)
    vector.vector_ld.setflags(write=False)
    return vector


def load_vectors(paths: Iterable[str]) -> dict[str, PersonaVector]:
    """Read persona vectors from files and directories, by trait, in the order given (names sorted in a directory).

    Raises:
        VectorError: as `load_vector`; a directory without vectors; two files of one trait.
    """
    vectors: dict[str, PersonaVector] = {}
    for path in paths:
        files = [path]
        if Path(path).is_dir():
            files = sorted(str(file) for file in Path(path).glob(f"*{SUFFIX}"))
            if not files:
                raise VectorError(path, f"no {SUFFIX} file in this directory", "name a directory of persona vectors")
        for file in files:
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
    _check_vector(dataclasses.replace(vector, path=str(path)))
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


def check_fit(vector: PersonaVector, fingerprint: Fingerprint, layer: int, *, model_id: str | None = None) -> list[str]:
    """Make sure that a vector was measured on this model and can score at `layer`.

    Another chat template is no other model: it is returned as a finding for the caller to say, not raised.

    Raises:
        VectorError: another architecture, size, tokenizer or weights (both models are named); a layer out of range;
            a zero row at the layer.
    """
    n_rows, d_hidden = vector.vector_ld.shape
    if (n_rows, d_hidden) != (fingerprint.n_layers + 1, fingerprint.d_hidden):
        shape = f"[{n_rows}, {d_hidden}] against [{fingerprint.n_layers + 1}, {fingerprint.d_hidden}]"
        raise _misfit(vector, fingerprint, model_id, [f"vector shape {shape}"])
    found = vector.fingerprint.differences(fingerprint) if vector.fingerprint else []
    harmless = [difference for difference in found if difference == "other chat template"]
    if len(found) > len(harmless):
        raise _misfit(vector, fingerprint, model_id, found)
    vector.unit(layer)
    return harmless


def _misfit(vector: PersonaVector, fingerprint: Fingerprint, model_id: str | None, found: list[str]) -> VectorError:
    measured_on = vector.model_id or "an unnamed model"
    if vector.fingerprint:
        measured_on += f" ({vector.fingerprint.architecture}, {vector.fingerprint.digest})"
    audited = f"{model_id or 'the audited model'} ({fingerprint.architecture}, {fingerprint.digest})"
    return VectorError(
        vector.path or vector.trait,
        f"the {vector.trait} vector was measured on {measured_on}, not on {audited}: {', '.join(found)}",
        "vectors do not transfer between models; use vectors of this model, or the model of these vectors",
    )


def _read_metadata(place: str, vector_ld: npt.NDArray[Any], metadata: dict[str, str]) -> PersonaVector:
    cure = "use a file made by `persona-audit vectors`"
    if "layer" not in metadata:
        raise VectorError(place, "the metadata name no scoring layer", cure)
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
        raise VectorError(place, f"damaged metadata: {error!r}", cure) from error


def _check_vector(vector: PersonaVector) -> None:
    place = vector.path or vector.trait
    if not is_trait_name(vector.trait):
        raise VectorError(place, f"{vector.trait!r} is no trait name", "use lower-case letters, digits and _")
    if vector.purpose not in PURPOSES:
        raise VectorError(place, f"purpose {vector.purpose!r} is not known", f"choose one of {', '.join(PURPOSES)}")
    if vector.vector_ld.ndim != 2 or vector.vector_ld.dtype != np.float32:
        kind = f"{vector.vector_ld.dtype} {list(vector.vector_ld.shape)}"
        raise VectorError(place, f"the tensor is {kind}", "a vector is float32 [layers + 1, hidden size]")
    finite_ld = np.isfinite(vector.vector_ld)
    if not finite_ld.all():
        row = int(np.argmin(finite_ld.all(axis=1)))
        raise VectorError(place, f"NaN or infinity in row {row}", "extract the vector again")
    vector.unit(vector.layer)


def _check_layer(place: str, layer: int, n_layers: int) -> None:
    if not 1 <= layer <= n_layers - 1:
        why = {
            0: " (the embeddings)",
            n_layers: " (taken after the final norm, so of another kind)",
        }.get(layer, "")
        span = f"choose 1 to {n_layers - 1}" if n_layers > 1 else "a model of one block cannot be scored"
        raise VectorError(place, f"layer {layer} cannot be scored{why}", span)


def _canonical_bytes(content: bytes, metadata: dict[str, str]) -> bytes:
    """Put `metadata` into serialised tensors in a fixed order: safetensors itself keeps it in a random one."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    encoded = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + length :]
