"""Which runs a comparison of trained candidates needs, and in which order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from casvit_mm.comparison.candidates import ComparisonError

SEARCH_SHARE = 3
"""A run that searches the learning rate has one in so many of the steps of the others."""


@dataclass(frozen=True)
class TrainedSettings:
    """What all trained candidates of a comparison share.

    Attributes:
        size: Size of the CAS-ViT that has the token mixers.
        rates: Learning rates to try, as multiples of that of the task's recipe.
        seeds: Seeds of the runs with the best of them; the search uses the first one.
        steps: Training steps of these runs, by task.

    Raises:
        ComparisonError: A rate or a seed is named twice.
    """

    size: str
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    steps: Mapping[str, int]

    def __post_init__(self) -> None:
        for option, values in (('--rates', self.rates), ('--seeds', self.seeds)):
            if len(set(values)) < len(values):
                raise ComparisonError(f'{option} names a value twice.')


def settings_of(trained: Mapping[str, Any]) -> TrainedSettings:
    """The settings of the runs of a record.

    Args:
        trained: ``trained`` of a record.
    """
    settings = trained['settings']
    return TrainedSettings(
        settings['size'], tuple(settings['rates']), tuple(settings['seeds']), settings['steps']
    )


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
        task: A name of :data:`casvit.tables.COMPARED_TASKS`.
        model: Key of the candidate.
        rate: Its learning rate, as a multiple of that of the recipe.
        seed: Its seed.
        steps: Its training steps.
        final: Whether it counts; else it searches the learning rate.
    """

    task: str
    model: str
    rate: float
    seed: int
    steps: int
    final: bool

    @property
    def name(self) -> str:
        """Its folder, and its key in a record."""
        kind = 'final' if self.final else 'search'
        return f'{self.task}_{self.model}_{kind}_rate{self.rate:g}_seed{self.seed}'


def search_runs(task: str, model: str, settings: TrainedSettings) -> list[Run]:
    """The runs that search the learning rate of a candidate; none if there is one rate only.

    Args:
        task: The task.
        model: Key of the candidate.
        settings: The settings.
    """
    if len(settings.rates) == 1:
        return []
    steps = max(1, settings.steps[task] // SEARCH_SHARE)
    seed = settings.seeds[0]
    return [Run(task, model, rate, seed, steps, False) for rate in settings.rates]


def final_runs(
    task: str, model: str, settings: TrainedSettings, runs: Mapping[str, dict[str, Any]]
) -> list[Run]:
    """The runs of a candidate with its best learning rate; none before the search has ended.

    Args:
        task: The task.
        model: Key of the candidate.
        settings: The settings.
        runs: Results of runs by their names, as in a record.
    """
    rate = best_rate(task, model, settings, runs)
    if rate is None:
        return []
    steps = settings.steps[task]
    return [Run(task, model, rate, seed, steps, True) for seed in settings.seeds]


def best_rate(
    task: str, model: str, settings: TrainedSettings, runs: Mapping[str, dict[str, Any]]
) -> float | None:
    """The learning rate with the best result in the search; of equal ones, the smallest.

    Args:
        task: The task.
        model: Key of the candidate.
        settings: The settings.
        runs: Results of runs by their names, as in a record.

    Returns:
        The rate, as a multiple of that of the recipe; None if a run of the search is left to do, or
        if all of them failed.
    """
    searched = search_runs(task, model, settings)
    if not searched:
        return settings.rates[0]
    found = [runs.get(each.name) for each in searched]
    values = [
        (result['value'], -each.rate)
        for each, result in zip(searched, found, strict=True)
        if result and is_finished(result)
    ]
    return -max(values)[1] if values and all(found) else None


def is_finished(result: Mapping[str, Any]) -> bool:
    """Whether a run has trained to its end, and was evaluated."""
    return result['failure'] is None


def left_runs(
    tasks: Sequence[str],
    models: Sequence[str],
    settings: TrainedSettings,
    runs: Mapping[str, dict[str, Any]],
    tried: frozenset[str] = frozenset(),
) -> Iterator[Run]:
    """The runs that are left to do and can be done now, a candidate after the other.

    Args:
        tasks: The tasks.
        models: Keys of the candidates.
        settings: The settings.
        runs: Results of runs by their names, as in a record.
        tried: Names of runs that were begun, and are not begun again.
    """
    for task in tasks:
        for model in models:
            for run in (
                *search_runs(task, model, settings),
                *final_runs(task, model, settings, runs),
            ):
                result = runs.get(run.name)
                if run.name not in tried and (result is None or not is_finished(result)):
                    yield run


def steps_left(
    tasks: Sequence[str],
    models: Sequence[str],
    settings: TrainedSettings,
    runs: Mapping[str, dict[str, Any]],
) -> dict[str, int]:
    """Training steps that are left, by task, with those of runs whose learning rate is not known.

    Args:
        tasks: The tasks.
        models: Keys of the candidates.
        settings: The settings.
        runs: Results of runs by their names, as in a record; failed ones count as done.
    """
    left = dict.fromkeys(tasks, 0)
    for task in tasks:
        for model in models:
            searched = search_runs(task, model, settings)
            finals = final_runs(task, model, settings, runs)
            todo = [each for each in (*searched, *finals) if each.name not in runs]
            left[task] += sum(each.steps for each in todo)
            if not finals and any(each.name not in runs for each in searched):
                left[task] += len(settings.seeds) * settings.steps[task]
    return left
