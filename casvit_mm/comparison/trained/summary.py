"""What the runs of a record amount to, for tables and plots."""

from collections.abc import Iterable, Iterator
from statistics import mean, median
from typing import Any

from casvit_mm.comparison.trained.plan import (
    SEARCH_SHARE,
    TrainedSettings,
    final_runs,
    is_finished,
    search_runs,
    settings_of,
)
from casvit_mm.comparison.trained.recipe import TASKS


def summary(trained: dict[str, Any]) -> dict[str, Any]:
    """Summarises the runs of a record.

    Args:
        trained: ``trained`` of a record, as of :func:`casvit_mm.comparison.record.open_trained`.

    Returns:
        - ``search_share``: the runs that search the learning rate have one in so many steps.
        - ``jobs``: how many runs were carried out side by side, at most.
        - ``metrics``, the name of the metric for people, ``side`` of the training images in pixels
          and ``batch_size``, by task.
        - ``scores``: by task, a list of the candidates with a finished final run, the best first.
          Each has ``label``, ``kind``, its best ``rate``; ``values``, the metric of each finished
          final run in percent, and their ``mean``; ``sides``, pairs of the side of the test images
          in pixels and the mean metric; and ``step_seconds``, the median time of a training step,
          None if the runs were too short.
        - ``unfinished``: a sentence for each run that is left to do, or failed.
    """
    tasks = [task for task in TASKS if any(r['task'] == task for r in trained['runs'].values())]
    return dict(
        side={task: TASKS[task].side for task in tasks},
        batch_size={task: TASKS[task].batch_size for task in tasks},
        search_share=SEARCH_SHARE,
        jobs=max((run['jobs'] for run in trained['runs'].values()), default=1),
        metrics={task: TASKS[task].title for task in tasks},
        scores={task: _scores(trained, task) for task in tasks},
        unfinished=[line for task in tasks for line in _unfinished(trained, task)],
    )


def _scores(trained: dict[str, Any], task: str) -> list[dict[str, Any]]:
    settings, runs, found = settings_of(trained), trained['runs'], []
    for key, entry in trained['models'].items():
        results = [runs.get(each.name) for each in final_runs(task, key, settings, runs)]
        done = [each for each in results if each and is_finished(each)]
        if done:
            values = [each['value'] for each in done]
            found.append(
                dict(
                    label=entry['label'],
                    kind=entry['kind'],
                    rate=done[0]['rate'],
                    values=values,
                    mean=mean(values),
                    sides=_mean_sides(done),
                    step_seconds=_median(each['step_seconds'] for each in done),
                )
            )
    return sorted(found, key=lambda each: -each['mean'])


def _median(seconds: Iterable[float | None]) -> float | None:
    """The median of what is known: a run that ended before its first line in the log has none."""
    known = [each for each in seconds if each is not None]
    return median(known) if known else None


def _mean_sides(done: list[dict[str, Any]]) -> list[list[float]]:
    first, *_ = tables = [dict(each['sides']) for each in done]
    return [[side, mean(table[side] for table in tables)] for side in first]


def _unfinished(trained: dict[str, Any], task: str) -> Iterator[str]:
    settings, runs = settings_of(trained), trained['runs']
    for key, entry in trained['models'].items():
        finals = final_runs(task, key, settings, runs)
        for run in (*search_runs(task, key, settings), *finals):
            what = f'{entry["label"]}, {task}, rate {run.rate:g}, seed {run.seed}'
            result = runs.get(run.name)
            if result is None:
                yield f'{what}: not trained yet.'
            elif not is_finished(result):
                yield f'{what}: {result["failure"].rstrip(".")}.'
        if not finals:
            yield f'{entry["label"]}, {task}: {_why_no_finals(task, key, settings, runs)}.'


def _why_no_finals(
    task: str, key: str, settings: TrainedSettings, runs: dict[str, dict[str, Any]]
) -> str:
    searched = all(each.name in runs for each in search_runs(task, key, settings))
    return 'no learning rate worked' if searched else 'the learning rate is not known yet'
