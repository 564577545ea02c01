"""Images of one size go through a model together: what it says of one depends on no other."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar('Item')


def batches_of_equals(
    items: Iterable[Item], size: int, key: Callable[[Item], Hashable]
) -> Iterator[list[tuple[int, Item]]]:
    """Puts items of equal keys together.

    Items are taken as they are needed: at most ``2 * size`` of them wait at any time.

    Args:
        items: The items.
        size: Of a batch, at most.
        key: What items of a batch have in common.

    Yields:
        Items with their numbers, from 0. Each comes once; those of one key in their order.
    """
    waiting: dict[Hashable, list[tuple[int, Item]]] = {}
    for number, item in enumerate(items):
        own = key(item)
        waiting.setdefault(own, []).append((number, item))
        if len(waiting[own]) == size:
            yield waiting.pop(own)
        # The oldest stands first: what comes after it has to wait for it.
        while waiting and number - (oldest := next(iter(waiting.values())))[0][0] >= 2 * size - 1:
            del waiting[key(oldest[0][1])]
            yield oldest
    yield from waiting.values()
