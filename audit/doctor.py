"""The state of an installation, as JSON values: versions, devices, caches, bundled files, what is missing.

Never holds a secret: of a token it says only whether there is one. A broken package is a finding, not a crash.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from audit import __version__
from audit.answers import cache_path
from audit.assets import demo_model_dir, demo_reference_path, demo_vectors_dir
from audit.errors import AuditError, CacheError
from audit.server import list_models

NEEDED = (
    "torch",
    "transformers",
    "safetensors",
    "numpy",
    "pyarrow",
    "polars",
    "duckdb",
    "faiss-cpu",
    "py3langid",
    "filelock",
    "click",
    "rich",
    "jinja2",
    "pyyaml",
    "datasets",
    "platformdirs",
)
OPTIONAL = {
    "peft": ("--adapter", "pip install 'persona-audit[train]'"),
    "accelerate": ("--device-map", "pip install 'persona-audit[train]'"),
    "gguf": ("control vectors (vectors import, export)", "pip install 'persona-audit[gguf]'"),
}
LEAST_FREE_BYTES = 1 << 30


def examine(server: str | None = None) -> dict[str, Any]:
    """Look around and return what was found; `problems` is empty when a scan can run.

    Args:
        server: URL of a server for `--baseline-server`, which is then asked for its models.
    """
    problems: list[dict[str, str]] = []
    packages = {name: _version(name) for name in NEEDED}
    for name, found in packages.items():
        if found is None:
            problems.append({"finding": f"{name} is not installed", "cure": f"pip install {name}"})
    torch = _examine_torch(problems)
    bundled = {
        "demo_model": demo_model_dir(),
        "demo_vectors": demo_vectors_dir(),
        "demo_reference": demo_reference_path(),
    }
    for name, path in bundled.items():
        if not path.exists():
            problems.append(
                {"finding": f"{name} is missing: {path}", "cure": "pip install --force-reinstall persona-audit"}
            )
    return {
        "persona_audit": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "packages": packages,
        "optional_packages": {name: _version(name) for name in OPTIONAL},
        "torch": torch,
        "hub": _examine_hub(),
        "answer_cache": _examine_answer_cache(),
        "disk": _examine_disk(problems),
        **({} if server is None else {"baseline_server": _examine_server(server, problems)}),
        **{name: str(path) for name, path in bundled.items()},
        "problems": problems,
        "missing_optional": [
            {"package": name, "needed_for": needed_for, "command": command}
            for name, (needed_for, command) in OPTIONAL.items()
            if _version(name) is None
        ],
    }


def examine_setup(model: str | None, vectors: tuple[str, ...]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Let a model answer questions and hold what a scan measures of its answers against what it must be.

    Args:
        model: path or hub id; None: the bundled demo model.
        vectors: files or directories; empty: those that a scan of the model would take.

    Returns:
        What was found as JSON values, and the problems.

    Raises:
        AuditError: model or vectors cannot be used.
    """
    from audit.config import ScanConfig
    from audit.directions import choose_vectors
    from audit.model.load import load_model
    from audit.nulltest import choose_questions, run_null_test

    chosen = choose_vectors(ScanConfig(datasets=("-",), model=model, vectors=vectors))
    loaded = load_model(model=model or str(demo_model_dir()))
    directions = {trait: (vector.layer, vector.vector_ld[vector.layer]) for trait, vector in chosen.items()}
    report = run_null_test(loaded, directions, choose_questions(is_demo_model=model is None))
    cure = "check the model's chat template and end-of-turn token, and report the family"
    return report.to_json(), [{"finding": finding, "cure": cure} for finding in report.findings]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _examine_torch(problems: list[dict[str, str]]) -> dict[str, Any]:
    # By name: this module must tell of a torch that cannot be imported, and must not need one.
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        problems.append(
            {"finding": f"torch cannot be imported: {error}", "cure": "pip install --force-reinstall torch"}
        )
        return {"devices": [], "threads": None, "cuda": None}
    devices = [{"device": "cpu", "name": platform.processor() or platform.machine(), "cores": os.cpu_count()}]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        gib = round(properties.total_memory / 2**30, 1)
        devices.append({"device": f"cuda:{index}", "name": properties.name, "memory_gib": gib})
    if torch.backends.mps.is_available():
        devices.append({"device": "mps", "name": "Apple GPU"})
    return {"devices": devices, "threads": torch.get_num_threads(), "cuda": torch.version.cuda}


def _examine_hub() -> dict[str, Any]:
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    token_file = Path(os.environ.get("HF_TOKEN_PATH") or home / "token").expanduser()
    return {
        "cache": str(cache),
        "cache_exists": cache.is_dir(),
        "offline": any(_is_on(os.environ.get(name)) for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
        "token_set": bool(os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"))
        or token_file.is_file(),
    }


def _examine_answer_cache() -> dict[str, Any]:
    try:
        path = cache_path()
    except CacheError as error:
        return {"path": None, "size_mib": None, "finding": str(error)}
    return {"path": str(path), "size_mib": round(path.stat().st_size / 2**20, 1) if path.is_file() else None}


def _examine_server(url: str, problems: list[dict[str, str]]) -> dict[str, Any]:
    try:
        return {"is_reachable": True, "models": list_models(url)}
    except AuditError as error:
        problems.append({"finding": f"{error.place}: {error.finding}", "cure": error.cure})
        return {"is_reachable": False, "models": []}


def _examine_disk(problems: list[dict[str, str]]) -> dict[str, Any]:
    place = os.getcwd()
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        problems.append({"finding": f"{free / 2**30:.1f} GiB free in {place}", "cure": "make room, or scan elsewhere"})
    return {"directory": place, "free_gib": round(free / 2**30, 1), "is_writable": os.access(place, os.W_OK)}


def _is_on(value: str | None) -> bool:
    return (value or "").strip().lower() in ("1", "true", "yes", "on")
