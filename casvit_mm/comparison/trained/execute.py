"""Carries out a run: trains in a process of its own, evaluates, and reads the results."""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import psutil

from casvit.files import write_whole
from casvit.sentences import end_of_process, reason_of
from casvit_mm.benchmark.convergence import RunError, read_run
from casvit_mm.comparison.candidates import Candidate, ComparisonError
from casvit_mm.comparison.trained.plan import Run
from casvit_mm.comparison.trained.recipe import TASKS, run_config
from casvit_mm.config.text import escape_braces
from casvit_mm.engine.checkpoints import RECENT, latest_checkpoint, traces_of_run

FOLDER = 'runs'
SAID, PROCESS, SIDES = 'output.txt', 'process.json', 'sides.json'
LONGEST_REASON = 200
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Circumstances:
    """How runs are carried out.

    Attributes:
        folder: The folder of the comparison; each run has one in its ``runs``.
        imports: Modules that register mixers.
        minutes: Time that a training may take, over all calls.
        threads: Threads of a process.
        device: ``'cpu'``, or a GPU as torch names it: processes see no other one.
        jobs: How many runs are carried out side by side.
        stopped: Set to end the processes of all runs.
    """

    folder: Path
    imports: Sequence[str]
    minutes: float
    threads: int
    device: str
    jobs: int = 1
    stopped: Event = field(default_factory=Event)

    def is_spent(self, seconds: float) -> bool:
        """Whether a training that took so many seconds may not go on."""
        return seconds >= 60 * self.minutes


class _FailedError(Exception):
    """A process failed; the message is the reason."""


def write_config(run: Run, candidate: Candidate, how: Circumstances) -> Path:
    """Writes the config of a run into its folder.

    It is a step of its own because mmengine reads configs in one thread only.

    Args:
        run: The run.
        candidate: Its candidate.
        how: The circumstances.

    Returns:
        The config.

    Raises:
        ComparisonError: Another process is training the run, or its folder cannot be written.
    """
    folder = how.folder / FOLDER / run.name
    _require_free(folder)
    config = folder / 'config.py'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = escape_braces(run_config(run, candidate, how.imports).pretty_text)
        write_whole(config, f'# Written by casvit compare --train.\n{text}')
    except OSError as error:
        raise ComparisonError(f'{folder} cannot be written: {reason_of(error)}.') from error
    return config


def carry_out(run: Run, config: Path, how: Circumstances, seconds: float = 0.0) -> dict[str, Any]:
    """Trains a candidate, or continues from the last checkpoint of the run, and evaluates it.

    Runs that are carried out side by side may call it from several threads.

    Args:
        run: The run.
        config: Its config, in its folder.
        how: The circumstances.
        seconds: What earlier calls have spent on its training.

    Returns:
        The attributes of the run, and

        - ``failure``: why there is no result; else None.
        - ``value``: the metric of the task, in percent.
        - ``sides``: for a final run, pairs of the side of the test images in pixels and the metric.
        - ``step_seconds``: median time of a training step, beside the other ``jobs`` - 1.
        - ``seconds``: time that all calls have spent on its training; ``elapsed``: this call, with
          the evaluation.
    """
    folder = config.parent
    begun = time.monotonic()
    result: dict[str, Any] = {**asdict(run), 'failure': None, 'value': None, 'sides': []}
    result['jobs'] = how.jobs
    try:
        with _noting_time(result, seconds):
            _train(config, how, 60 * how.minutes - seconds)
        result |= _results(run, config, how)
        # As large as the last checkpoint, and no longer of use.
        (folder / RECENT).unlink(missing_ok=True)
    except _FailedError as error:
        result['failure'] = str(error)
    result['step_seconds'] = _step_seconds(folder)
    result['elapsed'] = time.monotonic() - begun
    return result


@contextmanager
def _noting_time(result: dict[str, Any], before: float) -> Iterator[None]:
    begun = time.monotonic()
    try:
        yield
    finally:
        result['seconds'] = before + time.monotonic() - begun


def _train(config: Path, how: Circumstances, seconds: float) -> None:
    folder = config.parent
    resumed = ['--resume'] if traces_of_run(folder) else []
    command = ['casvit', 'train', str(config), '--work-dir', str(folder), '--quiet', *resumed]
    _call(command, folder, how, seconds)


