"""The record families, one file each; a new file with a `FAMILY` in it is found without being named here.

Knows in which order families are asked (that of `schema.FORMATS`), not what they look for.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from audit.samples.family import Family
from audit.schema import FORMATS


@functools.cache
def load_families() -> dict[str, Family]:
    """Return every family by name, in the order of `schema.FORMATS`."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    families: list[Family] = [module.FAMILY for module in modules]
    return {family.name: family for family in sorted(families, key=lambda family: FORMATS.index(family.name))}
