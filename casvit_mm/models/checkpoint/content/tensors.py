"""Builds the tensors of a file after checking that they fit their memory."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.storage import TypedStorage

from casvit_mm.models.checkpoint.content.limits import DIMENSIONS, EXTENT, TENSORS
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


@dataclass
class Placed:
    """A tensor and where it lies: to repeat the placing on another device."""

    tensor: Tensor
    memory: Memory
    arguments: tuple[int, tuple[int, ...], tuple[int, ...]]
    metadata: dict[str, bool]


class Tensors:
    """The tensors of one file and their memory.

    Args:
        expect: Called with the key, the size and the size of an element of each memory, in
            bytes; raises DamagedError if the file does not hold it.
    """

    def __init__(self, expect: Callable[[str, int, int], None]) -> None:
        self.memories: dict[str, Memory] = {}
        self._expect = expect
        self._parts: dict[int, Part] = {}
        self._views: dict[tuple[str, str], Part] = {}
        self._placed: dict[int, Placed] = {}

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
        known = self.memories.get(key)
        if known is None:
            size = count * dtype.itemsize
            self._expect(key, size, dtype.itemsize)
            content = torch.empty(size, dtype=torch.uint8)
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
            storage = _typed(memory, memory.content, start, count)
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
        *,
        parameter: bool = False,
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
            parameter: Whether it is a parameter.

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
        arguments = (start + first, shape, strides)
        bits = _bits(metadata, dtype)
        return self._place(part.memory, dtype, arguments, bits, requires_grad, parameter)

    def parameter(self, tensor: object, requires_grad: object) -> nn.Parameter:
        """A parameter with the values of a tensor of the file.

        Raises:
            DamagedError: It is not a tensor.
        """
        if not isinstance(tensor, Tensor):
            raise DamagedError('it holds a parameter that is not a tensor')
        placed = self._placed[id(tensor)]
        return self._place(
            placed.memory, tensor.dtype, placed.arguments, placed.metadata, requires_grad, True
        )

    def _place(
        self,
        memory: Memory,
        dtype: torch.dtype,
        arguments: tuple[int, tuple[int, ...], tuple[int, ...]],
        bits: dict[str, bool],
        requires_grad: object,
        parameter: bool,
    ) -> Any:
        if len(self._placed) >= TENSORS:
            raise TooLargeError(f'it holds more than {TENSORS:,} tensors')
        if type(requires_grad) is not bool:
            raise DamagedError('it holds a tensor without a valid requires_grad')
        tensor = _built(memory.content, dtype, arguments, bits)
        if parameter:
            tensor = nn.Parameter(tensor, requires_grad=False)
        if requires_grad:
            if not (dtype.is_floating_point or dtype.is_complex):
                raise DamagedError('it holds integers that need a gradient')
            tensor.requires_grad_()
        self._placed[id(tensor)] = Placed(tensor, memory, arguments, bits)
        return tensor

    def move(self, map_location: Any) -> None:
        """Moves all tensors, after they were filled, as ``torch.load`` does.

        Args:
            map_location: As for ``torch.load``.
        """
        if isinstance(map_location, (str, torch.device)) and map_location in ON_CPU:
            return
        moved = {id(each): _moved(each, map_location) for each in self.memories.values()}
        for placed in self._placed.values():
            content = moved[id(placed.memory)]
            dtype = placed.tensor.dtype
            placed.tensor.data = _built(content, dtype, placed.arguments, placed.metadata)
        for part in self._parts.values():
            content = moved[id(part.memory)]
            storage = _typed(part.memory, content, part.start, part.count)
            part.storage._untyped_storage = storage._untyped_storage


def _typed(memory: Memory, content: Tensor, start: int, count: int) -> TypedStorage:
    untyped = content.untyped_storage()
    if (start, count) != (0, memory.count):
        item = memory.dtype.itemsize
        untyped = untyped[start * item : (start + count) * item]
    return TypedStorage(wrap_storage=untyped, dtype=memory.dtype, _internal=True)


def _built(
    content: Tensor,
    dtype: torch.dtype,
    arguments: tuple[int, tuple[int, ...], tuple[int, ...]],
    bits: dict[str, bool],
) -> Tensor:
    tensor = torch.empty(0, dtype=dtype, device=content.device)
    tensor.set_(content.untyped_storage(), *arguments)  # type: ignore[call-overload]
    if bits:
        torch._utils.set_tensor_metadata(tensor, bits)
    return tensor


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
        elif isinstance(location, (torch.UntypedStorage, TypedStorage)):
            return _bytes_of(getattr(location, '_untyped_storage', location))
    if isinstance(location, str) and not DEVICE.fullmatch(location):
        raise DamagedError(f'it names the unknown device {shown(location)}')
    return memory.content.to(torch.device(location))


def _bytes_of(storage: torch.UntypedStorage) -> Tensor:
    empty: Sequence[int] = ()
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage, *empty)
