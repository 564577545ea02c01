"""Measures cases side by side: each in its own process, the processes taking turns.

The speed of a machine varies from one minute to the next, because it is shared or heats up. So
cases that are compared take turns of a second or two, in an order that is reversed each time, and
ratios are computed between neighbouring turns.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import IO, Any, TypedDict, cast

from casvit.errors import UserError
from casvit.exported.timing import ANSWER
from casvit.sentences import end_of_process
from casvit.terminal.progress import Progress
from casvit_mm.benchmark.cases import Case

BASELINE = 'reference'


class Spread(TypedDict):
    """The median and quartiles of repeated measurements."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """Cases that are compared with each other; their processes run side by side and take turns.

    Attributes:
        title: What the cases have in common.
        cases: The cases.
        yardstick: The case that all others are compared with; if None, each is compared with the
            reference at the same image and batch size.
        may_fail: Whether cases that cannot be started are left out, with the reason in the record;
            the yardstick is needed in any case.
    """

    title: str
    cases: tuple[Case, ...]
    yardstick: Case | None = None
    may_fail: bool = False


class BenchmarkError(UserError, RuntimeError):
    """A case could not be measured; the message says which, and why.

    Args:
        what: The case.
        reason: Why.

    Attributes:
        reason: Why, without the case.
    """

    def __init__(self, what: object, reason: str) -> None:
        super().__init__(f'{what} could not be measured: {reason}')
        self.reason = reason


class MeasuringProcess:
    """A process that speaks the protocol of :mod:`casvit.exported.timing`.

    Args:
        what: What it measures, for messages.
        module: The module that it runs.
        arguments: The arguments of the module; the number of threads is added.
        threads: Number of threads.

    Raises:
        BenchmarkError: The process ends before it is ready.

    Attributes:
        ready: Its first answer.
    """

    def __init__(self, what: object, module: str, arguments: Sequence[str], threads: int) -> None:
        self.what = what
        # A file rather than a pipe: it is only read if something fails.
        self.said = tempfile.TemporaryFile('w+')  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, '-m', module, *arguments, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
        )
        # Both are pipes, as asked for above.
        self.commands = cast(IO[str], self.process.stdin)
        self.answers = cast(IO[str], self.process.stdout)
        self.ready = self._answer()

    def turn(self, seconds: float) -> dict[str, Any]:
        """Has it measure for one turn. Gives its answer."""
        self._tell(f'measure {seconds}\n')
        return self._answer()

    def end(self) -> dict[str, Any]:
        """Has it end. Gives its last answer."""
        self._tell('end\n')
        return self._answer()

    def close(self) -> None:
        """Kills the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.commands, self.answers, self.said):
            # A command that the process did not live to read is still in the pipe.
            with suppress(BrokenPipeError):
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
        code = self.process.wait()
        self.said.seek(0)
        said = self.said.read().strip().splitlines()
        # What a process said that a signal ended, a warning perhaps, is not why it was ended.
        if code < 0 or not said:
            return BenchmarkError(self.what, f'its process {end_of_process(code)}')
        return BenchmarkError(self.what, said[-1])


class Worker(MeasuringProcess):
    """The process of one case.

    Args:
        case: The case to measure.
        threads: Number of threads.

    Raises:
        BenchmarkError: The process ends before it is ready.
    """

    def __init__(self, case: Case, threads: int) -> None:
        self.case = case
        super().__init__(case, 'casvit_mm.benchmark.worker', [json.dumps(asdict(case))], threads)
        self.warm_up = self.ready['warm_up']
        self.turns: list[list[float]] = []
        self.backbone: list[list[float]] = []

    def measure(self, seconds: float) -> None:
        """Measures for one turn."""
        answer = self.turn(seconds)
        self.turns.append(answer['seconds'])
        if answer['backbone']:
            self.backbone.append(answer['backbone'])

    def result(self) -> dict[str, Any]:
        """Ends the process and returns the measurements."""
        last = self.end()
        medians = [statistics.median(turn) for turn in self.turns]
        parts = [statistics.median(turn) for turn in self.backbone]
        return {
            **asdict(self.case),
            'label': self.case.label,
            'kind': self.case.kind,
            'name': self.case.name,
            'turns': medians,
            'calls': sum(map(len, self.turns)),
            'seconds': spread(medians),
            **(_beside_the_backbone(medians, parts) if parts else {}),
            'warm_up': self.warm_up,
            'peak_memory': last['peak_memory'],
            'operators': last['operators'],
        }


