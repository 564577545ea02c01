"""Scales the learning rates of a checkpoint for a run with another number of images in a step."""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

OF_GROUPS = ('lr', 'initial_lr', 'max_lr', 'min_lr')
"""Rates in the groups of an optimiser: the current one, and those between which it is scheduled."""
OF_SCHEDULES = ('base_values', '_last_value', 'eta_min', 'eta_max', 'min_values')
"""The same in a schedule, without those that are factors of others."""


def scale_rates(checkpoint: Mapping[str, Any], factor: float) -> None:
    """Multiplies, in place, all learning rates in the state of optimisers and schedules.

    From there on, every rate is as much larger than it would have been, also at the lower end of a
    schedule. mmengine scales only the rates at the start of a new run.

    Args:
        checkpoint: Content of the file; its state has been checked.
        factor: The factor.
    """
    for wrapper in _each(checkpoint.get('optimizer', {}), 'param_groups'):
        for group in [*wrapper['param_groups'], wrapper.get('base_param_settings') or {}]:
            _scale(group, OF_GROUPS, factor)
    for schedule in _each(checkpoint.get('param_schedulers', []), 'param_name'):
        if schedule['param_name'] == 'lr':
            _scale(schedule, OF_SCHEDULES, factor)


def _each(state: Any, key: str) -> Iterator[dict[str, Any]]:
    """The states in one of a single optimiser, or of several by their names."""
    if isinstance(state, dict) and key in state:
        yield state
    elif isinstance(state, (dict, list, tuple)):
        for inner in state.values() if isinstance(state, dict) else state:
            yield from _each(inner, key)


def _scale(values: MutableMapping[str, Any], names: tuple[str, ...], factor: float) -> None:
    for name in names:
        value = values.get(name)
        if isinstance(value, (list, tuple)):
            values[name] = [each * factor for each in value]
        elif value is not None:
            values[name] = value * factor
