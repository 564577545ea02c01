"""Measures exported models side by side: each in its own process, the processes taking turns."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from casvit.exported.timing import ANSWER
from casvit.terminal.progress import Progress
from casvit_mm.benchmark.measure import BenchmarkError

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


class _Process:
    def __init__(self, subject: Subject, images: Path, threads: int) -> None:
        self.subject = subject
        # A file rather than a pipe: it is only read if something fails.
        self.said = tempfile.TemporaryFile('w+')  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, '-m', subject.module, str(subject.file), str(images), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
        )
        self.commands = cast(IO[str], self.process.stdin)
        self.answers = cast(IO[str], self.process.stdout)
        self.facts = self._answer()
        self.seconds: list[float] = []

    def measure(self, seconds: float) -> None:
        self._tell(f'measure {seconds}\n')
        self.seconds += self._answer()['seconds']

    def result(self, threads: int) -> dict[str, Any]:
        self._tell('end\n')
        p50, p95 = np.percentile(self.seconds, [50, 95])
        return {
            'label': self.subject.label,
            'threads': threads,
            **self.facts,
            'p50': float(p50),
            'p95': float(p95),
            'calls': len(self.seconds),
            **self._answer(),
        }

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.commands, self.answers, self.said):
            pipe.close()

    def _tell(self, line: str) -> None:
        try:
            self.commands.write(line)
            self.commands.flush()
        except BrokenPipeError as error:
            raise self._failure() from error

    def _answer(self) -> dict[str, Any]:
        for line in self.answers:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        raise self._failure()

    def _failure(self) -> BenchmarkError:
        self.process.wait()
        self.said.seek(0)
        last = (self.said.read().strip().splitlines() or ['no message'])[-1]
        return BenchmarkError(f'{self.subject.label} could not be measured: {last}')


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
                rows += [process.result(count) for process in processes]
    return rows
