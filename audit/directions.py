"""Which persona vectors a scan takes, and the direction that each trait is scored along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.assets import demo_vectors_dir
from audit.config import ScanConfig
from audit.errors import ConfigError, VectorError
from audit.model.load import load_model
from audit.vectors import (
    Orthogonal,
    PersonaVector,
    find_cached,
    list_cached,
    load_vectors,
    orthogonalise,
    vectors_folder,
)


def choose_vectors(config: ScanConfig) -> dict[str, PersonaVector]:
    """Return the persona vectors of a scan by trait, in the order of `--traits` where it is given.

    Raises:
        VectorError: no vector for the model or for a trait that was asked for, or a file that cannot be used.
        ConfigError: one trait alone is to be orthogonal to the others.
        ModelError: the model has to be known for its vectors to be found, and cannot be loaded.
    """
    vectors = load_vectors(_find_vectors(config))
    for trait in vectors:
        if f"{trait}_mean" in vectors:
            raise VectorError(
                vectors[f"{trait}_mean"].path,
                f"the trait {trait}_mean would be a second column of that name beside the trait {trait}",
                "rename one of the traits",
            )
    missing = [trait for trait in config.traits if trait not in vectors]
    if missing:
        raise VectorError("--traits", f"no vector for {missing[0]}", f"there are vectors for {', '.join(vectors)}")
    chosen = {trait: vectors[trait] for trait in (config.traits or vectors)}
    if config.orthogonal and len(chosen) == 1:
        raise ConfigError("--orthogonal", f"there is no other trait than {next(iter(chosen))}", "choose two or more")
    return chosen


def _find_vectors(config: ScanConfig) -> Sequence[str]:
    if config.vectors:
        return config.vectors
    if config.model is None:
        return [str(demo_vectors_dir())]
    found: list[str] = []
    if list_cached():
        # One block tells which model it is; in float16 its weights could not be compared.
        model = load_model(model=config.model, revision=config.revision, device="cpu", n_blocks=1)
        found = find_cached(model.fingerprint)
    if not found:
        raise VectorError(
            "--vectors",
            f"no persona vectors given for {config.model}, and none of it in the user's cache ({vectors_folder()})",
            "pass --vectors FILE; or extract them with `vectors extract` and keep them with `vectors add`",
        )
    return found


def part_traits(config: ScanConfig, vectors: Mapping[str, PersonaVector]) -> dict[str, Orthogonal]:
    """Return what each trait has for itself at its scoring layer; the vectors are known to fit one model.

    Raises:
        VectorError: a trait has nothing for itself, or a vector is zero where another trait is scored.
    """
    return orthogonalise(vectors, {trait: config.layer or vector.layer for trait, vector in vectors.items()})
