"""Measures the memory of training runs, and finds the largest batch that fits."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import psutil
import torch

GIB = 2**30
# The share of the memory that a short run may need, and the share to aim for. Full runs needed up
# to a fifth more: their heap has gaps, and their processes share less and less memory.
AT_MOST, AIM = 0.68, 0.58
# Seconds between two measurements of a run.
INTERVAL = 0.05
_CGROUPS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')

Measure = Callable[[int], int]


@dataclass(frozen=True)
class Fit:
    """A batch that fits.

    Attributes:
        batch_size: Number of images in it.
        peak: Peak memory of a short run with this batch, in bytes.
        limit: Memory that may be used, in bytes.
    """

    batch_size: int
    peak: int
    limit: int

    def __str__(self) -> str:
        return (
            f'Batch size {self.batch_size}: a short run needs {self.peak / GIB:.1f} of '
            f'{self.limit / GIB:.1f} GiB ({100 * self.peak / self.limit:.0f} %).'
        )


def usable_memory() -> int:
    """Memory that training may use, in bytes: of the first GPU, or of the machine without one.

    Of the machine's memory, that is what is free now, and no more than its control group allows, by
    which containers and clusters limit it.
    """
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return free
    limits = [psutil.virtual_memory().available]
    for file in _CGROUPS:
        with suppress(OSError, ValueError):
            limits.append(int(Path(file).read_text()))
    return min(limits)


def fit_batch(measure: Measure, limit: int, largest: int) -> Fit | None:
    """Finds the largest batch that fits into memory.

    Training needs a fixed amount of memory and an amount that grows with the batch. Two small
    batches give an estimate of both, and the batch size that follows from them is measured too.

    Args:
        measure: Returns the peak of a run with a batch size, in bytes; 0 if it ran out of memory.
        limit: Memory that may be used, in bytes.
        largest: The largest batch size allowed.

    Returns:
        The batch; None if not even one image fits.
    """
    peaks: dict[int, int] = {}

    def peak(size: int) -> int:
        if size not in peaks:
            # A run that ran out of memory needs more than the limit; how much more is unknown.
            peaks[size] = measure(size) or 2 * limit
        return peaks[size]

    if peak(1) > AT_MOST * limit:
        return None
    size = 1
    for probe in (4, 2):
        if probe <= largest and peak(probe) <= limit:
            slope = max((peaks[probe] - peaks[1]) / (probe - 1), 1.0)
            fits = probe if peak(probe) <= AT_MOST * limit else 1
            size = max(fits, min(int(1 + (AIM * limit - peaks[1]) // slope), largest))
            break
    while size > 1 and peak(size) > AT_MOST * limit:
        size = max(1, int(size * AIM * limit / peak(size)))
    return Fit(size, peak(size), limit)


def measure_run(config: Path | str, limit: int) -> int:
    """Measures the peak memory of a few training steps and a short validation.

    They run in a process of their own. On a CPU, its memory and that of the processes that load
    images for it count, with shared memory counted once; on a GPU, what torch reserved there.

    Args:
        config: The config.
        limit: Memory that may be used, in bytes. On a CPU, a run that takes more is stopped.

    Returns:
        The peak in bytes; 0 if the run ran out of memory.

    Raises:
        RuntimeError: The run failed for another reason, which is the message.
    """
    on_gpu = torch.cuda.is_available()
    command = [sys.executable, '-m', 'casvit_mm.finetune.trial', str(config)]
    with TemporaryFile('w+') as output, TemporaryFile('w+') as errors:
        run = psutil.Popen(command, stdout=output, stderr=errors)
        peak = 0
        try:
            while run.poll() is None:
                peak = max(peak, _memory_of(run))
                if peak > limit and not on_gpu:
                    return 0
                time.sleep(INTERVAL)
        finally:
            _end(run)
        output.seek(0)
        errors.seek(0)
        lines = [line for line in errors if line.strip()]
        if run.returncode == 0:
            return json.loads(output.readlines()[-1])['gpu'] if on_gpu else peak
    # The run or a process that loads images for it ran out of memory, or was killed for it.
    if run.returncode in (-9, 137) or any(
        said in line.lower() for line in lines for said in ('out of memory', 'killed by signal')
    ):
        return 0
    raise RuntimeError(lines[-1].strip() if lines else f'exit code {run.returncode}')


def _memory_of(run: psutil.Process) -> int:
    """Memory of a process and its children, in bytes; shared pages count once if known."""
    total = 0
    for process in _tree(run):
        try:
            memory = process.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(memory, 'pss', memory.uss)
    return total


def _tree(run: psutil.Process) -> list[psutil.Process]:
    try:
        return [run, *run.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _end(run: psutil.Popen) -> None:
    for process in _tree(run):
        with suppress(psutil.Error):
            process.kill()
    run.wait()
