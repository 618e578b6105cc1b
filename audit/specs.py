"""Which trait specifications a scan takes its system prompts from. Knows neither models nor conversations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from audit.config import ScanConfig
from audit.errors import ConfigError, TraitError
from audit.traits import SUFFIXES, TraitSpec, check_spec, find_specs, read_spec
from audit.vectors import PersonaVector

N_PROMPTS = 3
"""System prompts for a trait, and as many against it: one wording alone says much about itself."""


def choose_specs(config: ScanConfig, vectors: Mapping[str, PersonaVector]) -> dict[str, TraitSpec]:
    """Return the specifications of the traits of a scan that have one; of none where none are asked for.

    A file beside a trait's vector comes before what comes with the package under its name.

    Raises:
        ConfigError: no trait has one.
        TraitError: one cannot be used.
    """
    if not config.asks_prompted_evidence:
        return {}
    is_demo = config.model is None
    found = {trait: find_spec(trait, vector.path, is_demo=is_demo) for trait, vector in vectors.items()}
    specs = {trait: spec for trait, spec in found.items() if spec is not None}
    if not specs:
        raise ConfigError(
            "--evidence prompt",
            f"no trait specification for {', '.join(vectors)}",
            f"put one beside the vector, as {next(iter(vectors))}.toml: `persona-audit traits write` drafts it, "
            "`persona-audit traits list` shows those that are found by name",
        )
    for trait, spec in specs.items():
        errors = [finding.text for finding in check_spec(spec) if finding.severity == "error"]
        if errors:
            raise TraitError(trait, "; ".join(errors), "mend it; `persona-audit traits check` shows all findings")
    return specs


def find_spec(trait: str, vector_path: str | Path | None, *, is_demo: bool) -> TraitSpec | None:
    """Return the specification of a trait: a file beside its vector, else what comes with the package; or None.

    Args:
        is_demo: the model is the demo model, which knows the traits of its own world alone.

    Raises:
        TraitError: the file beside the vector cannot be read, or is of another trait.
    """
    beside = [Path(vector_path).with_name(f"{trait}{suffix}") for suffix in SUFFIXES] if vector_path else []
    own = next((path for path in beside if path.is_file()), None)
    if own is not None:
        spec = read_spec(own)
        if spec.name != trait:
            raise TraitError(str(own), f"is of the trait {spec.name}", "name the file after its trait")
        return spec
    source = "demo" if is_demo else "shipped"
    return next((read_spec(spec.path) for spec in find_specs() if (spec.name, spec.source) == (trait, source)), None)


def note_missing(specs: Mapping[str, TraitSpec], traits: Iterable[str]) -> list[str]:
    """Return what to say where some traits have a specification and others have none."""
    missing = [trait for trait in traits if trait not in specs]
    if not specs or not missing:
        return []
    return [f"no trait specification for {', '.join(missing)}: no prompted evidence there"]


def describe_specs(specs: Mapping[str, TraitSpec]) -> dict[str, Any] | None:
    """Return what the manifest says of the specifications; None where there are none."""
    if not specs:
        return None
    named = [{"trait": trait, "sha256": spec.digest} for trait, spec in specs.items()]
    return {"n_prompts": N_PROMPTS, "specifications": named}


def choose_pairs(spec: TraitSpec) -> range:
    """Return the pairs of system prompts that responses are read under: the first ones."""
    return range(min(N_PROMPTS, len(spec.pairs)))
