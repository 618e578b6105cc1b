"""What a vector's file records beside trait, layer, model and recipe, under names that readers can rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit import __version__


def collect_details(
    *,
    specification: str = "",
    revision: str | None = None,
    seeds: Mapping[str, int] | None = None,
    yields: Mapping[str, Any] | None = None,
    licence: str = "",
    **recorded: Any,
) -> dict[str, Any]:
    """Return the details of a vector as JSON values; what is not known is left out.

    Args:
        specification: digest of the trait specification, see `audit.traits.TraitSpec.digest`.
        revision: of the model, where it came from a hub.
        seeds: by what they seed.
        yields: how many rollouts there were and how many each filter left.
        licence: of the vector, as an SPDX identifier.
        recorded: whatever else the recipe tells.
    """
    details = {
        "specification_sha256": specification,
        "revision": revision,
        "seeds": dict(seeds or {}),
        "yields": dict(yields or {}),
        "licence": licence,
        "tool_version": __version__,
        **recorded,
    }
    return {name: value for name, value in details.items() if value not in (None, "", {})}
