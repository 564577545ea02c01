"""Which values of a file may be keys of a dict or elements of a set."""

from casvit_mm.models.checkpoint.content.limits import KEY_LENGTH
from casvit_mm.models.checkpoint.content.pickles.budget import Budget

OWN_HASH = 2**61 - 1
"""Integers below it are their own hash."""


def is_key(value: object, budget: Budget) -> bool:
    """Whether a value may be a key: text, a number, or a short tuple of them.

    Python compares a key with all others of the same hash. That of a large integer, a complex
    number or a tuple can be chosen, and 100,000 of the same one take minutes; that of a nested
    tuple is computed from its elements each time, which may never end.

    Args:
        value: The value.
        budget: Counts tuples.
    """
    if type(value) is tuple:
        budget.spend_tuple_key()
        return len(value) <= KEY_LENGTH and all(map(_is_plain, value))
    return _is_plain(value)


def _is_plain(value: object) -> bool:
    if type(value) is int:
        return -OWN_HASH < value < OWN_HASH
    return value is None or type(value) in (str, bytes, bool, float)
