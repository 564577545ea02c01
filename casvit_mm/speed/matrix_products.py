"""Measures how fast a device multiplies matrices, which is most of what a network computes."""

import time
from collections.abc import Callable
from functools import lru_cache

import torch
from torch.nn import functional

# Large enough to use a whole CPU, and done in hundredths of a second.
PROBE = (1024, 512, 512)
# Below this ratio, casts between the precisions cost more than the products save.
WORTHWHILE = 1.25
# Torch's names of the CPU instructions, and the compute capability that a GPU needs.
INSTRUCTIONS = {
    torch.bfloat16: (('avx512_bf16', 'amx_bf16', 'bf16'), (8, 0)),
    torch.float16: (('avx512_fp16', 'amx_fp16', 'fp16'), (7, 0)),
}


def least_seconds(
    call: Callable[[], object], device: torch.device | str, repeats: int = 25
) -> float:
    """Times a call several times and returns the shortest, which is the least disturbed.

    Args:
        call: Does the work once.
        device: The device that it runs on; a GPU is synchronised.
        repeats: Number of calls.
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
    """Measures the floating-point operations per second in a matrix product.

    Args:
        device: The device to measure.
        dtype: The precision.
        shape: Rows of the left matrix, its columns, columns of the right matrix.
    """
    rows, inner, columns = shape
    left = torch.rand(rows, inner, device=device).to(dtype)
    right = torch.rand(inner, columns, device=device).to(dtype)
    return 2 * rows * inner * columns / least_seconds(lambda: torch.mm(left, right), device)


def computes(device: torch.device | str, dtype: torch.dtype) -> bool:
    """Whether a device has instructions for a lower precision.

    Args:
        device: A CPU or a CUDA GPU; False for any other. For a CPU this needs torch 2.11 or later;
            False before.
        dtype: ``torch.bfloat16`` or ``torch.float16``.
    """
    kind = torch.device(device).type
    instructions, capability = INSTRUCTIONS[dtype]
    if kind == 'cuda':
        return torch.cuda.get_device_capability(device) >= capability
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, 'get_capabilities') else {}
    return kind == 'cpu' and any(known.get(each) for each in instructions)


@lru_cache
def works_in(device: torch.device | str, dtype: torch.dtype) -> bool:
    """Whether autocast supports a precision on a device, fast or slow.

    Versions before 2.3 do not support float16 on a CPU.

    Args:
        device: The device.
        dtype: The precision.
    """
    one = torch.ones(1, 1, 1, 1, device=device)
    try:
        with torch.autocast(torch.device(device).type, dtype):
            functional.conv2d(one, one)
    except RuntimeError:
        return False
    return True


@lru_cache
def gains_from(device: torch.device | str, dtype: torch.dtype) -> bool:
    """Whether a network is faster in a lower precision than in float32 on a device.

    GPUs with instructions for it always are. Among CPUs with such instructions, some multiply twice
    as fast and others half as fast, so a small product is timed in both precisions.

    Args:
        device: As for :func:`computes`.
        dtype: The precision.
    """
    if not computes(device, dtype):
        return False
    if torch.device(device).type == 'cuda':
        return True
    lower, full = (flops_per_second(device, each, PROBE) for each in (dtype, torch.float32))
    return lower > WORTHWHILE * full