def _results(run: Run, config: Path, how: Circumstances) -> dict[str, Any]:
    """The metric of a trained run; for a final one, also at other sizes of the test images."""
    folder, task = config.parent, TASKS[run.task]
    try:
        found = {task.side: read_run(folder)['metrics'][task.metric]}
    except (RunError, KeyError):
        # It was interrupted before its validation, or has detected nothing.
        found = {}
    sides = task.sides if run.final else [task.side]
    if others := [str(side) for side in sides if side not in found]:
        file = folder / SIDES
        checkpoint = latest_checkpoint(folder)
        module = 'casvit_mm.comparison.trained.sides'
        _call([module, str(config), str(checkpoint), str(file), *others], folder, how, None)
        for side, metrics in json.loads(file.read_text(encoding='utf-8')).items():
            # Evaluators of detectors that detect nothing have no metric.
            found[int(side)] = metrics.get(task.metric, 0.0)
    values = [[side, task.scale * found[side]] for side in sides]
    if not all(math.isfinite(value) for _, value in values):
        raise _FailedError(f'its {task.title} is not a number')
    return dict(value=dict(values)[task.side], sides=values if run.final else [])


def _call(command: Sequence[str], folder: Path, how: Circumstances, seconds: float | None) -> None:
    """Runs a module in a process, and waits for it."""
    environment = {**os.environ, 'OMP_NUM_THREADS': str(how.threads), **_visible(how.device)}
    with (folder / SAID).open('a+', encoding='utf-8', errors='replace') as said:
        start = said.tell()
        with subprocess.Popen(
            [sys.executable, '-m', *command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
        ) as process:
            try:
                created = psutil.Process(process.pid).create_time()
                write_whole(folder / PROCESS, json.dumps(dict(pid=process.pid, created=created)))
                code = _wait(process, how, seconds)
            finally:
                # It resumes from its last checkpoint, which is whole.
                process.kill()
        (folder / PROCESS).unlink()
        if code:
            said.seek(start)
            raise _FailedError(_reason(said.read(), code))


def _wait(process: subprocess.Popen[bytes], how: Circumstances, seconds: float | None) -> int:
    """The exit code of a process that may take so many seconds, and may be stopped."""
    end = math.inf if seconds is None else time.monotonic() + seconds
    while (code := process.poll()) is None:
        if time.monotonic() > end:
            raise _FailedError(f'it took longer than {how.minutes:g} minutes')
        if how.stopped.wait(POLL_SECONDS):
            raise _FailedError('it was stopped')
    return code


def _visible(device: str) -> dict[str, str]:
    """The environment in which a process sees a device only, which is its first one then."""
    kind, _, index = device.partition(':')
    if kind == 'cuda' and not index:
        return {}
    listed = os.environ.get('CUDA_VISIBLE_DEVICES')
    if kind == 'cuda' and listed:
        index = listed.split(',')[int(index)]
    return {'CUDA_VISIBLE_DEVICES': index}


def _reason(said: str, code: int) -> str:
    lines = said.strip().splitlines()
    if code < 0 or not lines:
        return f'it {end_of_process(code)}'
    # Below the traceback of a bug, `casvit train` says that it is one.
    said = lines[-2] if 'this is a bug' in lines[-1] and len(lines) > 1 else lines[-1]
    return said.removeprefix('casvit train: error: ')[:LONGEST_REASON]


def _require_free(folder: Path) -> None:
    """Stops if the process of a command that was killed is still training."""
    try:
        noted = json.loads((folder / PROCESS).read_text(encoding='utf-8'))
        running = psutil.Process(noted['pid'])
        same = running.create_time() == noted['created']
        alive = same and running.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, psutil.Error):
        return
    if alive:
        raise ComparisonError(
            f'Process {running.pid} is working on {folder}, started by another call of this '
            'command: wait until it has ended, or stop it, and call the command again.'
        )


def _step_seconds(folder: Path) -> float | None:
    files = sorted(folder.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    times = [line['time'] for line in lines if 'loss' in line]
    return statistics.median(times) if times else None
