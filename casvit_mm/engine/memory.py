"""How much memory a training may use, and the largest batch that fits into it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

GIB = 2**30
# What a step of a fitted batch may need of the memory, and what is aimed at.
AT_MOST, AIM = 0.85, 0.72
_CGROUPS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')

Measure = Callable[[int], int]


@dataclass(frozen=True)
class Fit:
    """A batch that fits.

    Attributes:
        batch_size: Pictures in it.
        peak: Memory that a training step of it was measured to need, in bytes.
        limit: What the process may use, in bytes.
    """

    batch_size: int
    peak: int
    limit: int

    def __str__(self) -> str:
        return (
            f'Batch size {self.batch_size}: a step needs {self.peak / GIB:.1f} of '
            f'{self.limit / GIB:.1f} GiB ({100 * self.peak / self.limit:.0f} %).'
        )


def usable_memory() -> int:
    """Memory that a training may use, in bytes: of the first GPU, else of this process.

    Of the machine's memory that is what is free now, at most what its control group allows, as
    containers and clusters set it.
    """
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return free
    limits = []
    for file in _CGROUPS:
        try:
            limits.append(int(Path(file).read_text()))
        except (OSError, ValueError):
            continue
    try:
        for line in Path('/proc/meminfo').read_text().splitlines():
            if line.startswith('MemAvailable:'):
                limits.append(int(line.split()[1]) * 1024)
    except OSError:
        if hasattr(os, 'sysconf') and 'SC_PHYS_PAGES' in os.sysconf_names:
            limits.append(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2)
    return min(limits, default=4 * GIB)


def fit_batch(measure: Measure, limit: int, largest: int) -> Fit | None:
    """Finds the largest batch whose training step fits.

    A step needs a fixed amount and one that grows with the batch: two small batches tell both, and
    the batch that they suggest is measured itself.

    Args:
        measure: Gives the peak of a step of a batch size, in bytes; 0 where it could not finish.
        limit: What may be used, in bytes.
        largest: Batch size that is not to be exceeded.

    Returns:
        The batch; None where not even one picture fits.
    """
    peaks: dict[int, int] = {}

    def peak(size: int) -> int:
        if size not in peaks:
            # What could not finish needs more than there is; how much more is not known.
            peaks[size] = measure(size) or 2 * limit
        return peaks[size]

    if peak(1) > AT_MOST * limit:
        return None
    size = 1
    for probe in (4, 2):
        if probe <= largest and peak(probe) <= limit:
            slope = max((peaks[probe] - peaks[1]) / (probe - 1), 1.0)
            size = max(1, min(int(1 + (AIM * limit - peaks[1]) // slope), largest))
            break
    while size > 1 and peak(size) > AT_MOST * limit:
        size = max(1, int(size * AIM * limit / peak(size)))
    return Fit(size, peak(size), limit)


def measure_step(config: Path | str, batch_size: int) -> int:
    """Peak memory of a training step, measured in a process of its own.

    Args:
        config: The config.
        batch_size: Pictures in a batch.

    Returns:
        Bytes; 0 where the step could not finish for want of memory.

    Raises:
        RuntimeError: It could not finish for another reason, which the message holds.
    """
    command = [sys.executable, '-m', 'casvit_mm.engine.step', str(config), str(batch_size)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return int(json.loads(done.stdout.splitlines()[-1])['peak'])
    # Killed for its memory, or told that there is no more.
    if done.returncode in (-9, 137) or 'out of memory' in done.stderr.lower():
        return 0
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    raise RuntimeError(lines[-1] if lines else f'exit code {done.returncode}')
