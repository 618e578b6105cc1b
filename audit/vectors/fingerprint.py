"""What identifies the model that a vector was measured on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
