"""Builds the few objects of mmengine that a resumed run needs from checked plain data."""

from typing import Any, TypeGuard

import numpy as np
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler import OneCycleParamScheduler

from casvit_mm.models.checkpoint.content.pickles.functions import HISTORY, ONE_CYCLE
from casvit_mm.models.checkpoint.content.pickles.records import Name, Record
from casvit_mm.models.checkpoint.content.problems import DamagedError

NUMBERS = 'biuf'
"""Kinds of NumPy's types that a value or a count may have."""
LONGEST = 2**31
ANNEALING = {
    f'{ONE_CYCLE}.{name}': getattr(OneCycleParamScheduler, name)
    for name in ('_annealing_cos', '_annealing_linear')
}


def restored(value: Any) -> Any:
    """Replaces records of the training state with mmengine's objects, in a copy.

    Args:
        value: The part of a checkpoint that holds the training state: plain data and records.

    Returns:
        The same, with a HistoryBuffer and the annealing functions of OneCycle schedules in place
        of their records. Other records stay.

    Raises:
        DamagedError: A record does not hold what such an object has.
    """
    return _restored(value, {})


def _restored(value: Any, known: dict[int, Any]) -> Any:
    # What is shared stays shared: a copy of each could be much larger than the file.
    if id(value) in known:
        return known[id(value)]
    own = value
    if isinstance(value, dict):
        own = {key: _restored(each, known) for key, each in value.items()}
    elif isinstance(value, (list, tuple)):
        own = type(value)([_restored(each, known) for each in value])
    elif isinstance(value, Record) and value.name == HISTORY:
        own = _history(value)
    elif isinstance(value, Name):
        own = ANNEALING.get(value.full, value)
    known[id(value)] = own
    return own


def _history(record: Record) -> HistoryBuffer:
    state = record.state
    values, counts = state.get('_log_history'), state.get('_count_history')
    length = state.get('max_length', state.get('_max_length'))
    if record.args or not _is_row(values) or not _is_row(counts) or len(values) != len(counts):
        raise DamagedError('the history of its training is not two rows of numbers')
    if type(length) is not int or not len(values) <= length <= LONGEST or length < 1:
        raise DamagedError('the history of its training has no valid length')
    return HistoryBuffer(values, counts, length)


def _is_row(value: Any) -> TypeGuard[np.ndarray]:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in NUMBERS
