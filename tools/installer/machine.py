"""Finds Python, compiler, GPU, nvcc and cores, with messages for what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from installer.versions import LINES

WINDOWS = os.name == 'nt'
NO_COMPILER = (
    "mmcv's operators have to be compiled, but no C++ compiler was found: install one ("
    'Debian/Ubuntu: sudo apt install g++; Fedora: sudo dnf install gcc-c++; '
    'macOS: xcode-select --install; Windows: Build Tools for Visual Studio with "Desktop '
    'development with C++", then start from its prompt) and run this again.'
)
GPU_CHOICES = (
    'install the CUDA toolkit {version} (nvcc on PATH, or CUDA_HOME), use --wheels with a folder '
    'or page that has a prebuilt mmcv, or build operators for the CPU only: make setup '
    'ARGS=--cpu-ops, or python tools/install.py --cpu-ops.'
)


def python_refusal(version: tuple[int, ...], line: str = 'maintained') -> str | None:
    """The reason why a Python version cannot be used; None if it can."""
    supported = LINES[line].pythons
    if version[0] == 3 and version[1] in supported:
        return None
    return (
        f'Python {version[0]}.{version[1]} cannot be used: the {line} line needs Python '
        f'3.{supported[0]} to 3.{supported[-1]}. Install one of them and start this script with it '
        f'(python3.{supported[-1]} tools/install.py; '
        f'Windows: py -3.{supported[-1]} tools/install.py).'
    )


def other_python(line: str) -> str | None:
    """Finds a supported interpreter on PATH that starts; shims without one are skipped."""
    for minor in reversed(LINES[line].pythons):
        candidate = shutil.which(f'python3.{minor}')
        if (
            candidate
            and subprocess.run([candidate, '-c', 'import sys'], capture_output=True).returncode == 0
        ):
            return candidate
    return None


def find_compiler() -> str | None:
    """Finds the C++ compiler that the build will use."""
    names = ['cl'] if WINDOWS else [os.environ.get('CXX', ''), 'c++', 'g++', 'clang++']
    return next((found for found in (shutil.which(name) for name in names if name) if found), None)


def find_nvcc() -> Path | None:
    """Finds nvcc in the places where torch looks: CUDA_HOME, PATH, the default folder."""
    name = 'nvcc.exe' if WINDOWS else 'nvcc'
    homes = [os.environ.get(key) for key in ('CUDA_HOME', 'CUDA_PATH')]
    on_path = shutil.which('nvcc')
    places = [Path(home) / 'bin' / name for home in homes if home]
    places += [Path(on_path)] if on_path else []
    places += [Path('/usr/local/cuda/bin/nvcc')]
    return next((place for place in places if place.is_file()), None)


def nvcc_version(nvcc: Path) -> str:
    """The version that nvcc reports, such as '12.4'; empty if it reports none."""
    answer = subprocess.run([str(nvcc), '--version'], capture_output=True, text=True).stdout
    found = re.search(r'release (\d+\.\d+)', answer)
    return found.group(1) if found else ''


def gpu_present() -> bool:
    """Whether there is an NVIDIA GPU, or FORCE_CUDA=1 requests a build for one."""
    if os.environ.get('FORCE_CUDA') == '1':
        return True
    smi = shutil.which('nvidia-smi')
    if not smi:
        return False
    answer = subprocess.run([smi, '-L'], capture_output=True, text=True)
    return answer.returncode == 0 and 'GPU' in answer.stdout


def nvcc_refusal(torch_cuda: str | None) -> str | None:
    """The reason why CUDA operators cannot be compiled for this torch; None if they can.

    Args:
        torch_cuda: `torch.version.cuda`, or '' if torch is not installed yet and any nvcc will do.
    """
    if torch_cuda is None:
        return (
            'This machine has an NVIDIA GPU, but the torch in this environment is a build without '
            'CUDA: install a torch with CUDA first, or use --cpu-ops to stay on the CPU.'
        )
    nvcc, major = find_nvcc(), torch_cuda.split('.')[0]
    choices = GPU_CHOICES.format(version=f'{major}.x' if major else 'of your torch')
    if nvcc is None:
        return (
            "This machine has an NVIDIA GPU, but nvcc, which compiles mmcv's CUDA operators, "
            f'is missing: {choices}'
        )
    version = nvcc_version(nvcc)
    if major and version.split('.')[0] != major:
        return (
            f'torch was built for CUDA {torch_cuda}, but {nvcc} is CUDA {version or "unknown"}: '
            f'{choices}'
        )
    return None


def memory_gib() -> float:
    """Memory for compile jobs in GiB; 2 GiB per core if the system does not tell."""
    try:
        available = re.search(r'MemAvailable:\s+(\d+) kB', Path('/proc/meminfo').read_text())
        return int(available.group(1)) / 2**20
    except (OSError, AttributeError):
        return 2.0 * (os.cpu_count() or 1)


def compile_jobs() -> int:
    """Number of parallel compile jobs: one per core, with about 1 GiB of memory each."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    )
    return max(1, min(cores, int(memory_gib())))
