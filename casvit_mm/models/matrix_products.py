"""How fast a device multiplies matrices, measured: most of what a network computes is that."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

# Enough to fill a CPU, and done in hundredths of a second.
PROBE = (1024, 512, 512)
# Where the casts between the precisions cost what the products save.
WORTHWHILE = 1.25


def least_seconds(call: Callable[[], Any], device: torch.device | str, repeats: int = 25) -> float:
    """The shortest of several times that a call takes: what it takes when nobody disturbs.

    Args:
        call: Does the work once.
        device: Where; a GPU is waited for.
        repeats: How often.
    """
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        if torch.device(device).type == 'cuda':
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def flops_per_second(
    device: torch.device | str, dtype: torch.dtype, shape: tuple[int, int, int]
) -> float:
    """Multiplications and additions per second in a matrix product.

    Args:
        device: Where.
        dtype: In what.
        shape: Rows of the left matrix, its columns, columns of the right one.
    """
    rows, inner, columns = shape
    left = torch.rand(rows, inner, device=device).to(dtype)
    right = torch.rand(inner, columns, device=device).to(dtype)
    return 2 * rows * inner * columns / least_seconds(lambda: torch.mm(left, right), device)


def computes_bf16(device: torch.device | str) -> bool:
    """Whether a device has instructions for bfloat16.

    Args:
        device: A CPU or a CUDA GPU; of others nothing is known, so no. A CPU is asked by a
            function that torch has had since 2.11: before, no.
    """
    kind = torch.device(device).type
    if kind == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {}
    return kind == 'cpu' and any(known.get(each) for each in ('avx512_bf16', 'amx_bf16', 'bf16'))


@lru_cache
def gains_from_bf16(device: torch.device | str) -> bool:
    """Whether a network is faster in bfloat16 than in float32 on a device.

    GPUs that have instructions for it are. Of CPUs that have them some multiply twice as fast, and
    others half as fast, so a small product is timed in both.

    Args:
        device: As of :func:`computes_bf16`.
    """
    if not computes_bf16(device):
        return False
    if torch.device(device).type == 'cuda':
        return True
    bf16, fp32 = (flops_per_second(device, each, PROBE) for each in (torch.bfloat16, torch.float32))
    return bf16 > WORTHWHILE * fp32
