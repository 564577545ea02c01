"""What a checkpoint says about its model, checked: a file may come from anybody.

Nothing of it is looked up, imported or executed; what is not of the expected type is left out.
"""

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any


def usable_meta(meta: Any) -> tuple[dict[str, Any], list[str]]:
    """Leaves out of a checkpoint's ``meta`` what is not of the type that readers of it expect.

    Args:
        meta: What the file has under ``meta``.

    Returns:
        A copy without those values, and a note for each of them.
    """
    if meta is None:
        return {}, []
    if not isinstance(meta, Mapping):
        return {}, [f'ignored meta, which is of type {_kind(meta)}: expected a dict']
    notes: list[str] = []
    usable = _usable(meta, META, 'meta', notes)
    # None says what a missing key says. A dataset's own stay: a resumed run compares them.
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
            notes.append(
                f'ignored a key of {where}, which is of type {_kind(key)}: expected a text'
            )
            continue
        expected, is_usable = checks.get(key) or checks.get(key.lower()) or ANYTHING
        if value is None or is_usable(value):
            usable[key] = value
        else:
            notes.append(
                f'ignored {where}.{key}, which is of type {_kind(value)}: expected {expected}'
            )
    return usable


def is_names(value: Any) -> bool:
    """Whether a value is a list of texts, as class names are."""
    return isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)


def is_palette(value: Any) -> bool:
    """Whether a value is a list of RGB colours, three whole numbers from 0 to 255 each."""
    return isinstance(value, (list, tuple)) and all(map(_is_colour, value))


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(isinstance(each, Integral) and 0 <= each <= 255 for each in value)
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 0


def _kind(value: Any) -> str:
    return type(value).__name__


Check = tuple[str, Callable[[Any], bool]]
ANYTHING: Check = ('anything', lambda value: True)
NAMES: Check = ('a list of class names', is_names)
PALETTE: Check = ('a list of RGB colours', is_palette)
WHOLE: Check = ('a whole number', _is_whole)
DATASET_META: dict[str, Check] = {'classes': NAMES, 'palette': PALETTE}
META: dict[str, Check] = {
    'dataset_meta': ('a dict', lambda value: isinstance(value, Mapping)),
    **DATASET_META,
    **dict.fromkeys(('epoch', 'iter', 'seed'), WHOLE),
}
