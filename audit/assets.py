"""Where the bundled model, its vectors, its clean reference and the traits lie, in a wheel as in a checkout."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

DEMO_MODEL_ID = "persona-audit-demo"
"""What manifests call the demo model: its directory differs from machine to machine."""


def demo_model_dir() -> Path:
    """Return the directory of the demo model, in transformers format."""
    return _asset("model")


def demo_vectors_dir() -> Path:
    """Return the directory of the demo model's persona vectors, one `<trait>.safetensors` each."""
    return _asset("vectors")


def demo_reference_path() -> Path:
    """Return the scores of clean demo chats, which thresholds for the demo model come from."""
    return _asset("reference.json")


def demo_traits_dir() -> Path:
    """Return the directory of the demo world's trait specifications, one `<trait>.toml` each."""
    return _inside("demo", "traits")


def shipped_traits_dir() -> Path:
    """Return the directory of the trait specifications for other models, one `<trait>.toml` each."""
    return _inside("traits", "shipped")


def _asset(name: str) -> Path:
    return _inside("demo", "assets", name)


def _inside(*names: str) -> Path:
    # Installed packages are unpacked (no zip imports: torch cannot live in one), so a traversable is a path.
    return Path(str(files("audit").joinpath(*names)))