def measure(
    groups: Sequence[Group], *, threads: int, turns: int = 7, seconds: float = 2.0
) -> Iterator[dict[str, Any]]:
    """Measures cases, group by group.

    Args:
        groups: The groups.
        threads: Threads of each process.
        turns: Number of turns per case.
        seconds: Length of a turn.

    Yields:
        A record of each group as soon as it is measured: its title, the index of the yardstick,
        and under ``cases`` for each case its settings, the median time of every turn, their
        spread, and the entries that :func:`add_ratios` adds. If cases may fail, ``failures`` has
        the settings of those that did, and the ``reason``.

    Raises:
        BenchmarkError: A case could not be measured.
    """
    count = sum(len(group.cases) for group in groups)
    with Progress(total=count * (turns + 1), unit='turn') as bar:
        for group in groups:
            yield _measure_group(group, threads, turns, seconds, bar)


def _measure_group(
    group: Group, threads: int, turns: int, seconds: float, bar: Progress
) -> dict[str, Any]:
    failures = []
    with ExitStack() as stack:
        workers = []
        for case in group.cases:
            bar.set_description(str(case))
            try:
                workers.append(stack.enter_context(_worker(case, threads)))
            except BenchmarkError as error:
                if not group.may_fail or case == group.yardstick:
                    raise
                failures.append({**asdict(case), 'name': case.name, 'reason': error.reason})
            bar.update()
        for turn in range(turns):
            for worker in workers if turn % 2 == 0 else reversed(workers):
                worker.measure(seconds)
                bar.update()
        results = [worker.result() for worker in workers]
    measured = [worker.case for worker in workers]
    yardstick = measured.index(group.yardstick) if group.yardstick else None
    add_ratios(results, yardstick)
    record = {'title': group.title, 'yardstick': yardstick, 'cases': results}
    return {**record, 'failures': failures} if group.may_fail else record


@contextmanager
def _worker(case: Case, threads: int) -> Iterator[Worker]:
    worker = Worker(case, threads)
    try:
        yield worker
    finally:
        worker.close()


def add_ratios(results: Sequence[dict[str, Any]], yardstick: int | None = None) -> None:
    """Adds to each case its ``baseline`` and its ``ratio``, the speed-up over the baseline.

    A baseline is given by its index in the results, and ratios are computed turn by turn.

    Args:
        results: The cases of a group, changed in place.
        yardstick: Index of the baseline of all cases. If None, the baseline is the reference at
            the same image and batch size; a case without one has None and no ratio.
    """
    for each in results:
        place = _reference(each, results) if yardstick is None else yardstick
        each['baseline'] = place
        if place is not None:
            pairs = zip(results[place]['turns'], each['turns'], strict=True)
            each['ratio'] = spread([baseline / time for baseline, time in pairs])


def _reference(result: dict[str, Any], results: Sequence[dict[str, Any]]) -> int | None:
    shared = ('model', 'mode', 'image_size', 'batch_size')
    for place, each in enumerate(results):
        if each['name'] == BASELINE and all(each[key] == result[key] for key in shared):
            return place
    return None


def _beside_the_backbone(whole: Sequence[float], backbone: Sequence[float]) -> dict[str, Spread]:
    """The time of the backbone, and all other time as a multiple of it.

    Args:
        whole: Seconds of the model in each turn.
        backbone: Seconds of its backbone in each turn.
    """
    others = [(each - part) / part for each, part in zip(whole, backbone, strict=True)]
    return {'backbone_seconds': spread(backbone), 'others_per_backbone': spread(others)}


def spread(values: Sequence[float]) -> Spread:
    """Computes the median and quartiles."""
    if len(values) == 1:
        return {'median': values[0], 'low': values[0], 'high': values[0]}
    low, median, high = statistics.quantiles(values, n=4, method='inclusive')
    return {'median': median, 'low': low, 'high': high}
