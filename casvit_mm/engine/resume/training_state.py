"""Checks the state of optimisers and schedules in a checkpoint against those of the run.

torch and mmengine take such a state as it is: a tensor of another shape ends in an access to memory
that is not there, and a schedule gets whatever attributes a file names.
"""

import copy
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from inspect import signature
from numbers import Real
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler
from torch import Tensor
from torch.optim import Optimizer

from casvit.sentences import short
from casvit_mm.models.checkpoint import CheckpointError

# How an optimiser computes is up to the run, on whose device and version of torch it depends.
OF_THE_RUN = ('amsgrad', 'capturable', 'differentiable', 'foreach', 'fused', 'maximize')
WRAPPER_KEYS = frozenset(('base_param_settings', 'loss_scaler', 'param_groups', 'state'))
LARGEST = 2**63
"""Above all numbers of a schedule, also those that stand for its end: 10**9."""
REPEATED = range(1, 100)
"""How often a schedule may have the same milestone."""
ALTERNATIVES = ('eta_min', 'eta_min_ratio')
"""Options of a schedule of which one is None."""
Schedules = Sequence[_ParamScheduler] | Mapping[str, Sequence[_ParamScheduler]]


def check_optimizers(
    state: Any, wrapper: OptimWrapper | OptimWrapperDict, source: str
) -> dict[str, Any]:
    """Checks the state of the optimisers of a run.

    Args:
        state: ``optimizer`` in the checkpoint.
        wrapper: The optimiser wrapper of the run.
        source: Name of the checkpoint, for messages.

    Returns:
        The state to load: how the optimisers compute is that of the run.

    Raises:
        CheckpointError: It is not a state of these optimisers.
    """
    if not isinstance(state, Mapping):
        raise _damaged(source, 'optimizer', f'is of type {type(state).__name__}')
    if isinstance(wrapper, OptimWrapperDict):
        named = dict(wrapper.items())
        if set(state) != set(named):
            raise _damaged(source, 'optimizer', f'is for {short(sorted(map(str, state)))}')
        return {name: _checked(state[name], each, source) for name, each in named.items()}
    return _checked(state, wrapper, source)


def check_schedules(state: Any, schedules: Schedules, source: str) -> None:
    """Checks the state of the schedules of a run.

    Args:
        state: ``param_schedulers`` in the checkpoint.
        schedules: The schedules of the run.
        source: Name of the checkpoint, for messages.

    Raises:
        CheckpointError: It is not a state of these schedules.
    """
    if isinstance(schedules, Mapping):
        if not isinstance(state, Mapping) or set(state) != set(schedules):
            raise _damaged(source, 'param_schedulers', 'is for other optimizers')
        for name, each in schedules.items():
            check_schedules(state[name], each, source)
        return
    if not isinstance(state, (list, tuple)) or len(state) != len(schedules):
        count = len(state) if isinstance(state, (list, tuple)) else 'no list of'
        raise _damaged(source, 'param_schedulers', f'has {count} schedules, not {len(schedules)}')
    for place, (saved, own) in enumerate(zip(state, schedules, strict=True)):
        live = {key: value for key, value in vars(own).items() if key != 'optimizer'}
        for key, value in saved.items() if isinstance(saved, Mapping) else [('', saved)]:
            if key not in live or not _is_of_schedule(key, live[key], value):
                raise _damaged(
                    source,
                    f'param_schedulers.{place}',
                    f'has {short(key)} = {short(value)}, which is not of a {type(own).__name__}',
                )
        if not _has_next_value(own, saved):
            raise _damaged(
                source,
                f'param_schedulers.{place}',
                f'gives a {type(own).__name__} no next value',
            )


def _is_of_schedule(key: str, live: Any, saved: Any) -> bool:
    if key == 'best':
        # A metric, which may be infinite.
        return isinstance(saved, Real) and saved == saved
    return _alike(live, saved) or (saved is None and key in ALTERNATIVES)


def _has_next_value(own: _ParamScheduler, saved: Mapping[str, Any]) -> bool:
    trial = copy.copy(own)
    vars(trial).update(saved)
    trial.last_step += 1
    if not trial.begin <= trial._global_step + 1 < trial.end:
        return True
    try:
        values: list[float] = trial._get_value()
    except (ArithmeticError, IndexError, TypeError, ValueError):
        return False
    return all(map(math.isfinite, values))


def _checked(state: Any, wrapper: OptimWrapper, source: str) -> dict[str, Any]:
    if not isinstance(state, Mapping) or not set(state) <= WRAPPER_KEYS:
        raise _damaged(source, 'optimizer', f'has {short(sorted(map(str, state)))}')
    groups, values = state.get('param_groups'), state.get('state')
    if not isinstance(groups, list) or not isinstance(values, Mapping):
        raise _damaged(source, 'optimizer', 'lacks param_groups or state')
    optimizer: Optimizer = wrapper.optimizer
    if len(groups) != len(optimizer.param_groups):
        count = len(optimizer.param_groups)
        raise _damaged(source, 'optimizer', f'has {len(groups)} groups of weights, not {count}')
    checked: list[dict[str, Any]] = []
    parameters: dict[int, Tensor] = {}
    for group, live in zip(groups, optimizer.param_groups, strict=True):
        checked.append(_checked_group(group, live, source))
        _check_options(optimizer, {**checked[-1], 'params': live['params']}, source)
        parameters.update(zip(group['params'], live['params'], strict=True))
    for key, entries in values.items():
        if key not in parameters or not isinstance(entries, Mapping):
            raise _damaged(source, 'optimizer.state', f'has {short(key)}, which no weight has')
        for name, value in entries.items():
            if not isinstance(name, str) or not _fits(value, parameters[key]):
                raise _damaged(
                    source,
                    f'optimizer.state.{key}',
                    f'has a {short(name)} that does not fit a weight of shape '
                    f'{tuple(parameters[key].shape)}',
                )
            if name == 'step' and not _is_count(value):
                raise _damaged(source, f'optimizer.state.{key}', f'has step = {short(value)}')
    _check_sizes(values, parameters, source)
    settings = vars(wrapper).get('base_param_settings') or {}
    for extra, known in (('base_param_settings', settings), ('loss_scaler', {})):
        if not _are_options(known, state.get(extra)):
            raise _damaged(source, 'optimizer', f'has no valid {extra}')
    return {**state, 'param_groups': checked}


