"""How fast this machine multiplies matrices, which scoring is compared with; and the clock for both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from audit.model.precision import exact_matmul
from tests.benchmarks.workload import Shape

N_ROWS = 1_024
N_REPEATS = 7


def choose_clock(device: torch.device) -> Callable[[], float]:
    """Return a clock in seconds: of the process on one thread of a CPU, of the wall on many or on an accelerator."""
    if device.type == "cuda":

        def read_cuda() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return read_cuda
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def measure_gemm(shape: Shape, dtype: torch.dtype, device: torch.device, n_rows: int = N_ROWS) -> float:
    """Return the operations per second of a model's widest product, the median of a few."""
    clock = choose_clock(device)
    rows = torch.randn(n_rows, shape.d_hidden, device=device).to(dtype)
    weight = torch.randn(shape.d_mlp, shape.d_hidden, device=device).to(dtype)
    times = []
    with torch.inference_mode(), exact_matmul(device):
        for _ in range(N_REPEATS + 1):
            began = clock()
            torch.nn.functional.linear(rows, weight)
            times.append(clock() - began)
    return 2.0 * n_rows * shape.d_hidden * shape.d_mlp / statistics.median(times[1:])
