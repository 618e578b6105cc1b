"""Say in a line what a benchmark ran on: figures without their machine mean nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe_machine() -> str:
    """Return processor, cores, versions and the library that multiplies matrices."""
    import torch

    from audit.model.precision import is_onednn_exact

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    flags: set[str] = set()
    if info.is_file():
        fields = [line.partition(":") for line in info.read_text().splitlines()]
        names = [value.strip() for name, _, value in fields if name.strip() == "model name"]
        cpu = names[0] if names else cpu
        flags = {flag for name, _, value in fields if name.strip() == "flags" for flag in value.split()}
    units = [name for name in ("avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    blas = "MKL" if torch.backends.mkl.is_available() else "no MKL"
    onednn = "oneDNN for float32" if is_onednn_exact() else "oneDNN not for float32"
    return (
        f"{cpu} ({', '.join(units) or 'no wide vectors'}), {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {torch.__version__} on {torch.get_num_threads()} threads, "
        f"{blas}, {onednn}"
    )
