"""Batches of images of the same size, so that a result does not depend on the rest of its batch."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar('Item')


def batches_of_equals(
    items: Iterable[Item], size: int, key: Callable[[Item], Hashable]
) -> Iterator[list[tuple[int, Item]]]:
    """Groups items with equal keys into batches.

    Items are taken only as they are needed: at most ``2 * size`` of them wait at any time.

    Args:
        items: The items.
        size: Largest size of a batch.
        key: Gives what the items of a batch have in common.

    Yields:
        Batches of items with their indices. Each item comes once; items with the same key keep
        their order.
    """
    waiting: dict[Hashable, list[tuple[int, Item]]] = {}
    for number, item in enumerate(items):
        own = key(item)
        waiting.setdefault(own, []).append((number, item))
        if len(waiting[own]) == size:
            yield waiting.pop(own)
        # Results are given in order, so the oldest batch must not wait for ever.
        while waiting and number - (oldest := next(iter(waiting.values())))[0][0] >= 2 * size - 1:
            del waiting[key(oldest[0][1])]
            yield oldest
    yield from waiting.values()
