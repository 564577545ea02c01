"""Checks the state of optimisers and schedules in a checkpoint against those of the run.

torch and mmengine take such a state as it is: a tensor of another shape ends in an access to memory
that is not there, and a schedule gets whatever attributes a file names.
"""

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler
from torch import Tensor
from torch.optim import Optimizer

from casvit.sentences import short
from casvit_mm.models.checkpoint import CheckpointError

# How an optimiser computes is up to the run, on whose device and version of torch it depends.
OF_THE_RUN = ('amsgrad', 'capturable', 'differentiable', 'foreach', 'fused', 'maximize')
WRAPPER_KEYS = frozenset(('base_param_settings', 'loss_scaler', 'param_groups', 'state'))
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
            if key not in live or not _alike(live[key], value):
                raise _damaged(
                    source,
                    f'param_schedulers.{place}',
                    f'has {short(key)} = {short(value)}, which is not of a {type(own).__name__}',
                )


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
    settings = vars(wrapper).get('base_param_settings') or {}
    for extra, known in (('base_param_settings', settings), ('loss_scaler', {})):
        if not _are_options(known, state.get(extra)):
            raise _damaged(source, 'optimizer', f'has no valid {extra}')
    return {**state, 'param_groups': checked}


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
        known = _alike(live[key], value) if key in live else isinstance(value, Number)
        if key not in ('params', *OF_THE_RUN) and not known:
            raise _damaged(source, 'optimizer.param_groups', f'has {short(key)} = {short(value)}')
    # Options that other versions of torch do not have yet are those of the run.
    own = {key: value for key, value in live.items() if key not in group or key in OF_THE_RUN}
    return {**group, **own}


def _are_options(live: Mapping[str, Any], saved: Any) -> bool:
    """Whether a value holds options: those of the run, and perhaps numbers beside them."""
    return saved is None or (
        isinstance(saved, Mapping)
        and all(
            _alike(live[key], value)
            if key in live and key not in OF_THE_RUN
            else isinstance(value, (Number, Tensor, type(None)))
            for key, value in saved.items()
        )
    )


def _fits(value: Any, parameter: Tensor) -> bool:
    """Whether a value may be in the state of a weight: a number, or a tensor of fitting shape."""
    if not isinstance(value, Tensor):
        return value is None or isinstance(value, Number)
    shape, own = tuple(value.shape), tuple(parameter.shape)
    # Factored second moments lack one of the last two dimensions.
    factored = len(own) > 1 and shape in (own[:-1], (*own[:-2], own[-1]))
    numbers = value.is_floating_point() or value.numel() == 1
    return numbers and value.layout == parameter.layout and (shape in (own, (), (1,)) or factored)


def _alike(live: Any, saved: Any) -> bool:
    """Whether a saved value is of the kind that a run has in its place."""
    if isinstance(live, bool) or isinstance(saved, bool):
        return isinstance(live, bool) and isinstance(saved, bool)
    if live is None or saved is None or isinstance(live, Number):
        return saved is None or isinstance(saved, Number)
    if isinstance(live, Tensor):
        return isinstance(saved, Number) or (
            isinstance(saved, Tensor) and saved.shape == live.shape
        )
    if isinstance(live, Mapping):
        if not isinstance(saved, Mapping):
            return False
        same = set(saved) == set(live) and all(_alike(live[key], saved[key]) for key in live)
        # Milestones, which a new config may change, are counted by number.
        return same or all(isinstance(each, Number) for pair in saved.items() for each in pair)
    if isinstance(live, (list, tuple)):
        return (
            isinstance(saved, (list, tuple))
            and len(saved) == len(live)
            and all(map(_alike, live, saved))
        )
    # A name, such as that of the value that is scheduled, or a method of the schedule.
    return type(saved) is type(live) and saved == live


def _damaged(source: str, where: str, what: str) -> CheckpointError:
    return CheckpointError(
        f'{source} holds the state of another kind of run, or it is damaged: {where} {what}. A run '
        'must be resumed with the optimizer and schedule that it was started with.'
    )
