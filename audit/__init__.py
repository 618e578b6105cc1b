"""persona-audit: find the samples of a fine-tuning dataset that would change a model's character.

Importing this package is cheap: torch, transformers and duckdb are loaded when a scan or a run is opened.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.config import ScanConfig
    from audit.estimate import estimate_scan
    from audit.run import Run, open_run, scan

try:
    __version__ = version("persona-audit")
except PackageNotFoundError:  # a checkout that nobody has installed
    __version__ = "0.0.0"

__all__ = ["Run", "ScanConfig", "__version__", "estimate_scan", "open_run", "scan"]

_HOMES = {
    "Run": "audit.run",
    "ScanConfig": "audit.config",
    "estimate_scan": "audit.estimate",
    "open_run": "audit.run",
    "scan": "audit.run",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'audit' has no attribute {name!r}")