def _check_sizes(
    values: Mapping[int, Mapping[str, Any]], parameters: Mapping[int, Tensor], source: str
) -> None:
    """Checks that a value is there for each element of a weight, if it is for those of others."""
    whole = {
        (name, key): isinstance(value, Tensor) and value.dim() > 0
        for key, entries in values.items()
        # Before its first gradient, SGD has no momentum of a weight.
        for name, value in entries.items()
        if parameters[key].dim() and not (name == 'momentum_buffer' and value is None)
    }
    names = {name for (name, _), has_elements in whole.items() if has_elements}
    for (name, key), has_elements in whole.items():
        if name in names and not has_elements:
            raise _damaged(
                source, f'optimizer.state.{key}', f'has a {short(name)} without its elements'
            )


def _checked_group(group: Any, live: Mapping[str, Any], source: str) -> dict[str, Any]:
    places = group.get('params') if isinstance(group, Mapping) else None
    if not isinstance(places, list) or not all(type(each) is int for each in places):
        raise _damaged(source, 'optimizer.param_groups', 'lists no weights')
    if len(places) != len(live['params']):
        raise _damaged(
            source,
            'optimizer.param_groups',
            f'has a group of {len(places)} weights, not {len(live["params"])}',
        )
    for key, value in group.items():
        known = _alike(live[key], value) if key in live else _is_number(value)
        if key not in ('params', *OF_THE_RUN) and not known:
            raise _damaged(source, 'optimizer.param_groups', f'has {short(key)} = {short(value)}')
    # Options that other versions of torch do not have yet are those of the run.
    own = {key: value for key, value in live.items() if key not in group or key in OF_THE_RUN}
    return {**group, **own}


def _check_options(optimizer: Optimizer, group: Mapping[str, Any], source: str) -> None:
    """Lets the class of an optimiser look at its options: it does so only for those of a config."""
    known = signature(type(optimizer)).parameters
    options = {key: value for key, value in group.items() if key in known and key not in OF_THE_RUN}
    try:
        # Some optimisers have other arguments than options.
        with suppress(TypeError):
            type(optimizer)(**options)
    except (ArithmeticError, ValueError) as error:
        raise _damaged(source, 'optimizer.param_groups', f'is not valid ({error})') from error


def _are_options(live: Mapping[str, Any], saved: Any) -> bool:
    """Whether a value holds options: those of the run, and perhaps numbers beside them."""
    return saved is None or (
        isinstance(saved, Mapping)
        and all(
            _alike(live[key], value)
            if key in live and key not in OF_THE_RUN
            else _is_number(value) or isinstance(value, (Tensor, type(None)))
            for key, value in saved.items()
        )
    )


def _fits(value: Any, parameter: Tensor) -> bool:
    """Whether a value may be in the state of a weight: a number, or a tensor of fitting shape."""
    if not isinstance(value, Tensor):
        return value is None or _is_number(value)
    shape, own = tuple(value.shape), tuple(parameter.shape)
    # Factored second moments lack one of the last two dimensions.
    factored = len(own) > 1 and shape in (own[:-1], (*own[:-2], own[-1]))
    numbers = value.is_floating_point() or value.numel() == 1
    return numbers and value.layout == parameter.layout and (shape in (own, (), (1,)) or factored)


def _alike(live: Any, saved: Any) -> bool:
    """Whether a saved value is of the kind that a run has in its place."""
    if isinstance(live, bool) or isinstance(saved, bool):
        return isinstance(live, bool) and isinstance(saved, bool)
    if live is None or saved is None or isinstance(live, Real):
        return _is_number(saved) or (saved is None and live is None)
    if isinstance(live, Tensor):
        return _is_number(saved) or (isinstance(saved, Tensor) and saved.shape == live.shape)
    if isinstance(live, Mapping):
        if not isinstance(saved, Mapping):
            return False
        if isinstance(live, Counter):
            # Milestones, which a new config may change.
            return all(_is_number(key) and value in REPEATED for key, value in saved.items())
        return set(saved) == set(live) and all(_alike(live[key], saved[key]) for key in live)
    if isinstance(live, (list, tuple)):
        return (
            isinstance(saved, (list, tuple))
            and len(saved) == len(live)
            and all(map(_alike, live, saved))
        )
    # A name, such as that of the value that is scheduled, or a method of the schedule.
    return type(saved) is type(live) and saved == live


def _is_number(value: Any) -> bool:
    """Whether a value is a number that an optimiser or a schedule can compute with."""
    size: Any = abs(value) if isinstance(value, Real) else math.nan
    return bool(size < LARGEST)


def _is_count(value: Any) -> bool:
    """Whether a value can be a number of steps; optimisers divide by what they derive from it."""
    if isinstance(value, Tensor) and value.numel() != 1:
        return False
    return value is None or 0 <= float(value) < math.inf


def _damaged(source: str, where: str, what: str) -> CheckpointError:
    return CheckpointError(
        f'{source} holds the state of another kind of run, or it is damaged: {where} {what}. A run '
        'must be resumed with the optimizer and schedule that it was started with.'
    )
