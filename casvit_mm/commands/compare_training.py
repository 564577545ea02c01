"""Trains the candidates of a comparison: ``casvit compare --train``."""

import sys
from argparse import Namespace
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any

from casvit.errors import CliError
from casvit.sentences import count_of
from casvit.tables import COMPARED_STEPS, COMPARED_TASKS
from casvit_mm.comparison.candidates import Candidate
from casvit_mm.comparison.plan import Settings
from casvit_mm.comparison.record import add_imports, keep_record, open_trained
from casvit_mm.comparison.trained.execute import Circumstances, carry_out, write_config
from casvit_mm.comparison.trained.plan import (
    Run,
    TrainedSettings,
    is_finished,
    left_runs,
    steps_left,
)
from casvit_mm.comparison.trained.recipe import TASKS
from casvit_mm.comparison.trained.summary import summary
from casvit_mm.finetune.timing import duration


def train(
    args: Namespace, candidates: Sequence[Candidate], speed: Settings, folder: Path
) -> dict[str, Any]:
    """Does all training runs that are left, and keeps the record after each.

    Args:
        args: The parsed arguments.
        candidates: What to train.
        speed: Settings of measurements, with the device and threads to train with.
        folder: The folder of the record and the runs.

    Returns:
        The record.

    Raises:
        UserError: The settings cannot be used or are not those of the record, or a file cannot be
            read or written.
    """
    settings = trained_settings(args)
    # In the order of the tables.
    tasks = [each for each in COMPARED_TASKS if each in args.tasks]
    record = open_trained(folder, speed, settings)
    trained = record['trained']
    for each in candidates:
        trained['models'][each.key] = dict(label=each.label, kind=each.kind)
    add_imports(record, args.custom_imports)
    trained['summary'] = summary(trained)
    keep_record(record, folder)
    how = Circumstances(
        folder, args.custom_imports, args.minutes, speed.threads, speed.device, args.jobs
    )
    known = {each.key: each for each in candidates}
    progress = _Progress(tasks, list(known), settings, trained['runs'], args.jobs)
    with closing(_carried_out(tasks, known, settings, trained['runs'], how)) as done:
        for run, result in done:
            progress.add(run, result.pop('elapsed'))
            trained['runs'][run.name] = result
            trained['summary'] = summary(trained)
            keep_record(record, folder)
            print(progress.line(run, known[run.model].label, result), file=sys.stderr, flush=True)
    return record


def trained_settings(args: Namespace) -> TrainedSettings:
    """The settings of training runs.

    Args:
        args: The parsed arguments.

    Raises:
        UserError: They do not fit each other.
    """
    if any(seed < 0 for seed in args.seeds):
        raise CliError('--seeds takes whole numbers from 0.')
    given = args.steps or []
    if len(given) == 1:
        given = given * len(args.tasks)
    if given and len(given) != len(args.tasks):
        raise CliError(
            f'--steps has {len(given)} numbers for {count_of(len(args.tasks), "task")}: name one '
            'for each of --tasks, or one for all.'
        )
    steps = {**COMPARED_STEPS, **dict(zip(args.tasks, given, strict=False))}
    return TrainedSettings(args.size, tuple(args.rates), tuple(args.seeds), steps)


def _carried_out(
    tasks: Sequence[str],
    known: Mapping[str, Candidate],
    settings: TrainedSettings,
    runs: Mapping[str, dict[str, Any]],
    how: Circumstances,
) -> Generator[tuple[Run, dict[str, Any]], None, None]:
    """Carries out the runs that are left, and yields each as soon as it is done.

    The caller adds the results to ``runs``: those of a search decide what comes next.
    """
    tried: set[str] = set()
    running: dict[Future[dict[str, Any]], Run] = {}
    with ThreadPoolExecutor(how.jobs) as pool:
        try:
            while True:
                for run in left_runs(tasks, list(known), settings, runs, frozenset(tried)):
                    if len(running) == how.jobs:
                        break
                    seconds = runs.get(run.name, {}).get('seconds', 0.0)
                    tried.add(run.name)
                    if not how.is_spent(seconds):
                        config = write_config(run, known[run.model], how)
                        running[pool.submit(carry_out, run, config, how, seconds)] = run
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:
            how.stopped.set()


class _Progress:
    """Estimates how long the runs that are left will take."""

    def __init__(
        self,
        tasks: Sequence[str],
        models: Sequence[str],
        settings: TrainedSettings,
        runs: dict[str, Any],
        jobs: int,
    ) -> None:
        self.plan = (tasks, models, settings, runs)
        self.jobs = jobs
        self.seconds = dict.fromkeys(tasks, 0.0)
        self.steps = dict.fromkeys(tasks, 0)

    def add(self, run: Run, seconds: float) -> None:
        """Adds a run that was just done."""
        self.seconds[run.task] += seconds
        self.steps[run.task] += run.steps

    def line(self, run: Run, label: str, result: dict[str, Any]) -> str:
        """Describes a run that was just done, and what is left."""
        if is_finished(result):
            said = f'{TASKS[run.task].title} {result["value"]:.1f}'
        else:
            said = f'failed: {result["failure"]}'
        kind = '' if run.final else ' (search)'
        left = self._left()
        rest = f'about {duration(left)} left' if left else 'the last one'
        return (
            f'{run.task}, {label}, rate {run.rate:g}, seed {run.seed}{kind}: {said}, '
            f'{duration(result["seconds"])}; {rest}'
        )

    def _left(self) -> float:
        everywhere = sum(self.seconds.values()) / sum(self.steps.values())
        seconds = sum(
            steps * (self.seconds[task] / self.steps[task] if self.steps[task] else everywhere)
            for task, steps in steps_left(*self.plan).items()
        )
        return seconds / self.jobs
