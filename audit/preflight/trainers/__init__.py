"""The trainers, one file each; a new file with a `TRAINER` in it is found without being named here.

Knows in which order they are listed, not what they do.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from audit.errors import ConfigError
from audit.preflight.trainer import Trainer

_ORDER = ("trl", "axolotl", "llamafactory")


@functools.cache
def load_trainers() -> dict[str, Trainer]:
    """Return every trainer by name, the known ones in their usual order."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    trainers: list[Trainer] = [module.TRAINER for module in modules]
    rank = {name: position for position, name in enumerate(_ORDER)}
    trainers.sort(key=lambda trainer: (rank.get(trainer.name, len(rank)), trainer.name))
    return {trainer.name: trainer for trainer in trainers}


def choose_trainers(name: str | None) -> tuple[Trainer, ...]:
    """Return the trainer of a name, in any case, or all of them for None.

    Raises:
        ConfigError: no trainer has the name.
    """
    trainers = load_trainers()
    if name is None:
        return tuple(trainers.values())
    found = trainers.get(name.strip().lower())
    if found is None:
        raise ConfigError("--trainer", f"{name!r} is not known", f"choose one of {', '.join(trainers)}")
    return (found,)
