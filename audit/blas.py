"""Load faiss with the matrix products that the processor can do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_CORE_TYPE = "OPENBLAS_CORETYPE"
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
_CPU_FACTS = Path("/proc/cpuinfo")


def load_faiss() -> Any:
    """Import faiss.

    Its wheel for Linux brings OpenBLAS 0.3.15, which takes processors younger than 2021 for one of 2004: k-means was
    four times slower. OpenBLAS reads the processor's name once, while it is loaded; a user's own choice stays.
    """
    is_unnamed = _CORE_TYPE not in os.environ and _has_avx512()
    if is_unnamed:
        os.environ[_CORE_TYPE] = "SkylakeX"
    try:
        import faiss
    finally:
        if is_unnamed:
            del os.environ[_CORE_TYPE]
    return faiss


def _has_avx512() -> bool:
    try:
        lines = _CPU_FACTS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.split()) >= _AVX512
