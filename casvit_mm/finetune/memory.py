"""How much memory a training may use, and the largest batch that fits into it."""

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
# What a short run with a fitted batch may need of the memory, and what is aimed at. A whole run was
# seen to need a fifth more: its heap has gaps, and its processes share less and less.
AT_MOST, AIM = 0.68, 0.58
# Seconds between two looks at the memory of a run.
INTERVAL = 0.05
_CGROUPS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')

Measure = Callable[[int], int]


@dataclass(frozen=True)
class Fit:
    """A batch that fits.

    Attributes:
        batch_size: Pictures in it.
        peak: Memory that a short run with it was measured to need, in bytes.
        limit: What the process may use, in bytes.
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
    """Memory that a training may use, in bytes: of the first GPU, else of this process.

    Of the machine's memory that is what is free now, at most what its control group allows, as
    containers and clusters set it.
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
    """Finds the largest batch whose training fits.

    It needs a fixed amount and one that grows with the batch: two small batches tell both, and
    the batch that they suggest is measured itself.

    Args:
        measure: Gives the peak of a run with a batch size, in bytes; 0 where it could not finish.
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
            fits = probe if peak(probe) <= AT_MOST * limit else 1
            size = max(fits, min(int(1 + (AIM * limit - peaks[1]) // slope), largest))
            break
    while size > 1 and peak(size) > AT_MOST * limit:
        size = max(1, int(size * AIM * limit / peak(size)))
    return Fit(size, peak(size), limit)


def measure_run(config: Path | str, limit: int) -> int:
    """Peak memory of a run: a few steps and a short validation of it, watched from outside.

    On a CPU that is the memory of the process and of those that load pictures for it, what they
    share counted once; on a GPU, what torch reserved there.

    Args:
        config: The config.
        limit: What may be used, in bytes. A run that takes more is stopped.

    Returns:
        Bytes; 0 where it could not finish for want of memory.

    Raises:
        RuntimeError: It could not finish for another reason, which the message holds.
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
    # It, or a process that loads for it, was killed for its memory or told that there is no more.
    if run.returncode in (-9, 137) or any(
        said in line.lower() for line in lines for said in ('out of memory', 'killed by signal')
    ):
        return 0
    raise RuntimeError(lines[-1].strip() if lines else f'exit code {run.returncode}')


def _memory_of(run: psutil.Process) -> int:
    """What a process and its children take, in bytes; where it can be told, each page once."""
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
