"""Builds the NumPy arrays of a file: plain numbers, never objects."""

import re
from typing import Any

import numpy as np

from casvit_mm.models.checkpoint.content.pickles.budget import Budget
from casvit_mm.models.checkpoint.content.problems import DamagedError, UnsupportedError, shown

# bool, integers, floats and complex numbers of the sizes that every machine has.
PLAIN = re.compile(r'[<|=]?(b1|[iu][1248]|f[248]|c(8|16))')
NATIVE = ('<', '=', '|')
DIMENSIONS = 32
"""That of NumPy before version 2."""


def plain_dtype(code: object) -> np.dtype:
    """A type of plain numbers, by its code such as ``f8``.

    Raises:
        UnsupportedError: It holds objects or fields, or is not little-endian.
        DamagedError: The code is not a string.
    """
    if not isinstance(code, str):
        raise DamagedError('it holds an array without a valid type')
    if not PLAIN.fullmatch(code):
        raise UnsupportedError(
            f'holds a NumPy array of type {shown(code)!r}, which is not read: only plain numbers '
            'are. Save it without this array.'
        )
    return np.dtype(code)


def check_dtype_state(state: object) -> None:
    """Checks what a file adds to a type.

    Raises:
        UnsupportedError: It is big-endian, or has fields.
        DamagedError: It is not the state of a type.
    """
    if not isinstance(state, tuple) or not 3 <= len(state) <= 9:
        raise DamagedError('it holds an array without a valid type')
    if (
        not isinstance(state[1], str)
        or state[1] not in NATIVE
        or any(each is not None for each in state[2:5])
    ):
        raise UnsupportedError(
            'holds a NumPy array that is big-endian or has fields, which is not read: only plain '
            'numbers are. Save it without this array.'
        )


def unfinished_array() -> np.ndarray:
    """An array as ``numpy.core.multiarray._reconstruct`` gives it: a state follows."""
    return np.ndarray((0,), np.int8)


def finish_array(array: np.ndarray, state: object, budget: Budget) -> None:
    """Gives an unfinished array its shape, type and values.

    Args:
        array: Result of :func:`unfinished_array`; changed in place.
        state: Version, shape, type, whether columns come first, and values as bytes.
        budget: Counts the memory.

    Raises:
        DamagedError: The values do not fit the shape.
    """
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise DamagedError('it holds an array without a valid state')
    shape, dtype, by_columns, data = state[-4:]
    shape, content = _checked(shape, dtype, data, budget)
    # An own copy: NumPy may use the memory of the bytes.
    array.__setstate__((1, shape, dtype, bool(by_columns), content))  # type: ignore[arg-type]


def array_of_buffer(
    data: object, dtype: object, shape: object, order: object, budget: Budget
) -> np.ndarray:
    """An array as ``numpy.core.numeric._frombuffer`` gives it.

    Raises:
        DamagedError: The values do not fit the shape.
    """
    if not isinstance(order, str) or order not in ('C', 'F'):
        raise DamagedError('it holds an array without a valid order')
    shape, content = _checked(shape, dtype, data, budget)
    array = np.frombuffer(bytearray(content), dtype=dtype)  # type: ignore[call-overload]
    return array.reshape(shape, order=order)


def scalar(dtype: object, data: object) -> Any:
    """A NumPy number.

    Raises:
        DamagedError: The value does not fit the type.
    """
    if isinstance(data, str):
        data = data.encode('latin-1')
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes):
        raise DamagedError('it holds a number without a valid type')
    if len(data) != dtype.itemsize or not data:
        raise DamagedError('it holds a number that does not fit its type')
    return np.frombuffer(data, dtype)[0]


def _checked(
    shape: object, dtype: object, data: object, budget: Budget
) -> tuple[tuple[int, ...], bytes]:
    if isinstance(data, str):
        data = data.encode('latin-1')
    if not isinstance(dtype, np.dtype) or not isinstance(data, (bytes, bytearray)):
        raise DamagedError('it holds an array without a valid type')
    shape = (shape,) if type(shape) is int else shape
    if not isinstance(shape, tuple) or len(shape) > DIMENSIONS:
        raise DamagedError('it holds an array without a valid shape')
    if not all(type(each) is int and 0 <= each < 2**40 for each in shape):
        raise DamagedError('it holds an array without a valid shape')
    elements = 1
    for length in shape:
        elements *= length
    # NumPy multiplies the other dimensions of an array without elements.
    extent = 1
    for length in shape:
        extent *= max(length, 1)
    if elements * dtype.itemsize != len(data) or extent > 2**40:
        raise DamagedError(
            f'it holds an array of shape {shown(shape)} that does not fit its {len(data):,} bytes'
        )
    budget.allocate(2 * len(data))
    return shape, bytes(bytearray(data))
