"""How float32 matrices are multiplied on a CPU: through oneDNN where that is as exact as the default library.

oneDNN gives a row the same result whatever other rows stand beside it (from a handful of rows on), which the default
library does not; on some processors it is also faster. It is asked for by the precision `medium`, under which other
processors would round to bfloat16: so it is measured before it is used. Knows no model.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import torch

_SHAPE = (256, 512, 384)
"""Rows, width and columns of the product that is measured."""


@functools.cache
def is_onednn_exact() -> bool:
    """Tell whether `medium` multiplies float32 on this CPU with errors of float32's size."""
    n, d, v = _SHAPE
    draw = torch.Generator().manual_seed(0)
    left, right = torch.randn(n, d, generator=draw), torch.randn(v, d, generator=draw)
    exact = left.double() @ right.double().T

    def error(precision: str) -> float:
        with _precision(precision):
            product = torch.nn.functional.linear(left, right)
        return float((product.double() - exact).abs().max())

    return error("medium") <= 2 * error("highest")


def matmul_way(device: torch.device, dtype: torch.dtype) -> str:
    """Name how matrices are multiplied: `onednn`, `default`, or the type where it is no float32 on a CPU."""
    if device.type != "cpu" or dtype is not torch.float32:
        return str(dtype).removeprefix("torch.")
    return "onednn" if is_onednn_exact() else "default"


@contextlib.contextmanager
def exact_matmul(device: torch.device) -> Iterator[None]:
    """Multiply through oneDNN on a CPU on which it is exact; the setting of before comes back in any case."""
    if device.type != "cpu" or not is_onednn_exact():
        yield
        return
    with _precision("medium"):
        yield


@contextlib.contextmanager
def default_matmul(device: torch.device) -> Iterator[None]:
    """Multiply through the default library on a CPU, inside `exact_matmul`: for shapes that owe nothing to neighbours.

    oneDNN compiles and keeps code for every shape, and attention has one for every length: on short sequences that
    takes more time than the products, and hundreds of MiB.
    """
    if device.type != "cpu":
        yield
        return
    with _precision("highest"):
        yield


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
