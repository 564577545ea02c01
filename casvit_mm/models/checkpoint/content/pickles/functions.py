"""The functions and classes that a file may name, each replaced by one of ours on plain data."""

import collections
from collections.abc import Callable, Mapping
from typing import Any

import torch

from casvit_mm.models.checkpoint.content.pickles.arrays import (
    array_of_buffer,
    plain_dtype,
    scalar,
    unfinished_array,
)
from casvit_mm.models.checkpoint.content.pickles.budget import Budget
from casvit_mm.models.checkpoint.content.pickles.dtypes import DTYPES, QUANTISED, STORAGES
from casvit_mm.models.checkpoint.content.pickles.keys import is_key
from casvit_mm.models.checkpoint.content.pickles.records import Name, Record
from casvit_mm.models.checkpoint.content.pickles.tensors import DEVICE, Tensors
from casvit_mm.models.checkpoint.content.problems import DamagedError, ForbiddenNameError

HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
ONE_CYCLE = 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'
NAMESPACE = 'argparse.Namespace'
RECORDS = frozenset((HISTORY, ONE_CYCLE, NAMESPACE))
"""Classes whose objects become records."""
METHODS = frozenset(
    (
        *(f'{HISTORY}.{name}' for name in ('min', 'max', 'mean', 'current')),
        *(f'{ONE_CYCLE}.{name}' for name in ('_annealing_cos', '_annealing_linear')),
    )
)
"""Methods that mmengine's training state refers to."""


class Context:
    """What the functions work with.

    Args:
        budget: Counts what they copy.
        tensors: The tensors of the file; None in a pickle that may have none.
    """

    def __init__(self, budget: Budget, tensors: Tensors | None = None) -> None:
        self.budget = budget
        self.tensors = tensors or Tensors(_no_memory)
        self.unfinished: dict[int, Any] = {}

    def items(self, value: Any = ()) -> Any:
        """Elements of a list or another container, which are going to be copied."""
        if not isinstance(value, (list, tuple, set, frozenset, dict)):
            raise DamagedError('it makes a container of something else')
        self.budget.spend(len(value))
        return value


def _no_memory(key: str, size: int, item: int) -> None:
    raise DamagedError('it holds a tensor where none is expected')


def put(target: dict, key: object, value: object, budget: Budget) -> None:
    """Sets an item of a dict.

    Raises:
        DamagedError: The key is of a type that a checkpoint does not need.
    """
    if not is_key(key, budget):
        raise DamagedError(f'it holds a dict with an unusual key of type {type(key).__name__}')
    target[key] = value


def as_set(items: Any, budget: Budget) -> set:
    """A set of values, each of a type that can be a key.

    Raises:
        DamagedError: One is not.
    """
    if not all(is_key(item, budget) for item in items):
        raise DamagedError('it holds a set of something else than plain values')
    return set(items)


def _is_name(value: object, full: str) -> bool:
    return isinstance(value, Name) and value.full == full


def _dict(context: Context, pairs: Any = ()) -> dict:
    content: dict = {}
    items = context.items(pairs)
    for pair in items.items() if isinstance(items, dict) else items:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise DamagedError('it holds a dict of something else than pairs')
        key, value = pair
        put(content, key, value, context.budget)
    return content


def _counter(context: Context, counts: Any = ()) -> dict:
    counter: dict = collections.Counter()
    counter.update(_dict(context, counts))
    return counter


def _default_dict(context: Context, factory: Any = None, pairs: Any = ()) -> dict:
    if not (factory is None or isinstance(factory, Name)):
        raise DamagedError('it holds a defaultdict without a valid default')
    return _dict(context, pairs)


def _list(context: Context, items: Any = (), length: Any = None) -> list:
    if not (length is None or type(length) is int):
        raise DamagedError('it holds a deque without a valid length')
    return list(context.items(items))


def _set(context: Context, items: Any = ()) -> set:
    return as_set(context.items(items), context.budget)


