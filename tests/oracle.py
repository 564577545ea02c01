"""What torch's restricted unpickler gives for a file, with inert classes for those of others."""

import _codecs
import collections
import warnings

import numpy as np
import torch

CORE = np._core if hasattr(np, '_core') else np.core
HAS_STAND_INS = hasattr(torch.serialization, 'safe_globals')
"""From torch 2.5 on."""


class StandIn:
    """An object that only has a state; what it was created with is left out."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        self.__dict__.update(state)


class Namespace(StandIn):
    pass


class HistoryBuffer(StandIn):
    pass


class OneCycleParamScheduler(StandIn):
    pass


def method_name(owner, name):
    """A stand-in for getattr."""
    return f'{owner.__name__}.{name}'


STAND_INS = [
    (Namespace, 'argparse.Namespace'),
    (HistoryBuffer, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (OneCycleParamScheduler, 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'),
    (method_name, 'builtins.getattr'),
]
PLAIN = [
    *(bytes, bytearray, complex, frozenset, set, slice, torch.device),
    *(collections.Counter, _codecs.encode, np.dtype, np.ndarray),
    *(CORE.multiarray._reconstruct, CORE.multiarray.scalar, CORE.numeric._frombuffer),
    *(type(np.dtype(code)) for code in ('f8', 'f4', 'i8', 'i2', '?', 'c16')),
]
"""What torch writes for plain data and refuses to read unless it is named."""


def loaded(path, protocol=2):
    """What torch.load gives: without unpickling freely, for the protocol that torch.save uses.

    Args:
        path: A file that a test has just written.
        protocol: Its pickle protocol. Others have steps that the restricted unpickler lacks.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        if protocol != 2 or not HAS_STAND_INS:
            return torch.load(path, weights_only=False)
        with torch.serialization.safe_globals([*PLAIN, *STAND_INS]):
            return torch.load(path, weights_only=True)
