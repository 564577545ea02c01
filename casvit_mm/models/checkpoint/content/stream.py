"""Reads the format of torch 0.1.10 to 1.5: a row of pickles, and the memory behind them.

Still written by ``torch.save(…, _use_new_zipfile_serialization=False)``, as the toolboxes' own
publishing tools do.
"""

from collections.abc import Callable
from typing import IO, Any

from casvit_mm.models.checkpoint.content.archive import memory_of
from casvit_mm.models.checkpoint.content.limits import PICKLE_BYTES
from casvit_mm.models.checkpoint.content.pickles.budget import Budget
from casvit_mm.models.checkpoint.content.pickles.functions import Context
from casvit_mm.models.checkpoint.content.pickles.interpreter import Interpreter
from casvit_mm.models.checkpoint.content.pickles.source import Source
from casvit_mm.models.checkpoint.content.pickles.tensors import Tensors
from casvit_mm.models.checkpoint.content.problems import DamagedError, UnsupportedError, shown
from casvit_mm.models.checkpoint.content.tree import check_tree

MAGIC = 0x1950A86A20F9469CFC6C
"""The value of the first pickle."""
PROTOCOL = 1001
COUNT_BYTES = 8
"""Size of the number of elements in front of each memory."""


def stream_content(file: IO[bytes], size: int, map_location: Any) -> Any:
    """Reads what was saved.

    Args:
        file: The file, at its start.
        size: Its size in bytes.
        map_location: As for ``torch.load``.

    Raises:
        ContentError: It is damaged, or holds what it must not.
    """
    source = Source(file, size)
    magic = _pickle(source, Context(Budget()))
    if type(magic) is not int or magic != MAGIC:
        raise DamagedError('it is a pickle of something else')
    protocol = _pickle(source, Context(Budget()))
    if type(protocol) is not int or protocol != PROTOCOL:
        raise DamagedError('it has an unknown version')
    system = _pickle(source, Context(Budget()))
    if not isinstance(system, dict) or system.get('little_endian') is not True:
        raise UnsupportedError(
            'was saved on a big-endian machine, whose numbers are not read here. Load and save '
            'it again with torch on a usual machine.'
        )
    start = file.tell()
    tensors = Tensors(_room(size))
    content = _content(source, tensors)
    check_tree(content, tensors.size)
    keys = _pickle(source, Context(Budget()))
    texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    # All of them have to be known before they are compared with each other: they are short then.
    known = texts and all(key in tensors.memories for key in keys)
    if not known or not len(set(keys)) == len(keys) == len(tensors.memories):
        raise DamagedError('its list of weights does not fit its content')
    for key in keys:
        memory = tensors.memories[key]
        count = source.number(COUNT_BYTES)
        if count != memory.count:
            raise DamagedError(f'its memory {shown(key)} has another size than its tensors')
        source.fill(memory.buffer)
    moved = tensors.moved(map_location)
    if moved is None:
        return content
    # Interpreting is cheap, and a tensor cannot always be moved in place.
    file.seek(start)
    return _content(source, Tensors(_room(size), moved))


def _content(source: Source, tensors: Tensors) -> Any:
    return _pickle(source, Context(Budget(), tensors), lambda saved: _memory(saved, tensors))


def _room(size: int) -> Callable[[str, int, int], None]:
    """Checks that all memory fits into a file of so many bytes."""
    left = size

    def expect(key: str, needed: int, item: int) -> None:
        nonlocal left
        left -= needed + COUNT_BYTES
        if left < 0:
            raise DamagedError('its weights need more bytes than it has')

    return expect


def _pickle(source: Source, context: Context, persistent: Any = None) -> Any:
    return Interpreter(Source(source.file, PICKLE_BYTES), context, persistent).run()


def _memory(saved: Any, tensors: Tensors) -> Any:
    storage = memory_of(saved, tensors, 6)
    view = saved[5]
    if view is None:
        return storage
    if not isinstance(view, tuple) or len(view) != 3 or not isinstance(view[0], str):
        raise DamagedError('it refers to something else than memory')
    key, start, count = view
    if not all(type(each) is int and each >= 0 for each in (start, count)):
        raise DamagedError('it refers to memory without a valid size')
    return tensors.view(storage, key, start, count)