def _frozenset(context: Context, items: Any = ()) -> frozenset:
    return frozenset(as_set(context.items(items), context.budget))


def _slice(context: Context, *parts: Any) -> slice:
    if not 1 <= len(parts) <= 3 or not all(each is None or type(each) is int for each in parts):
        raise DamagedError('it holds a slice of something else than integers')
    return slice(*parts)


def _encoded(context: Context, text: Any, encoding: Any = 'latin1') -> bytes:
    known = isinstance(encoding, str) and encoding in ('latin1', 'latin-1')
    if not isinstance(text, str) or not known:
        raise DamagedError('it holds bytes in an unknown encoding')
    context.budget.allocate(len(text))
    return text.encode('latin-1')


def _bytes(context: Context, *nothing: Any) -> bytes:
    if nothing:
        raise DamagedError('it makes bytes of something else')
    return b''


def _bytearray(context: Context, data: Any = b'', encoding: Any = None) -> bytearray:
    if isinstance(data, str):
        data = _encoded(context, data, encoding)
    if not isinstance(data, (bytes, bytearray)):
        raise DamagedError('it makes bytes of something else')
    context.budget.allocate(len(data))
    return bytearray(data)


def _complex(context: Context, real: Any, imaginary: Any = 0.0) -> complex:
    if not (isinstance(real, float) and isinstance(imaginary, float)):
        raise DamagedError('it holds a complex number of something else than numbers')
    return complex(real, imaginary)


def _getattr(context: Context, owner: Any, name: Any) -> Name:
    method = f'{owner.full}.{name}' if isinstance(owner, Name) and isinstance(name, str) else ''
    if method not in METHODS:
        raise ForbiddenNameError('builtins.getattr')
    return Name(method)


def _reconstructor(context: Context, owner: Any, base: Any, state: Any) -> Record:
    if not isinstance(owner, Name) or owner.full not in RECORDS:
        raise ForbiddenNameError(owner.full if isinstance(owner, Name) else 'object')
    if not _is_name(base, 'builtins.object') or state is not None:
        raise DamagedError('it holds an object without a valid state')
    return Record(owner.full)


def _size(context: Context, sizes: Any = ()) -> tuple:
    if not all(type(each) is int and each >= 0 for each in context.items(sizes)):
        raise DamagedError('it holds a torch.Size of something else than sizes')
    return tuple(sizes)


def _device(context: Context, kind: Any, index: Any = None) -> torch.device:
    name = f'{kind}:{index}' if type(index) is int else kind
    if not isinstance(name, str) or not DEVICE.fullmatch(name):
        raise DamagedError('it holds an unknown device')
    return torch.device(name)


def _dtype(context: Context, code: Any, *flags: Any) -> Any:
    if not all(type(flag) in (bool, int) for flag in flags):
        raise DamagedError('it holds an array without a valid type')
    return plain_dtype(code)


def _array(context: Context, owner: Any, shape: Any, code: Any) -> Any:
    if not _is_name(owner, 'numpy.ndarray'):
        raise ForbiddenNameError(owner.full if isinstance(owner, Name) else 'object')
    array = unfinished_array()
    context.unfinished[id(array)] = array
    return array


def _scalar(context: Context, dtype: Any, data: Any) -> Any:
    return scalar(dtype, data)


