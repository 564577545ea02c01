"""Checks the shape of a file's content, before any other code walks over it."""

from typing import Any

import numpy as np
from torch import Tensor

from casvit_mm.models.checkpoint.content.limits import (
    DEPTH,
    EXPANDED_BYTES,
    SHARING,
    UNFOLDED,
    UNFOLDED_TEXT,
)
from casvit_mm.models.checkpoint.content.pickles.records import Record
from casvit_mm.models.checkpoint.content.problems import DamagedError, TooLargeError

CONTAINERS = (list, tuple, dict, set, frozenset, Record)
TEXTS = (str, bytes, bytearray)
ATOMS = frozenset((int, float, bool, type(None)))
Measure = tuple[int, int, int]
"""Objects, levels and bytes of tensors, if everything shared were copied."""


def check_tree(content: Any, memory: int = 0) -> None:
    """Checks that a recursive walk over the content of a file ends, and soon.

    Args:
        content: The content.
        memory: Bytes of memory that its tensors have in the file.

    Raises:
        DamagedError: It contains itself.
        TooLargeError: It is nested too deeply, or shared so often that a copy would be huge.
    """
    room = SHARING * memory + EXPANDED_BYTES
    measured: dict[int, Measure] = {}
    waiting, opened = [content], set()
    while waiting:
        node = waiting[-1]
        key = id(node)
        if key in measured or not isinstance(node, CONTAINERS):
            waiting.pop()
        elif key in opened:
            waiting.pop()
            opened.discard(key)
            measured[key] = _sum(node, measured, room)
        else:
            opened.add(key)
            for child in _children(node):
                if isinstance(child, CONTAINERS) and id(child) not in measured:
                    if id(child) in opened:
                        raise DamagedError('it holds an object that contains itself')
                    waiting.append(child)
    _sum([content], measured, room)


def _children(node: Any) -> Any:
    if isinstance(node, dict):
        # Keys are no containers.
        return node.values()
    return (node.args, node.state) if isinstance(node, Record) else node


def _sum(node: Any, measured: dict[int, Measure], room: int) -> Measure:
    objects, levels, size = 1, 0, 0
    if isinstance(node, dict):
        for key in node:
            objects += 1 + (len(key) // UNFOLDED_TEXT if isinstance(key, TEXTS) else 0)
    for child in _children(node):
        if type(child) in ATOMS:
            objects += 1
            continue
        known = measured.get(id(child))
        if known is None:
            known = measured[id(child)] = _leaf(child)
        objects += known[0]
        levels = max(levels, known[1])
        size += known[2]
    if objects > UNFOLDED or size > room:
        raise TooLargeError('it repeats parts of itself so often that a copy would be huge')
    if levels >= DEPTH:
        raise TooLargeError(f'it is nested more than {DEPTH} levels deep')
    return objects, levels + 1, size


def _leaf(value: Any) -> Measure:
    if isinstance(value, TEXTS):
        return 1 + len(value) // UNFOLDED_TEXT, 0, 0
    if isinstance(value, np.ndarray):
        return 1 + value.nbytes // UNFOLDED_TEXT, 0, 0
    size = value.numel() * value.element_size() if isinstance(value, Tensor) else 0
    return 1, 0, size
