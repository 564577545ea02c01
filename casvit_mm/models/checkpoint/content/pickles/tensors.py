"""Builds the tensors of a file after checking that they fit their memory."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.storage import TypedStorage

from casvit_mm.models.checkpoint.content.limits import DIMENSIONS, EXTENT, KEY_TEXT, TENSORS
from casvit_mm.models.checkpoint.content.problems import DamagedError, TooLargeError, shown

DEVICE = re.compile(r'[a-z]{2,16}(:[0-9]{1,3})?')
BITS = frozenset(('conj', 'neg'))
"""Metadata of a tensor: a complex one may be stored as its conjugate or its negative."""
ON_CPU = ('cpu', torch.device('cpu'))


@dataclass
class Memory:
    """Memory that the file has the content of.

    Attributes:
        dtype: Type of its elements.
        location: Device that it was on, such as ``cuda:0``.
        count: Number of elements.
        content: The memory as bytes; filled after the pickle was read.
    """

    dtype: torch.dtype
    location: str
    count: int
    content: Tensor

    @property
    def buffer(self) -> memoryview:
        """The content, to be written into."""
        return self.content.numpy().data

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.count * self.dtype.itemsize


@dataclass
class Part:
    """A part of a memory, as a tensor refers to it."""

    storage: TypedStorage
    memory: Memory
    start: int
    count: int


class Tensors:
    """The tensors of one file and their memory.

    Args:
        expect: Called with the key, the size and the size of an element of each memory, in
            bytes; raises DamagedError if the file does not hold it.
        ready: The content of each memory, if it has been read.
    """

    def __init__(
        self,
        expect: Callable[[str, int, int], None],
        ready: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.memories: dict[str, Memory] = {}
        self._expect = expect
        self._parts: dict[int, Part] = {}
        self._views: dict[tuple[str, str], Part] = {}
        self._ready = ready or {}
        self._count = 0

    @property
    def size(self) -> int:
        """Size of all memory in bytes."""
        return sum(memory.size for memory in self.memories.values())

    def memory(self, dtype: torch.dtype, key: str, location: str, count: int) -> TypedStorage:
        """Memory of a tensor, which is filled later.

        Args:
            dtype: Type of its elements.
            key: Its name in the file.
            location: Device that it was on.
            count: Number of elements.

        Raises:
            DamagedError: The file has no such memory, or a different one.
        """
        _check_name(key)
        known = self.memories.get(key)
        if known is None:
            size = count * dtype.itemsize
            self._expect(key, size, dtype.itemsize)
            content = self._ready.get(key)
            if content is None:
                content = _empty(size)
            known = self.memories[key] = Memory(dtype, location, count, content)
            return self._part(known, ('', key), 0, count).storage
        if (known.dtype, known.count) != (dtype, count) and known.count + count > 0:
            raise DamagedError(f'the memory {shown(key)} has two types or sizes')
        return self._part(known, ('', key), 0, count).storage

    def view(self, storage: TypedStorage, key: str, start: int, count: int) -> TypedStorage:
        """A part of a memory, as files of old versions name it.

        Args:
            storage: The memory.
            key: Name of the part.
            start: Its first element.
            count: Number of elements.

        Raises:
            DamagedError: The memory is smaller.
        """
        _check_name(key)
        memory = self._parts[id(storage)].memory
        if start + count > memory.count:
            raise DamagedError('a part of its memory lies outside of it')
        part = self._part(memory, ('view', key), start, count)
        if (part.memory, part.start, part.count) != (memory, start, count):
            raise DamagedError(f'the memory {shown(key)} has two types or sizes')
        return part.storage

    def _part(self, memory: Memory, key: tuple[str, str], start: int, count: int) -> Part:
        known = self._views.get(key)
        if known is None:
            storage = _typed(memory, start, count)
            known = self._views[key] = Part(storage, memory, start, count)
            self._parts[id(storage)] = known
        return known

    def tensor(
        self,
        storage: object,
        offset: object,
        size: object,
        stride: object,
        requires_grad: object = False,
        metadata: object = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """A tensor over memory of the file, as ``torch._utils._rebuild_tensor_v2`` gives it.

        Args:
            storage: Result of :meth:`memory` or :meth:`view`.
            offset: First element.
            size: Shape.
            stride: Strides, in elements.
            requires_grad: Whether it needs a gradient.
            metadata: Whether it stands for its conjugate or its negative.
            dtype: Type of its elements, if the memory has none.

        Raises:
            DamagedError: The tensor does not fit its memory.
        """
        part = self._parts.get(id(storage))
        if part is None or part.storage is not storage:
            raise DamagedError('it holds a tensor without memory')
        if dtype is not None and part.memory.dtype is not torch.uint8:
            raise DamagedError('it holds a tensor with two types')
        dtype = dtype or part.memory.dtype
        start, remainder = divmod(part.start * part.memory.dtype.itemsize, dtype.itemsize)
        if remainder:
            raise DamagedError('it holds a tensor that does not start at an element')
        room = part.count * part.memory.dtype.itemsize // dtype.itemsize
        first, shape, strides = _checked(offset, size, stride, room)
        tensor = torch.empty(0, dtype=dtype, device=part.memory.content.device)
        tensor.set_(part.memory.content.untyped_storage(), start + first, shape, strides)
        bits = _bits(metadata, dtype)
        if bits:
            torch._utils.set_tensor_metadata(tensor, bits)
        return self._with_gradient(tensor, requires_grad)

    def parameter(self, tensor: object, requires_grad: object) -> nn.Parameter:
        """A parameter with the values of a tensor of the file.

        Raises:
            DamagedError: It is not a tensor.
        """
        if not isinstance(tensor, Tensor):
            raise DamagedError('it holds a parameter that is not a tensor')
        return self._with_gradient(
            nn.Parameter(tensor.detach(), requires_grad=False), requires_grad
        )

    def _with_gradient(self, tensor: Any, requires_grad: object) -> Any:
        self._count += 1
        if self._count > TENSORS:
            raise TooLargeError(f'it holds more than {TENSORS:,} tensors')
        if type(requires_grad) is not bool:
            raise DamagedError('it holds a tensor without a valid requires_grad')
        if requires_grad:
            if not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
                raise DamagedError('it holds integers that need a gradient')
            tensor.requires_grad_()
        return tensor

    def moved(self, map_location: Any) -> dict[str, Tensor] | None:
        """The content of each memory where ``torch.load`` would put it; None if that is the CPU.

        Args:
            map_location: As for ``torch.load``.
        """
        if isinstance(map_location, (str, torch.device)) and map_location in ON_CPU:
            return None
        return {key: _moved(memory, map_location) for key, memory in self.memories.items()}


def _check_name(key: str) -> None:
    if len(key) > KEY_TEXT:
        raise DamagedError('its memory has a name that is too long')


def _empty(size: int) -> Tensor:
    try:
        return torch.empty(size, dtype=torch.uint8)
    except RuntimeError as error:
        raise MemoryError(f'{size:,} bytes for weights') from error


def _typed(memory: Memory, start: int, count: int) -> TypedStorage:
    untyped = memory.content.untyped_storage()
    if (start, count) != (0, memory.count):
        item = memory.dtype.itemsize
        untyped = untyped[start * item : (start + count) * item]
    return TypedStorage(wrap_storage=untyped, dtype=memory.dtype, _internal=True)


def _checked(
    offset: object, size: object, stride: object, room: int
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Offset, shape and strides, if all elements lie in memory of so many."""
    if type(offset) is not int or offset < 0:
        raise DamagedError('it holds a tensor without a valid offset')
    shape, strides = _counts(size), _counts(stride)
    if len(shape) != len(strides) or len(shape) > DIMENSIONS:
        raise DamagedError('it holds a tensor with strides that do not fit its shape')
    if 0 in shape:
        # No element is read, but torch multiplies the numbers.
        fits = offset <= room
        for length, step in zip(shape, strides, strict=True):
            fits = fits and length * max(step, 1) <= EXTENT
    else:
        last = offset + sum(
            (length - 1) * step for length, step in zip(shape, strides, strict=True)
        )
        fits = last < room
    elements = 1
    for length in shape:
        elements *= max(length, 1)
    if not fits or elements > EXTENT:
        raise DamagedError(
            f'it holds a tensor of shape {shown(shape)} that does not fit its memory'
        )
    return offset, shape, strides


