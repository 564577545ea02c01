"""Measures the memory and time of training runs, and finds the largest batch that fits."""

import json
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryFile
from threading import Thread
from types import TracebackType
from typing import IO

import psutil
import torch

GIB = 2**30
# The share of the memory that a short run may need, and the share to aim for. Full runs needed up
# to a fifth more: their heap has gaps, and their processes share less and less memory.
AT_MOST, AIM = 0.68, 0.58
# Seconds between two looks at the memory of a run.
INTERVAL = 0.25
_CGROUPS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')

OWN_ERROR = re.compile(r'^casvit\w*\.[\w.]+: ')

Measure = Callable[[int], int]


@dataclass(frozen=True)
class Measured:
    """What a short run took.

    Attributes:
        batch_size: Images per batch.
        peak: Its peak memory in bytes.
        seconds: Time of a training step.
        val_seconds: Time of an image in the validation.
    """

    batch_size: int
    peak: int
    seconds: float
    val_seconds: float


@dataclass(frozen=True)
class Fit:
    """A batch that fits.

    Attributes:
        batch_size: Number of images in it.
        peak: Peak memory of a short run with this batch, in bytes.
        limit: Memory that may be used, in bytes.
        measured: Whether a run was measured with this batch; else the peak follows from others.
    """

    batch_size: int
    peak: int
    limit: int
    measured: bool = True

    def __str__(self) -> str:
        return (
            f'Batch size {self.batch_size}: a short run needs '
            f'{"" if self.measured else "at most "}{self.peak / GIB:.1f} of '
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


def fit_batch(
    measure: Measure,
    limit: int,
    largest: int,
    smallest: int = 1,
    affordable: Callable[[int], bool] = lambda size: True,
) -> Fit | None:
    """Finds the largest batch that fits into memory.

    Training needs a fixed amount of memory and an amount that grows with the batch. Two small
    batches give an estimate of both, and the batch size that follows from them is measured too.

    Args:
        measure: Returns the peak of a run with a batch size, in bytes; 0 if it ran out of memory.
        limit: Memory that may be used, in bytes.
        largest: The largest batch size allowed.
        smallest: The smallest batch size that can be trained.
        affordable: Whether there is time to measure a batch size. If not, it is chosen only if it
            fits even without a fixed amount.

    Returns:
        The batch; None if not even the smallest one fits.
    """
    peaks: dict[int, int] = {}

    def peak(size: int) -> int:
        if size not in peaks:
            # A run that ran out of memory needs more than the limit; how much more is unknown.
            peaks[size] = measure(size) or 2 * limit
        return peaks[size]

    def fits_anyhow(size: int) -> bool:
        return size / smallest * peaks[smallest] <= AIM * limit

    if peak(smallest) > AT_MOST * limit:
        return None
    size = smallest
    probes = [probe for probe in (4, 2) if smallest < probe <= largest]
    for probe in probes or [largest] * (largest > smallest):
        if not affordable(probe):
            if fits_anyhow(probe):
                return Fit(probe, probe * peaks[smallest] // smallest, limit, measured=False)
        elif peak(probe) <= limit:
            slope = max((peaks[probe] - peaks[smallest]) / (probe - smallest), 1.0)
            fits = probe if peak(probe) <= AT_MOST * limit else smallest
            room = int(smallest + (AIM * limit - peaks[smallest]) // slope)
            size = max(fits, min(room, largest))
            break
    if size not in peaks and not affordable(size):
        size = max(known for known in peaks if peaks[known] <= AT_MOST * limit)
    while size > smallest and peak(size) > AT_MOST * limit:
        size = max(smallest, int(size * AIM * limit / peak(size)))
    return Fit(size, peak(size), limit)


class Trials:
    """A process that runs a few training steps and a short validation for each batch size.

    On a CPU, its memory and that of the processes that load images for it count; on a GPU, what
    torch reserved there.

    Args:
        config: The config.
        limit: Memory that may be used, in bytes. On a CPU, a run that takes more is stopped.
    """

    def __init__(self, config: Path | str, limit: int) -> None:
        self.config, self.limit = str(config), limit
        self._run: psutil.Popen | None = None
        self._files = ExitStack()
        self._errors: IO[str]
        self._answers: SimpleQueue[str] = SimpleQueue()
        # The peak of a process never falls: smaller batches need a new one.
        self._largest = 0

    def __enter__(self) -> 'Trials':
        self._errors = self._files.enter_context(TemporaryFile('w+'))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        self._files.close()

    def measure(self, batch_size: int) -> Measured | None:
        """Measures a batch size.

        Args:
            batch_size: Images per batch.

        Returns:
            What it took; None if it ran out of memory.

        Raises:
            RuntimeError: The run failed for another reason, which is the message.
        """
        if batch_size < self._largest:
            self._end()
        run = self._run or self._started()
        self._largest = batch_size
        try:
            run.stdin.write(f'{batch_size}\n')
            run.stdin.flush()
            answer = self._answer(run)
        except BrokenPipeError:
            answer = ''
        except MemoryError:
            self._end()
            return None
        if answer:
            measured = Measured(batch_size, **json.loads(answer))
            return measured if measured.peak else None
        reason = self._reason(run)
        self._end()
        if reason:
            raise RuntimeError(reason)
        return None

    def _started(self) -> psutil.Popen:
        command = [sys.executable, '-m', 'casvit_mm.finetune.trial', self.config]
        pipe = psutil.subprocess.PIPE
        self._errors.seek(0)
        self._errors.truncate()
        self._run = psutil.Popen(command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True)
        self._answers = SimpleQueue()
        Thread(target=_read, args=(self._run.stdout, self._answers), daemon=True).start()
        return self._run

    def _answer(self, run: psutil.Popen) -> str:
        """Its next answer; empty if it ended without one. MemoryError: it takes too much."""
        while True:
            try:
                return self._answers.get(timeout=INTERVAL)
            except Empty:
                if not torch.cuda.is_available() and _resident(run) > self.limit:
                    raise MemoryError from None

    def _reason(self, run: psutil.Popen) -> str:
        """Why a run ended; empty if it ran out of memory."""
        run.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors if line.strip()]
        # The run or a process that loads images for it was killed for its memory.
        if run.returncode in (-9, 137) or any(
            said in line.lower() for line in lines for said in ('out of memory', 'killed by signal')
        ):
            return ''
        # The class of an error of this package says nothing that its sentence does not.
        return OWN_ERROR.sub('', lines[-1].strip()) if lines else f'exit code {run.returncode}'

    def _end(self) -> None:
        run, self._run, self._largest = self._run, None, 0
        if run is not None:
            for process in _tree(run):
                with suppress(psutil.Error):
                    process.kill()
            run.wait()
            run.stdin.close()


def _read(lines: IO[str], answers: 'SimpleQueue[str]') -> None:
    with suppress(ValueError):
        for line in lines:
            answers.put(line)
    answers.put('')


def _resident(run: psutil.Process) -> int:
    """Memory of a process in bytes, as quickly as it can be read."""
    with suppress(psutil.Error):
        return run.memory_info().rss
    return 0


def _tree(run: psutil.Process) -> list[psutil.Process]:
    try:
        return [run, *run.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
