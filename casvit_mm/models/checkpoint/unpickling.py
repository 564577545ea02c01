"""Unpickling with an allow-list, so that loading a checkpoint cannot run code from the file."""

import argparse
import collections
import pickle
import types
from typing import IO, Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler import OneCycleParamScheduler
from torch import nn


class ForbiddenGlobalError(pickle.UnpicklingError):
    """A file names an object that is not on the allow-list."""


_ANNEALING = frozenset({'_annealing_cos', '_annealing_linear'})


def _own_method(owner: object, name: str) -> Any:
    """Replaces the ``getattr`` with which mmengine's training state pickles its own methods."""
    of_history = owner is HistoryBuffer and not name.startswith('_')
    of_schedule = owner is OneCycleParamScheduler and name in _ANNEALING
    if not (of_history or of_schedule):
        raise ForbiddenGlobalError('builtins.getattr')
    return getattr(owner, name)


_ALLOWED: dict[tuple[str, str], object] = {
    ('collections', 'Counter'): collections.Counter,
    ('collections', 'OrderedDict'): collections.OrderedDict,
    ('collections', 'defaultdict'): collections.defaultdict,
    ('collections', 'deque'): collections.deque,
    ('argparse', 'Namespace'): argparse.Namespace,
    ('builtins', 'getattr'): _own_method,
    ('builtins', 'set'): set,
    ('builtins', 'slice'): slice,
    ('builtins', 'bytearray'): bytearray,
    ('builtins', 'complex'): complex,
    ('mmengine.logging.history_buffer', 'HistoryBuffer'): HistoryBuffer,
    (
        'mmengine.optim.scheduler.param_scheduler',
        'OneCycleParamScheduler',
    ): OneCycleParamScheduler,
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
    ('torch', 'Tensor'): torch.Tensor,
    ('torch.nn.parameter', 'Parameter'): nn.Parameter,
}
_ALLOWED_NAMES: dict[str, frozenset[str]] = {
    '_codecs': frozenset({'encode'}),
    'numpy.core.multiarray': frozenset({'_reconstruct', 'scalar'}),
    'numpy._core.multiarray': frozenset({'_reconstruct', 'scalar'}),
    'torch._utils': frozenset({'_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter'}),
}


class _AllowListUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = 'builtins' if module == '__builtin__' else module
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if name in _ALLOWED_NAMES.get(module, ()):
            return super().find_class(module, name)
        if module == 'torch' and (
            name.endswith('Storage') or isinstance(getattr(torch, name, None), torch.dtype)
        ):
            return getattr(torch, name)
        raise ForbiddenGlobalError(f'{module}.{name}')


class _AllowList(types.ModuleType):
    Unpickler = _AllowListUnpickler

    @staticmethod
    def load(file: IO[bytes], **kwargs: Any) -> Any:
        return _AllowListUnpickler(file, **kwargs).load()


# torch.load looks at the name of the module.
ALLOW_LIST = _AllowList('pickle')
"""For ``torch.load(pickle_module=…)``: unpickles weights and plain records, nothing else."""
