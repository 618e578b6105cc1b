"""The user's vectors, by the model that they belong to: `<folder>/<fingerprint>/<trait>.safetensors`.

Scans find them by the fingerprint of the model that they audit. Files are copies, readable by their owner only. Knows
fingerprints, not how a model comes by one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from audit.errors import ConfigError, VectorError
from audit.vectors.file import SUFFIX, load_vector
from audit.vectors.fingerprint import Fingerprint
from audit.vectors.fit import is_same_model
from audit.vectors.vector import PersonaVector

CACHE_VARIABLE = "PERSONA_AUDIT_VECTORS"


@dataclass(frozen=True, slots=True)
class Added:
    """A vector that was put into the cache; `state` is `added`, `replaced` or `unchanged`."""

    vector: PersonaVector
    path: Path
    state: str


def vectors_folder() -> Path:
    """Return the folder of the user's vectors, whether or not it is there.

    Raises:
        ConfigError: the user has no home directory.
    """
    named = os.environ.get(CACHE_VARIABLE)
    try:
        if named:
            return Path(named).expanduser().absolute()
        return platformdirs.user_data_path("persona-audit", appauthor=False) / "vectors"
    except RuntimeError as error:
        raise ConfigError(
            "the vector cache", f"has no place: {error}", f"name a directory in {CACHE_VARIABLE}"
        ) from error


def add_vectors(files: Sequence[str], *, overwrite: bool = False) -> list[Added]:
    """Copy vectors into the cache, each under its model and trait; none where one of them is refused.

    Raises:
        VectorError: a file that cannot be used, says no model, or differs from the vector of that trait in the cache.
        ConfigError: the cache cannot be written.
    """
    planned = [_plan_addition(file, overwrite=overwrite) for file in files]
    targets = [added.path for added in planned]
    for added in planned:
        if targets.count(added.path) > 1:
            finding = f"a second vector of the trait {added.vector.trait} for the same model"
            raise VectorError(added.vector.path, finding, "name only one")
    for added in planned:
        if added.state != "unchanged":
            _copy(Path(added.vector.path), added.path)
    return planned


def list_cached() -> list[str]:
    """Return the files in the cache, by model and trait."""
    return sorted(str(path) for path in vectors_folder().glob(f"*/*{SUFFIX}"))


def find_cached(fingerprint: Fingerprint) -> list[str]:
    """Return the files of a model's vectors; if there are none, those that fit it though its fingerprint is another.

    Those were measured with another chat template, or the weights of one of the models are not known.

    Raises:
        VectorError: of the latter there are several folders.
    """
    own = _files(vectors_folder() / fingerprint.digest)
    if own:
        return own
    folders = {Path(path).parent for path in list_cached()}
    found = [_files(folder) for folder in sorted(folders) if _belongs(folder, fingerprint)]
    if len(found) > 1:
        names = ", ".join(str(Path(files[0]).parent) for files in found)
        raise VectorError(
            str(vectors_folder()),
            f"several folders have vectors that fit this model: {names}",
            "name one of them with --vectors",
        )
    return found[0] if found else []


def _belongs(folder: Path, fingerprint: Fingerprint) -> bool:
    for path in _files(folder):
        try:
            measured_on = load_vector(path).fingerprint
        except VectorError:
            continue
        return measured_on is not None and is_same_model(measured_on, fingerprint)
    return False


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.glob(f"*{SUFFIX}"))


def _plan_addition(file: str, *, overwrite: bool) -> Added:
    vector = load_vector(file)
    if vector.fingerprint is None:
        finding = "does not say which model it was measured on, so that no scan would find it"
        raise VectorError(
            file, finding, "`vectors import` writes it anew with --model; or name the file with --vectors"
        )
    target = vectors_folder() / vector.fingerprint.digest / f"{vector.trait}{SUFFIX}"
    if not target.exists():
        return Added(vector, target, "added")
    if target.read_bytes() == Path(file).read_bytes():
        return Added(vector, target, "unchanged")
    if not overwrite:
        finding = f"differs from the {vector.trait} vector of this model that is in the cache: {target}"
        raise VectorError(file, finding, "`vectors show` shows both; replace it with --force")
    return Added(vector, target, "replaced")


def _copy(source: Path, target: Path) -> None:
    unfinished = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        vectors_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            handle = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with open(handle, "wb") as file:
                file.write(source.read_bytes())
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        finding = f"cannot be written: {error.strerror}"
        raise ConfigError(str(target), finding, f"name another directory in {CACHE_VARIABLE}") from error
