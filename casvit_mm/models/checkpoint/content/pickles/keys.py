"""Which values of a file may be keys of a dict or elements of a set."""

from casvit_mm.models.checkpoint.content.limits import KEY_LENGTH, KEY_TEXT, SMALL_NUMBER
from casvit_mm.models.checkpoint.content.pickles.budget import Budget

OWN_HASH = 2**61 - 1
"""Integers below it are their own hash."""


def is_key(value: object, budget: Budget) -> bool:
    """Whether a value may be a key: text, a number, or a short tuple of them.

    Python compares a key with all others of the same hash, and looks for a place for it where its
    hash says. The hash of a number or a tuple can be chosen, and 100,000 that meet take minutes;
    that of a nested tuple is computed from its elements each time, which may never end.

    Args:
        value: The value.
        budget: Counts those whose hash can be chosen.
    """
    if type(value) is tuple:
        budget.spend_odd_key()
        return len(value) <= KEY_LENGTH and all(map(_is_plain, value))
    if type(value) is float or (type(value) is int and not 0 <= value < SMALL_NUMBER):
        budget.spend_odd_key()
    return _is_plain(value)


def _is_plain(value: object) -> bool:
    if type(value) is int:
        return -OWN_HASH < value < OWN_HASH
    if isinstance(value, (str, bytes)):
        return len(value) <= KEY_TEXT
    return value is None or type(value) in (bool, float)