def _from_buffer(context: Context, data: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return array_of_buffer(data, dtype, shape, order, context.budget)


def _tensor(context: Context, storage: Any, offset: Any, size: Any, stride: Any) -> Any:
    return context.tensors.tensor(storage, offset, size, stride)


def _tensor_v2(
    context: Context,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    metadata: Any = None,
) -> Any:
    return context.tensors.tensor(storage, offset, size, stride, requires_grad, metadata)


def _tensor_v3(
    context: Context,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Any:
    if not isinstance(dtype, torch.dtype):
        raise DamagedError('it holds a tensor without a valid type')
    return context.tensors.tensor(storage, offset, size, stride, requires_grad, metadata, dtype)


def _parameter(context: Context, data: Any, requires_grad: Any, hooks: Any) -> Any:
    return context.tensors.parameter(data, requires_grad)


def _parameter_with_state(
    context: Context, data: Any, requires_grad: Any, hooks: Any, state: Any
) -> Any:
    # The attributes that somebody added to a parameter are no weights.
    return context.tensors.parameter(data, requires_grad)


Function = Callable[..., Any]
FUNCTIONS: Mapping[str, Function] = {
    'collections.OrderedDict': _dict,
    'collections.Counter': _counter,
    'collections.defaultdict': _default_dict,
    'collections.deque': _list,
    'builtins.set': _set,
    'builtins.frozenset': _frozenset,
    'builtins.slice': _slice,
    'builtins.bytes': _bytes,
    'builtins.bytearray': _bytearray,
    'builtins.complex': _complex,
    'builtins.getattr': _getattr,
    'copyreg._reconstructor': _reconstructor,
    '_codecs.encode': _encoded,
    'numpy.dtype': _dtype,
    # NumPy 2 renamed the module.
    **{f'numpy.{core}.multiarray._reconstruct': _array for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': _scalar for core in ('core', '_core')},
    **{f'numpy.{core}.numeric._frombuffer': _from_buffer for core in ('core', '_core')},
    'torch.Size': _size,
    'torch.device': _device,
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor_v2,
    'torch._utils._rebuild_tensor_v3': _tensor_v3,
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_parameter_with_state': _parameter_with_state,
}
"""What is done where a file calls a function or a class."""

INERT = frozenset(
    (
        *('builtins.object', 'builtins.list', 'builtins.dict', 'builtins.int', 'builtins.float'),
        *('builtins.str', 'builtins.tuple', 'builtins.bool'),
        *('numpy.ndarray', 'torch.Tensor', 'torch.nn.parameter.Parameter'),
    )
)
"""Names that a file may have as values, and may not call."""

STORAGE_CLASSES: Mapping[str, torch.dtype] = {
    f'{module}.{name}': dtype
    for module in ('torch', 'torch.cuda', 'torch.storage')
    for name, dtype in STORAGES.items()
}
"""Classes of memory, whose names say the type of the elements."""

_SAVE_DENSE = 'Save the weights as ordinary tensors.'
UNSUPPORTED: Mapping[str, str] = {
    **{
        name: f'holds quantised tensors, which are not read. {_SAVE_DENSE}'
        for name in (
            'torch._utils._rebuild_qtensor',
            *(f'torch.{name}' for name in QUANTISED),
            *(f'torch.cuda.{name}' for name in QUANTISED),
        )
    },
    'torch._utils._rebuild_sparse_tensor': f'holds sparse tensors, which are not read. '
    f'{_SAVE_DENSE}',
    'torch._utils._rebuild_nested_tensor': f'holds nested tensors, which are not read. '
    f'{_SAVE_DENSE}',
    'torch._utils._rebuild_meta_tensor_no_storage': 'holds tensors without values (of the meta '
    f'device), which are not weights. {_SAVE_DENSE}',
    **{
        f'torch.{name}': f'holds tensors of a special class, which are not read. {_SAVE_DENSE}'
        for name in (
            *('_tensor._rebuild_from_type', '_tensor._rebuild_from_type_v2'),
            *('tensor._rebuild_from_type', '_utils._rebuild_wrapper_subclass'),
        )
    },
}
"""What torch may write and this package does not read; continues 'The file NAME …'."""

KNOWN: Mapping[str, Any] = {
    **{name: Name(name) for name in (*FUNCTIONS, *RECORDS, *METHODS, *INERT, *STORAGE_CLASSES)},
    **{f'torch.{name}': dtype for name, dtype in DTYPES.items()},
}
"""The value of each name that a file may use."""
