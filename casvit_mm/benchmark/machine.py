"""Describes the machine that a benchmark runs on, and measures its limits."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any, TypedDict

import torch

from casvit_mm.speed.dense_parts import PRECISIONS
from casvit_mm.speed.matrix_products import computes, flops_per_second, least_seconds

PACKAGES = ('torch', 'onedl-mmengine', 'mmengine', 'onedl-mmcv', 'mmcv', 'numpy', 'timm')
RUNTIMES = ('onnxruntime', 'openvino', 'ncnn', 'executorch')
COPIED = 256 * 1024**2
GEMM = (4096, 1024, 1024)


class Limits(TypedDict):
    """The upper limits of a machine.

    Attributes:
        copy_bytes_per_second: Rate of a large copy, read and written bytes together.
        gemm_flops_per_second: Rate of a large matrix product, by precision: fp32, and bf16 if the
            device has instructions for it.
    """

    copy_bytes_per_second: float
    gemm_flops_per_second: dict[str, float]


def describe(device: str, threads: int) -> dict[str, Any]:
    """Describes the machine and the installed versions.

    Args:
        device: The device to measure on.
        threads: Threads of each process.

    Returns:
        Names, versions, and the CPU instruction set that torch uses.
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
    for package in (*PACKAGES, *RUNTIMES):
        try:
            facts['versions'][package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if device.startswith('cuda'):
        facts['gpu'] = torch.cuda.get_device_name(device)
    return facts


def processor() -> str:
    """Name of the CPU, on Linux with the number of its model.

    Virtual machines give CPUs of different speed the same name; the number tells them apart.
    """
    file = Path('/proc/cpuinfo')
    first, *_ = file.read_text().split('\n\n') if file.exists() else ['']
    pairs = (line.partition(':') for line in first.splitlines())
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    if name := facts.get('model name'):
        return f'{name} (model {facts["model"]})' if 'model' in facts else name
    return platform.processor() or platform.machine()


def limits(device: str) -> Limits:
    """Measures the upper limits of the machine: a large copy and a large matrix product.

    The fastest of several trials counts, which is the least disturbed.

    Args:
        device: The device to measure.
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