def _counts(value: object) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or len(value) > DIMENSIONS:
        raise DamagedError('it holds a tensor without a valid shape')
    if not all(type(each) is int and each >= 0 for each in value):
        raise DamagedError('it holds a tensor without a valid shape')
    return tuple(value)


def _bits(metadata: object, dtype: torch.dtype) -> dict[str, bool]:
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or (metadata.get('conj') and not dtype.is_complex):
        raise DamagedError('it holds a tensor with unknown metadata')
    if not BITS.issuperset(metadata) or not all(type(bit) is bool for bit in metadata.values()):
        raise DamagedError('it holds a tensor with unknown metadata')
    return {name: True for name, bit in metadata.items() if bit}


def _moved(memory: Memory, map_location: Any) -> Tensor:
    """The memory of a file on the device that ``torch.load`` would put it."""
    location: Any = map_location
    if map_location is None:
        location = memory.location
    elif isinstance(map_location, dict):
        location = map_location.get(memory.location, memory.location)
    elif callable(map_location):
        location = map_location(memory.content.untyped_storage(), memory.location)
        if location is None:
            location = memory.location
        elif isinstance(location, TypedStorage):
            return _bytes_of(location._untyped_storage)
        elif isinstance(location, torch.UntypedStorage):
            return _bytes_of(location)
    if isinstance(location, str) and not DEVICE.fullmatch(location):
        raise DamagedError(f'it names the unknown device {shown(location)}')
    return memory.content.to(torch.device(location))


def _bytes_of(storage: torch.UntypedStorage) -> Tensor:
    empty: Sequence[int] = ()
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage, *empty)
