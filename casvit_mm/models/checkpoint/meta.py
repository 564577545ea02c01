"""Checks the metadata of a checkpoint, since the file may come from an untrusted source.

Nothing in it is looked up, imported or executed; values of an unexpected type are ignored.
"""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, TypeGuard

LARGEST = 2**32
"""Bound of a seed, and far above any number of iterations."""


def usable_meta(meta: object) -> tuple[dict[str, Any], list[str]]:
    """Removes values of unexpected types from the ``meta`` of a checkpoint.

    Args:
        meta: The value that the file has under ``meta``.

    Returns:
        A copy without those values, and a note about each of them.
    """
    if meta is None:
        return {}, []
    if not isinstance(meta, Mapping):
        return {}, [f'ignored meta of type {_kind(meta)}: expected a dict']
    notes: list[str] = []
    usable = _usable(meta, META, 'meta', notes)
    # Code of older versions, which mmengine executes when a run is resumed.
    usable.pop('config', None)
    # None means the same as a missing key. It stays in dataset_meta, which a resumed run compares.
    usable = {key: value for key, value in usable.items() if value is not None}
    if 'dataset_meta' in usable:
        dataset_meta = usable['dataset_meta']
        usable['dataset_meta'] = _usable(dataset_meta, DATASET_META, 'meta.dataset_meta', notes)
    return usable, notes


def _usable(
    values: Mapping, checks: Mapping[str, 'Check'], where: str, notes: list[str]
) -> dict[str, Any]:
    usable = {}
    for key, value in values.items():
        if not isinstance(key, str):
            notes.append(f'ignored a key of type {_kind(key)} in {where}: expected a string')
            continue
        expected, is_usable = checks.get(key) or checks.get(key.lower()) or ANYTHING
        if value is None or is_usable(value):
            usable[key] = value
        else:
            notes.append(f'ignored {where}.{key} of type {_kind(value)}: expected {expected}')
    return usable


def is_names(value: object) -> TypeGuard[Sequence[str]]:
    """Whether a value is a list of strings, such as class names."""
    return isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)


def is_palette(value: object) -> TypeGuard[Sequence[Sequence[int]]]:
    """Whether a value is a list of RGB colours, each of three integers from 0 to 255."""
    return isinstance(value, (list, tuple)) and all(map(_is_colour, value))


def _is_colour(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(isinstance(each, Integral) and 0 <= int(each) <= 255 for each in value)
    )


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < LARGEST


def _kind(value: object) -> str:
    return type(value).__name__


Check = tuple[str, Callable[[object], bool]]
ANYTHING: Check = ('anything', lambda value: True)
NAMES: Check = ('a list of class names', is_names)
PALETTE: Check = ('a list of RGB colours', is_palette)
COUNT: Check = ('an integer from 0 to 2**32', _is_count)
DATASET_META: dict[str, Check] = {'classes': NAMES, 'palette': PALETTE}
META: dict[str, Check] = {
    'cfg': ('the text of a config', lambda value: isinstance(value, str)),
    'dataset_meta': ('a dict', lambda value: isinstance(value, Mapping)),
    **DATASET_META,
    **dict.fromkeys(('epoch', 'iter', 'seed'), COUNT),
}
