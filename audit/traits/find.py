"""Where trait specifications lie: those that come with the package, and a user's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audit.assets import demo_traits_dir, shipped_traits_dir
from audit.errors import TraitError
from audit.traits.decode import SUFFIXES
from audit.traits.layout import near_names
from audit.traits.read import read_spec
from audit.traits.spec import TraitSpec

Source = Literal["shipped", "demo"]


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A specification that comes with the package; `demo` ones are in the words of the demo model's world."""

    name: str
    path: Path
    source: Source


def find_specs() -> tuple[SpecFile, ...]:
    """Return what comes with the package, by name: shipped traits first, then those of the demo world."""
    places: tuple[tuple[Source, Path], ...] = (("shipped", shipped_traits_dir()), ("demo", demo_traits_dir()))
    return tuple(
        SpecFile(path.stem, path, source) for source, folder in places for path in sorted(folder.glob("*.toml"))
    )


def resolve_spec(name_or_path: str, *, is_demo_model: bool) -> TraitSpec:
    """Return the specification that a user names: a file of their own, else one that comes with the package.

    Args:
        name_or_path: a path has a suffix or a separator in it, a name has neither.
        is_demo_model: choose among the traits of the demo world, the only ones that the demo model can show.

    Raises:
        TraitError: there is no trait of this name, or the file cannot be used.
    """
    if Path(name_or_path).suffix.lower() in SUFFIXES or os.sep in name_or_path or "/" in name_or_path:
        return read_spec(name_or_path)
    wanted: Source = "demo" if is_demo_model else "shipped"
    found = find_specs()
    for spec_file in found:
        if (spec_file.name, spec_file.source) == (name_or_path, wanted):
            return read_spec(spec_file.path)
    names = [spec_file.name for spec_file in found if spec_file.source == wanted]
    cure = near_names(name_or_path, names) or f"there are {', '.join(names)}."
    if not is_demo_model and any(spec_file.name == name_or_path for spec_file in found):
        cure = f"{cure} The demo model alone has one of this name."
    finding = f"no trait {'of the demo model ' if is_demo_model else ''}of this name in {_folder(wanted)}"
    raise TraitError(name_or_path, finding, f"{cure} A file of your own is named with its suffix, .toml or .yaml")


def _folder(source: Source) -> Path:
    return demo_traits_dir() if source == "demo" else shipped_traits_dir()
