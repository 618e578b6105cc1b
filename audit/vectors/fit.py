"""Whether a vector fits a model: vectors do not transfer between models."""

from __future__ import annotations

from audit.errors import VectorError
from audit.vectors.fingerprint import Fingerprint
from audit.vectors.vector import PersonaVector

_OTHER_TEMPLATE = "other chat template"


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
    harmless = [difference for difference in found if difference == _OTHER_TEMPLATE]
    if len(found) > len(harmless):
        raise _misfit(vector, fingerprint, model_id, found)
    vector.unit(layer)
    return harmless


def is_same_model(one: Fingerprint, other: Fingerprint) -> bool:
    """Tell whether vectors of one are vectors of the other; a chat template makes no other model."""
    return set(one.differences(other)) <= {_OTHER_TEMPLATE}


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
