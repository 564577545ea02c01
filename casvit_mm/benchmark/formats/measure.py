"""Measures exported models side by side: each in its own process, the processes taking turns."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from casvit.terminal.progress import Progress
from casvit_mm.benchmark.measure import MeasuringProcess

EAGER = 'casvit_mm.benchmark.formats.eager'
EXPORTED = 'casvit.exported.timing'


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        label: Its name.
        module: The module that measures it, :data:`EAGER` or :data:`EXPORTED`.
        file: Its file.
    """

    label: str
    module: str
    file: Path


class _Process(MeasuringProcess):
    def __init__(self, subject: Subject, images: Path, threads: int) -> None:
        super().__init__(subject.label, subject.module, [str(subject.file), str(images)], threads)
        self.threads = threads
        self.seconds: list[float] = []

    def measure(self, seconds: float) -> None:
        self.seconds += self.turn(seconds)['seconds']

    def result(self) -> dict[str, Any]:
        p50, p95 = np.percentile(self.seconds, [50, 95])
        return {
            'label': self.what,
            'threads': self.threads,
            **self.ready,
            'p50': float(p50),
            'p95': float(p95),
            'calls': len(self.seconds),
            **self.end(),
        }


def measure_formats(
    subjects: Sequence[Subject],
    images: np.ndarray,
    *,
    threads: Sequence[int],
    turns: int,
    seconds: float,
) -> list[dict[str, Any]]:
    """Measures networks on the same input.

    Args:
        subjects: The networks.
        images: Their input. Shape: ``(B, 3, H, W)``, uint8 RGB.
        threads: Numbers of threads to measure with.
        turns: Number of turns of each.
        seconds: Length of a turn.

    Returns:
        For each network and number of threads: ``label``, ``threads``, ``load`` and ``warm_up`` in
        seconds, ``device``, ``precision``, the median ``p50`` and 95th percentile ``p95`` of the
        time of a call in seconds, the number of ``calls``, and ``peak_memory`` in bytes.

    Raises:
        BenchmarkError: One could not be measured.
    """
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(total=len(threads) * turns * len(subjects), desc='measuring', unit='turn') as bar,
    ):
        file = Path(folder) / 'input.npy'
        np.save(file, images)
        for count in threads:
            with ExitStack() as stack:
                processes = []
                for subject in subjects:
                    processes.append(_Process(subject, file, count))
                    stack.callback(processes[-1].close)
                for turn in range(turns):
                    for process in processes if turn % 2 == 0 else reversed(processes):
                        process.measure(seconds)
                        bar.update()
                rows += [process.result() for process in processes]
    return rows
