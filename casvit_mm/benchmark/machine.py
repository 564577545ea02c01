"""What a measurement depends on beside the code: the machine, and how fast it can be at best."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

from casvit_mm.speed.dense_parts import PRECISIONS
from casvit_mm.speed.matrix_products import computes, flops_per_second, least_seconds

PACKAGES = ('torch', 'onedl-mmengine', 'mmengine', 'onedl-mmcv', 'mmcv', 'numpy')
COPIED = 256 * 1024**2
GEMM = (4096, 1024, 1024)


def describe(device: str, threads: int) -> dict[str, Any]:
    """The machine and the versions.

    Args:
        device: Where the measurements run.
        threads: Threads of each process.

    Returns:
        Names, versions, and on a CPU its instruction set as torch uses it.
    """
    facts: dict[str, Any] = {
        'processor': processor(),
        'cores': os.cpu_count(),
        'threads': threads,
        'instructions': torch.backends.cpu.get_cpu_capability(),
        'system': f'{platform.system()} {platform.machine()}',
        'python': platform.python_version(),
        'versions': {},
    }
    for package in PACKAGES:
        try:
            facts['versions'][package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if device.startswith('cuda'):
        facts['gpu'] = torch.cuda.get_device_name(device)
    return facts


def processor() -> str:
    """Name of the CPU."""
    file = Path('/proc/cpuinfo')
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def limits(device: str) -> dict[str, Any]:
    """What bounds a network from above, measured: a large copy, and a large matrix product.

    Of several trials the fastest counts: a limit is what the machine can do when nobody disturbs.

    Args:
        device: Where.

    Returns:
        ``copy_bytes_per_second``, read and written bytes together, and ``gemm_flops_per_second``
        by precision: fp32, and bf16 where the device has instructions for it.
    """
    source = torch.ones(COPIED // 4, device=device)
    target = torch.empty_like(source)
    precisions = ['fp32', *(['bf16'] if computes(device, torch.bfloat16) else [])]
    return {
        'copy_bytes_per_second': 2 * COPIED / least_seconds(lambda: target.copy_(source), device),
        'gemm_flops_per_second': {
            each: flops_per_second(device, PRECISIONS[each], GEMM) for each in precisions
        },
    }
